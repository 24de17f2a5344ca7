/** The page in headless Chromium: what it says when something is wrong. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { crc32, deflateSync } from "node:zlib";

import { FILES, GOLDEN, MODEL, open, saying, usePicture } from "./page.mjs";
import { serve } from "./server.mjs";

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
