// npm run benchmark -- MODEL.tflite PICTURE... [--threads 1,2] [--gpu] [--rounds 100] [--json FILE]
//
// Runs the page's code in headless Chromium: milliseconds a picture in a worker, as on the page, median (and least), after
// a warm-up of as many rounds (the browser compiles WebAssembly a second time while it runs). With --json, also the poses
// of each picture, for a comparison with `ehrnet predict --json`. --gpu: WebGPU, by software.

import { readFile, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { basename } from "node:path";
import { parseArgs } from "node:util";

import { launch, SOFTWARE_GPU } from "../test/chromium.mjs";
import { serve } from "../test/server.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: "string", default: "1" },
    gpu: { type: "boolean", default: false },
    rounds: { type: "string", default: "100" },
    json: { type: "string" },
  },
});
const [model, ...pictures] = positionals;
if (!model || pictures.length === 0) {
  console.error("usage: npm run benchmark -- MODEL.tflite PICTURE... [--threads 1,2] [--gpu] [--rounds 100] [--json FILE]");
  process.exit(2);
}

const files = { "/model.tflite": model, "/models.json": Buffer.from("[]") };
pictures.forEach((picture, i) => (files[`/pictures/${i}`] = picture));
const server = await serve({ files, isolated: true });
const browser = await launch(options.gpu ? SOFTWARE_GPU : []);
const found = {};
try {
  const page = await browser.newPage();
  await page.goto(server.url);
  console.log(`${basename(model)}, ${pictures.length} pictures; Chromium ${browser.version()}, ${cpus().length} × ${cpus()[0].model}`);
  for (const threads of options.threads.split(",").map(Number)) {
    const run = await page.evaluate(measure, { threads, gpu: options.gpu, rounds: Number(options.rounds), count: pictures.length });
    pictures.forEach((picture, i) => (found[basename(picture)] = run.poses[i]));
    const [fit, network, all] = ["fit", "network", "all"].map((stage) => summary(run.times.map((times) => times[stage])));
    console.log(`${run.device}: fit ${fit}, network and decoder ${network}, with the way to the worker and back ${all}`);
  }
} finally {
  await browser.close();
  server.close();
}
if (options.json) await writeFile(options.json, JSON.stringify(found, null, 1));

function summary(milliseconds) {
  const sorted = milliseconds.toSorted((a, b) => a - b);
  return `${sorted[Math.floor(sorted.length / 2)].toFixed(2)} (${sorted[0].toFixed(2)})`;
}

/** Runs on the page. */
async function measure({ threads, gpu, rounds, count }) {
  const { Network } = await import("./network.js");
  const { readPicture } = await import("./pictures.js");
  const { MIN_SCORE, toDict } = await import("./poses.js");
  const get = async (file) => (await fetch(file)).blob();
  const bytes = new Uint8Array(await (await get("model.tflite")).arrayBuffer());
  const network = await Network.open(bytes, "model.tflite", { threads, gpu });
  const pictures = await Promise.all(
    Array.from({ length: count }, async (_, i) => (await readPicture(await get(`pictures/${i}`), `picture ${i}`)).pixels),
  );
  const copy = ({ data, width, height }) => ({ data: data.slice(), width, height });
  const times = [];
  const poses = [];
  for (let round = -rounds; round < Math.max(rounds, count); round++) {
    const which = ((round % count) + count) % count;
    const picture = copy(pictures[which]);
    const { width, height } = picture;
    const started = performance.now();
    const { people, fit, network: time } = await network.find(picture);
    if (round >= 0) times.push({ fit, network: time, all: performance.now() - started });
    const good = people.filter(({ score }) => score >= MIN_SCORE);
    poses[which] = toDict(good, network.metadata.keypoints, height, width);
  }
  network.close();
  return { device: network.device, times, poses };
}
