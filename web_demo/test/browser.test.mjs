/** The page in headless Chromium: files in, people out, and what it says when something is wrong. */

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { crc32, deflateSync } from "node:zlib";

import { FAKE_CAMERA, launch } from "./chromium.mjs";
import { serve } from "./server.mjs";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const GOLDEN = path("../../tests/golden/android/");
const MODEL = `${GOLDEN}painted_int8_poses.tflite`;
const PICTURE = `${GOLDEN}picture.png`;
const SCREENS = path("screens/");
const EXPECTED = JSON.parse(await readFile(`${GOLDEN}poses.json`))["painted_int8_poses.tflite"];
const LIST = Buffer.from(JSON.stringify([{ name: "painted", file: "models/painted.tflite" }]));
const FILES = { "/models.json": LIST, "/models/painted.tflite": MODEL };

let browser;
let server;
before(async () => {
  await mkdir(SCREENS, { recursive: true });
  [browser, server] = await Promise.all([launch(FAKE_CAMERA), serve({ files: FILES })]);
});
after(() => Promise.all([browser?.close(), server?.close()]));

/** Opens the page, and closes it after the test; a page that reports an error of its own fails the test. */
async function open(t, { url = server.url, init, ready = "painted is ready.", ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, ...options });
  t.after(() => context.close());
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  t.after(() => assert.deepEqual(errors, []));
  if (init) await page.addInitScript(init);
  await page.goto(url);
  if (ready) await saying(page, "#status", ready);
  return page;
}

/** Waits until an element says something, a text or a pattern; returns what it says. */
async function saying(page, selector, wanted) {
  const found = page.locator(selector).filter({ hasText: wanted });
  await found.waitFor({ timeout: 15_000 }).catch(async () => {
    const said = await page.locator(selector).textContent();
    const error = await page.locator("#error").textContent();
    assert.fail(`${selector} says '${said}' instead of '${wanted}'; error: '${error}'`);
  });
  return found.textContent();
}

async function usePicture(page, file) {
  await page.setInputFiles("#picture", file);
}

async function savedPoses(page) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save-poses")]);
  return { name: download.suggestedFilename(), poses: JSON.parse(await readFile(await download.path())) };
}

/** People in any order of equals: the nearest to 1 pixel, scores to 0.01. */
function samePoses(given, expected) {
  assert.deepEqual({ ...given, people: given.people.length }, { ...expected, people: expected.people.length });
  given.people.forEach(({ score, keypoints }, p) => {
    assert.ok(Math.abs(score - expected.people[p].score) < 0.01);
    for (const [name, [x, y, s]] of Object.entries(expected.people[p].keypoints)) {
      const [ownX, ownY, own] = keypoints[name];
      const away = Math.hypot(ownX - x, ownY - y);
      assert.ok(away < 1 && Math.abs(own - s) < 0.01, `${name} of person ${p}: ${away} pixels away, score ${own} for ${s}`);
    }
  });
}

/** A black picture, as a PNG file of one bit a pixel. */
function blackPng(width, height) {
  const chunk = (kind, content) => {
    const body = Buffer.concat([Buffer.from(kind), content]);
    const [size, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    size.writeUInt32BE(content.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([size, body, sum]);
  };
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]); // size, 1 bit, grey
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  const rows = deflateSync(Buffer.alloc(height * (1 + Math.ceil(width / 8))));
  const signature = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", rows), chunk("IEND", Buffer.alloc(0))]);
}

for (const isolated of [false, true]) {
  test(`people are where Python finds them, ${isolated ? "with threads" : "on plain static hosting"}`, async (t) => {
    const own = await serve({ files: FILES, isolated });
    t.after(own.close);
    const page = await open(t, { url: isolated ? `${own.url}?threads=2` : own.url });
    assert.equal(await page.evaluate(() => crossOriginIsolated), isolated);
    assert.equal(await page.textContent("#device"), `CPU (WebAssembly), ${isolated ? "2 threads" : "1 thread"}`);
    await usePicture(page, PICTURE);
    await saying(page, "#status", "2 people in picture.png.");
    const { name, poses } = await savedPoses(page);
    assert.equal(name, "picture_poses.json");
    samePoses(poses, EXPECTED);
    assert.equal(await page.getAttribute("#view", "aria-label"), "picture.png with 2 people");
    assert.match(await page.textContent("#network"), /^\d+\.\d ms$/);
    assert.match(await page.textContent("#description"), /^H-4, int8, 64 × 64, 4 keypoints \(square\)$/);
    await page.screenshot({ path: `${SCREENS}${isolated ? "threads" : "picture"}.png` });
  });
}

test("the drawing is saved with limbs over the picture; the score's threshold chooses people", async (t) => {
  const page = await open(t);
  await usePicture(page, PICTURE);
  await saying(page, "#status", "2 people");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save-drawing")]);
  assert.equal(download.suggestedFilename(), "picture_poses.png");
  const png = [...(await readFile(await download.path()))];
  const [x, y] = EXPECTED.people[0].keypoints.b;
  const { size, pixel } = await page.evaluate(
    async ([bytes, at]) => {
      const bitmap = await createImageBitmap(new Blob([Uint8Array.from(bytes)]));
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      context.drawImage(bitmap, 0, 0);
      return { size: [bitmap.width, bitmap.height], pixel: [...context.getImageData(...at, 1, 1).data] };
    },
    [png, [Math.floor(x), Math.floor(y)]],
  );
  assert.deepEqual(size, [320, 160]);
  const [red, green, blue] = pixel; // the centre's colour, (0, 190, 140), in part over dark blue
  assert.ok(green > 110 && blue > 80 && red < 60, `pixel ${pixel}`);

  await page.fill("#least", "0.45");
  await saying(page, "#status", "1 person in picture.png.");
  const { poses } = await savedPoses(page);
  assert.deepEqual(poses.people.map(({ score }) => Math.round(100 * score)), [46]);
  await page.fill("#least", "0.9");
  await saying(page, "#status", "0 people");
});

test("pictures and models that are dropped or pasted, and the sample", async (t) => {
  const page = await open(t);
  const give = (kind, name, bytes) =>
    page.evaluate(
      ([event, file, content]) => {
        const data = new DataTransfer();
        if (content) data.items.add(new File([Uint8Array.from(content)], file));
        const options = { bubbles: true, cancelable: true };
        document.body.dispatchEvent(
          event === "paste"
            ? new ClipboardEvent("paste", { ...options, clipboardData: data })
            : new DragEvent("drop", { ...options, dataTransfer: data }),
        );
      },
      [kind, name, bytes && [...bytes]],
    );
  await give("paste", "pasted.png", await readFile(PICTURE));
  await saying(page, "#status", "2 people in pasted.png.");
  await page.click("#sample");
  await saying(page, "#status", "in people.jpg.");
  await give("drop", "dropped.png", await readFile(PICTURE));
  await saying(page, "#status", "2 people in dropped.png.");
  await give("drop", "own.tflite", await readFile(MODEL));
  await saying(page, "#models", "own.tflite");
  await saying(page, "#status", "2 people in dropped.png."); // looked at again
  assert.equal(await page.$eval("#models", (models) => models.selectedOptions[0].text), "own.tflite");
  await give("drop", "", null);
  await saying(page, "#error", "Nothing to open there");
});

test("another model of the list, and back", async (t) => {
  const list = [{ name: "painted", file: "models/painted.tflite" }, { name: "gone", file: "models/gone.tflite" }];
  const own = await serve({ files: { ...FILES, "/models.json": Buffer.from(JSON.stringify(list)) } });
  t.after(own.close);
  const page = await open(t, { url: own.url });
  await usePicture(page, PICTURE);
  await saying(page, "#status", "2 people");
  await page.selectOption("#models", "models/gone.tflite");
  await saying(page, "#error", /^models\/gone\.tflite: is not there; put it there, or run make web-demo$/);
  await saying(page, "#status", "No model runs: choose another one.");
  await page.selectOption("#models", "models/painted.tflite");
  await saying(page, "#status", "2 people in picture.png.");
  assert.equal(await page.isVisible("#error"), false);
});

test("models that will not do are refused in words", async (t) => {
  const page = await open(t);
  const painted = await readFile(MODEL);
  const middle = Buffer.from(painted);
  middle.fill(0xa5, 8, 4000);
  const faults = [
    ["maps.tflite", await readFile(`${GOLDEN}painted_int8.tflite`), /^maps\.tflite: gives maps .*--graph poses/],
    ["cut.tflite", painted.subarray(0, 30_000), /^cut\.tflite: holds no metadata .*was cut off/],
    ["text.tflite", Buffer.from("no model at all"), /^text\.tflite: is no \.tflite file/],
    ["torn.tflite", middle, /^torn\.tflite: LiteRT\.js cannot run it \(.*\); copy the file again/],
  ];
  for (const [name, buffer, message] of faults) {
    await page.setInputFiles("#model", { name, mimeType: "application/octet-stream", buffer });
    await saying(page, "#error", message);
  }
  await page.setInputFiles("#model", MODEL);
  await saying(page, "#status", "painted_int8_poses.tflite is ready.");
});

test("pictures that will not do are refused in words", async (t) => {
  const page = await open(t);
  const faults = [
    ["notes.txt", Buffer.from("not a picture"), /^notes\.txt: is no picture that this browser can decode/],
    ["empty.png", Buffer.alloc(0), /^empty\.png: is empty/],
    ["huge.png", blackPng(16_000, 4_100), /^huge\.png: has 16000 x 4100 pixels; make it smaller/],
  ];
  for (const [name, buffer, message] of faults) {
    await usePicture(page, { name, mimeType: "image/png", buffer });
    await saying(page, "#error", message);
  }
  await usePicture(page, { name: "large.png", mimeType: "image/png", buffer: blackPng(8_000, 5_000) });
  await saying(page, "#status", "0 people in large.png.");
  assert.deepEqual(await page.$eval("#view", ({ width, height }) => [width, height]), [2048, 1280]);
});

test("EXIF's orientation is applied, transparency goes over white", async (t) => {
  const page = await open(t, { ready: null });
  const found = await page.evaluate(async () => {
    const { readPicture } = await import("./pictures.js");
    const context = new OffscreenCanvas(64, 32).getContext("2d");
    const clear = await context.canvas.convertToBlob();
    context.fillRect(32, 0, 32, 32);
    context.fillStyle = "white";
    context.fillRect(0, 0, 32, 32); // white on the left, which orientation 6 turns to the top
    const jpeg = new Uint8Array(await (await context.canvas.convertToBlob({ type: "image/jpeg" })).arrayBuffer());
    const exif = [0xff, 0xe1, 0, 34, 69, 120, 105, 102, 0, 0, 77, 77, 0, 42, 0, 0, 0, 8, 0, 1, 1, 18, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0];
    const turned = new Blob([jpeg.subarray(0, 2), Uint8Array.from([...exif, 0, 0, 0, 0]), jpeg.subarray(2)]);
    const summary = ({ pixels: { data, width, height } }) => [width, height, data[4 * width + 4], data[4 * width * (height - 1)]];
    return [summary(await readPicture(turned, "turned.jpg")), summary(await readPicture(clear, "clear.png"))];
  });
  assert.deepEqual(found, [[32, 64, 255, 0], [64, 32, 255, 255]]);
});

test("the camera: started, stopped, and left for a picture", async (t) => {
  const page = await open(t, { permissions: ["camera"] });
  await page.click("#start");
  await saying(page, "#fps", /^\d+\.\d$/);
  assert.equal(await page.getAttribute("#view", "aria-label"), `camera with ${await count(page)}`);
  assert.deepEqual(await page.$eval("#view", ({ width, height }) => [width, height]), [640, 480]);
  await page.screenshot({ path: `${SCREENS}camera.png` });
  await page.click("#start");
  await saying(page, "#status", "The camera is off.");
  assert.equal(await page.textContent("#start"), "Start camera");
  await page.click("#start");
  await saying(page, "#start", "Stop camera");
  await usePicture(page, PICTURE);
  await saying(page, "#status", "2 people in picture.png.");
  assert.equal(await page.textContent("#start"), "Start camera");
});

async function count(page) {
  const people = await page.textContent("#people");
  return people === "1" ? "1 person" : `${people} people`;
}

test("the camera's picture is that of a mirror", async (t) => {
  const page = await open(t, { permissions: ["camera"], ready: null });
  const brightest = await page.evaluate(async () => {
    const { Camera } = await import("./camera.js");
    const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 480 });
    const context = canvas.getContext("2d");
    setInterval(() => {
      context.fillStyle = "black";
      context.fillRect(0, 0, 640, 480);
      context.fillStyle = "white";
      context.fillRect(0, 0, 160, 480); // on the left
    }, 30);
    navigator.mediaDevices.getUserMedia = async () => canvas.captureStream();
    const camera = await Camera.start();
    await camera.next();
    const { pixels } = await camera.next();
    camera.stop();
    return [80, 560].map((x) => pixels.data[4 * (240 * 640 + x)]);
  });
  assert.ok(brightest[0] < 40 && brightest[1] > 215, `left ${brightest[0]}, right ${brightest[1]}`);
});

test("camera troubles are told in words", async (t) => {
  const page = await open(t, { ready: "Opening painted" });
  const faults = {
    NotAllowedError: "refuses the camera",
    NotFoundError: "no camera was found",
    NotReadableError: "in use by another program",
    TypeError: "Camera: TypeError: why",
  };
  for (const [name, message] of Object.entries(faults)) {
    await page.evaluate((kind) => {
      navigator.mediaDevices.getUserMedia = async () => {
        throw Object.assign(new Error("why"), { name: kind });
      };
    }, name);
    await page.click("#start");
    await saying(page, "#error", message);
    assert.equal(await page.textContent("#start"), "Start camera");
  }
  await page.evaluate(() => Object.defineProperty(navigator, "mediaDevices", { value: undefined }));
  await page.click("#start");
  await saying(page, "#error", "from https:// or http://localhost only");
});

test("a camera that is unplugged", async (t) => {
  const page = await open(t, {
    permissions: ["camera"],
    init: () => {
      const get = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (wanted) => (globalThis.stream = await get(wanted));
    },
  });
  await page.click("#start");
  await saying(page, "#fps", /^\d+\.\d$/);
  await page.evaluate(() => globalThis.stream.getVideoTracks()[0].dispatchEvent(new Event("ended")));
  await saying(page, "#error", "Camera: it is gone; plug it in again");
  await saying(page, "#start", "Start camera");
});

const troubles = [
  ["no list of models", { "/models.json": 404 }, /^models\.json: is not there; put \.tflite files into web_demo\/models/],
  ["an empty list", { "/models.json": Buffer.from("[]") }, /^models\.json: lists no model/],
  ["a list that is no JSON", { "/models.json": Buffer.from("[") }, /^models\.json: is no JSON/],
  ["a list of something else", { "/models.json": Buffer.from("[1]") }, /^models\.json: must be a list/],
  ["a server in trouble", { "/models/painted.tflite": 503 }, /^models\/painted\.tflite: the server answers 503/],
  ["LiteRT.js that is not there", { "/vendor/litert.js": 404 }, /^LiteRT\.js is missing .*npm ci && npm run vendor/],
  ["WebAssembly that is not there", { "/vendor/wasm/litert_wasm_internal.wasm": 404 }, /^LiteRT\.js does not start/],
  ["a worker that is not there", { "/worker.js": 404 }, /^the network's worker cannot be loaded/],
];
for (const [what, files, message] of troubles) {
  test(`${what}: told in words`, async (t) => {
    const own = await serve({ files: { ...FILES, ...files } });
    t.after(own.close);
    const page = await open(t, { url: own.url, ready: null });
    await saying(page, "#error", message);
  });
}

test("a network that fails: told in words", async (t) => {
  const page = await open(t);
  await page.context().setOffline(true);
  await page.click("#sample");
  await saying(page, "#error", /^samples\/people\.jpg: cannot be fetched; check the connection/);
});

test("browsers without WebAssembly or its SIMD: told in words", async (t) => {
  const none = await open(t, { ready: null, init: () => delete globalThis.WebAssembly });
  await saying(none, "#error", "has no WebAssembly");
  const old = await open(t, { ready: null, init: () => (WebAssembly.validate = () => false) });
  await saying(old, "#error", "has no SIMD in WebAssembly");
});

test("nothing leaves the page: every request goes to its own server, and none carries anything", async (t) => {
  const page = await open(t, { ready: null, url: "about:blank" });
  const requests = [];
  page.on("request", (request) => requests.push(request));
  await page.goto(server.url);
  await saying(page, "#status", "painted is ready.");
  await usePicture(page, PICTURE);
  await saying(page, "#status", "2 people");
  const sent = requests.filter((r) => r.method() !== "GET" || !r.url().startsWith(server.url));
  assert.ok(requests.length > 10);
  assert.deepEqual(sent.map((r) => r.url()).filter((url) => !url.startsWith("blob:")), []);
  const blocked = await page.evaluate(() => fetch("http://127.0.0.1:9/", { method: "POST", body: "x" }).then(() => "sent", () => "blocked"));
  assert.equal(blocked, "blocked");
});

test("every control has a name, and a phone's width is enough", async (t) => {
  const page = await open(t, { viewport: { width: 360, height: 740 }, colorScheme: "dark" });
  const nameless = await page.$$eval("button, input, select, canvas", (controls) =>
    controls
      .filter((c) => !(c.getAttribute("aria-label") || [...(c.labels ?? [])].some((l) => l.textContent.trim()) || c.textContent.trim()))
      .map((c) => c.id),
  );
  assert.deepEqual(nameless, []);
  await usePicture(page, PICTURE);
  await saying(page, "#status", "2 people");
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
  await page.screenshot({ path: `${SCREENS}phone.png`, fullPage: true });
});
