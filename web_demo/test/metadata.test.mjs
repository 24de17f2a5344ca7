import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { DemoError } from "../errors.js";
import { parseMetadata, provenance, readMetadata } from "../metadata.js";
import { openNpz } from "./npz.mjs";

const golden = new URL("../../tests/golden/", import.meta.url);
const geometry = await openNpz(new URL("geometry.npz", golden));
const painted = new Uint8Array(await readFile(new URL("android/painted_int8_poses.tflite", golden)));
const known = JSON.parse((await geometry("coco/metadata")).values[0]);
const poses = (changes) => JSON.stringify({ ...known, graph: "poses", ...changes });

/** The painted file with other bytes where `text` stands (the last time). */
function replaced(text, other) {
  const content = Buffer.from(painted);
  content.write(other, content.lastIndexOf(text), "latin1");
  return new Uint8Array(content);
}

function refused(pattern) {
  return (error) => error instanceof DemoError && error.message.startsWith("a.tflite: ") && pattern.test(error.message);
}

test("an exported file is read", async () => {
  const { keypoints, width, height, json } = await readMetadata(painted, "a.tflite");
  assert.deepEqual(keypoints.names, ["a", "b", "c", "d"]);
  assert.deepEqual([keypoints.name, keypoints.category, height, width], ["square", "person", 64, 64]);
  assert.deepEqual([json.graph, json.precision], ["poses", "int8"]);
});

test("a compressed member, another one before it, and a comment after it", async () => {
  const file = Uint8Array.from((await geometry("tflite_deflated")).values);
  await assert.rejects(readMetadata(file, "a.tflite"), refused(/gives maps \(--graph maps\).*--graph poses/));
});

test("an archive that was put behind something else", async () => {
  const zip = painted.subarray(Buffer.from(painted).lastIndexOf("PK\x03\x04", undefined, "latin1"));
  const file = new Uint8Array([...painted.subarray(0, 100), ...zip]);
  assert.equal((await readMetadata(file, "a.tflite")).keypoints.name, "square");
});

for (const set of (await geometry("sets")).values) {
  test(`keypoint set ${set}`, async () => {
    const text = (await geometry(`${set}/metadata`)).values[0];
    const { keypoints } = parseMetadata(JSON.stringify({ ...JSON.parse(text), graph: "poses" }), set);
    assert.deepEqual(keypoints.names, (await geometry(`${set}/names`)).values);
    assert.deepEqual(keypoints.skeleton.flat(), (await geometry(`${set}/skeleton`)).values);
  });
}

test("files that will not do are refused in words", async () => {
  const end = Buffer.from(painted).lastIndexOf("PK\x05\x06", undefined, "latin1");
  const damaged = [
    [new Uint8Array(0), /is no \.tflite file/],
    [new TextEncoder().encode("<!doctype html>"), /is no \.tflite file/],
    [painted.subarray(0, 20000), /holds no metadata.*or was cut off.*ehrnet export/],
    [painted.subarray(0, painted.length - 30), /holds no metadata.*or was cut off/],
    [replaced('"precision"', '"Precision"'), /damaged \(its checksum is wrong\)/],
    [replaced("PK\x01\x02", "PK\x01\x03"), /damaged \(its directory is damaged\)/],
    [replaced("PK\x03\x04", "PK\x03\x05"), /damaged \(its member is not where the directory says\)/],
    [new Uint8Array([...painted.subarray(0, 20), ...painted.subarray(end)]), /damaged \(it points outside the file\)/],
  ];
  for (const [file, pattern] of damaged) await assert.rejects(readMetadata(file, "a.tflite"), refused(pattern));
});

test("metadata that will not do are refused in words", () => {
  const faults = [
    ["{", /cannot be used/],
    ["null", /cannot be used/],
    [poses({ task: "classification" }), /its task is classification/],
    [poses({ input: { height: 100, width: 64 } }), /its input is 64 x 100, not multiples of 32/],
    [poses({ input: undefined }), /cannot be used/],
    [poses({ keypoints: { ...known.keypoints, keypoints: [] } }), /no keypoints/],
    [poses({ keypoints: { ...known.keypoints, skeleton: [["nose", "tail"]] } }), /a limb at 'tail'/],
  ];
  for (const [text, pattern] of faults) assert.throws(() => parseMetadata(text, "a.tflite"), refused(pattern));
});

test("provenance in one line", () => {
  const json = {
    source: "/home/me/runs/a/best.keras",
    calibration: { pictures: 128 },
    accuracy: { AP: 0.4567, data: "/data/coco", split: "val2017" },
    source_accuracy: { AP: 0.5, data: "/data/coco", split: "val2017" },
    versions: { "ehrnet-tf": "1.0" },
  };
  const rest = "calibrated with 128 pictures; ehrnet-tf 1.0";
  assert.equal(provenance(json), `from best.keras; 45.7 AP on coco/val2017; ${rest}`);
  delete json.accuracy;
  assert.equal(provenance(json), `from best.keras; 50.0 AP before the export, on coco/val2017; ${rest}`);
  assert.equal(provenance({}), "");
});
