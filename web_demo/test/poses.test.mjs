import assert from "node:assert/strict";
import { test } from "node:test";

import { limbColor } from "../draw.js";
import { fit } from "../letterbox.js";
import { parseMetadata } from "../metadata.js";
import { findPeople, toDict } from "../poses.js";
import { openNpz } from "./npz.mjs";

const geometry = await openNpz(new URL("../../tests/golden/geometry.npz", import.meta.url));
const floats = async (name) => Float32Array.from((await geometry(name)).values);

async function keypointSet(name) {
  const json = JSON.parse((await geometry(`${name}/metadata`)).values[0]);
  return parseMetadata(JSON.stringify({ ...json, graph: "poses" }), name).keypoints;
}

test("people are where Python finds them", async () => {
  const [height, width] = (await geometry("decoder/image_size")).values;
  const box = fit(width, height, 96, 64);
  const people = findPeople(await floats("decoder/keypoints"), await floats("decoder/scores"), box);
  assert.deepEqual(people.map(({ score }) => score), (await geometry("decoder/poses_scores")).values);
  const expected = (await geometry("decoder/poses_people")).values;
  const given = people.flatMap(({ keypoints }) => keypoints.flat());
  assert.equal(given.length, expected.length);
  given.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 1e-4, `${value} for ${expected[i]}`));
});

test("a diverged model is refused", () => {
  const box = fit(64, 64, 64, 64);
  assert.throws(() => findPeople(Float32Array.of(1, NaN, 1), Float32Array.of(1), box), /NaN or infinity/);
  assert.throws(() => findPeople(Float32Array.of(1, 1, 1), Float32Array.of(Infinity), box), /NaN or infinity/);
});

test("JSON is Python's, to the last digit", async () => {
  const joints = await geometry("poses/keypoints");
  const [people, count] = joints.shape;
  const given = (await geometry("poses/scores")).values.map((score, p) => ({
    score,
    keypoints: Array.from({ length: count }, (_, k) => joints.values.slice(3 * (p * count + k)).slice(0, 3)),
  }));
  assert.equal(given.length, people);
  const expected = JSON.parse((await geometry("poses/json")).values[0]);
  assert.deepEqual(toDict(given, await keypointSet("coco"), 400, 600), expected);
});

for (const name of (await geometry("sets")).values) {
  test(`colours of ${name} are Python's`, async () => {
    const set = await keypointSet(name);
    const { values, shape } = await geometry(`${name}/colors`);
    const given = set.names.flatMap((_, a) => set.names.map((_, b) => limbColor(set, a, b)));
    assert.equal(given.length, shape[0] ** 2);
    given.forEach(([r, g, b], i) => assert.equal((r << 16) | (g << 8) | b, values[i]));
  });
}
