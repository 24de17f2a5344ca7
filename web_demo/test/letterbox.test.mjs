import assert from "node:assert/strict";
import { test } from "node:test";

import { fit, PictureFitter, roundHalfEven } from "../letterbox.js";
import { openNpz } from "./npz.mjs";

const geometry = await openNpz(new URL("../../tests/golden/geometry.npz", import.meta.url));
const bytes = (packed, channels) =>
  Uint8ClampedArray.from(packed.flatMap((p) => [p >> 16, (p >> 8) & 255, p & 255, 77].slice(0, channels)));

for (const name of (await geometry("fits")).values) {
  test(`the network's input is Python's: ${name}`, async () => {
    const image = await geometry(`${name}/image`);
    const input = await geometry(`${name}/input`);
    const fitter = new PictureFitter(image.shape[1], image.shape[0], input.shape[1], input.shape[0]);
    const expected = Uint8Array.from(bytes(input.values, 3));
    for (let round = 0; round < 2; round++) {
      const given = fitter.fit(bytes(image.values, 4));
      assert.deepEqual(given, expected);
    }
  });
}

test("geometry is Python's", async () => {
  const { values: rows, shape } = await geometry("regions");
  const { values: boxes } = await geometry("boxes");
  assert.ok(shape[0] > 300);
  for (let i = 0; i < shape[0]; i++) {
    const [h, w, height, width] = rows.slice(i * shape[1]);
    const { scale, dx, dy } = fit(w, h, width, height);
    assert.deepEqual([scale, dx, dy], boxes.slice(3 * i, 3 * i + 3));
  }
});

test("a picture of another size is refused", () => {
  assert.throws(() => new PictureFitter(4, 4, 32, 32).fit(new Uint8ClampedArray(60)), /60 bytes for 4 x 4 pixels/);
});

test("halves are rounded to even numbers", () => {
  assert.deepEqual([-1.5, -0.5, 0.5, 1.5, 2.5, 2.4, 2.6].map(roundHalfEven), [-2, 0, 0, 2, 2, 2, 3]);
});
