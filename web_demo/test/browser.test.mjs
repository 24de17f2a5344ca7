/** The page in headless Chromium: files in, people out. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { FILES, GOLDEN, MODEL, open, PICTURE, saying, SCREENS, server, usePicture } from "./page.mjs";
import { serve } from "./server.mjs";

const EXPECTED = JSON.parse(await readFile(`${GOLDEN}poses.json`))["painted_int8_poses.tflite"];

async function savedPoses(page) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save-poses")]);
  return { name: download.suggestedFilename(), poses: JSON.parse(await readFile(await download.path())) };
}

/** Fails unless the same people come in the same order: keypoints to 1 pixel, scores to 0.01. */
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
  const [red, green] = pixel; // the centre's colour, (255, 240, 195), in part over blue
  assert.ok(red > 110 && green > 130, `pixel ${pixel}`);

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
