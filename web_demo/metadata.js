/** What a .tflite file of `ehrnet export` knows of itself: the zip member `ehrnet.json` behind the network. */

import { DemoError } from "./errors.js";
import { readMember } from "./zip.js";

const MEMBER = "ehrnet.json";
const REMEDY = "export it again: ehrnet export MODEL.keras --graph poses --precision int8 --calibration DATA --out FILE";
const STRIDE = 32;
const LARGEST_SIDE = 4096;

/**
 * A model's metadata.
 *
 * @typedef {object} Metadata
 * @property {KeypointSet} keypoints
 * @property {number} height of the network's input, pixels.
 * @property {number} width
 * @property {object} json all that the file says.
 *
 * A set of K keypoints; limbs are pairs of indices.
 *
 * @typedef {object} KeypointSet
 * @property {string} name
 * @property {string} category
 * @property {string[]} names K
 * @property {[number, number][]} skeleton
 * @property {([number, number, number] | null)[]} colors K: RGB, 0..255; null where none is given.
 */

/**
 * Reads the metadata of a model file with the decoder inside.
 *
 * @param {Uint8Array} bytes the whole file.
 * @param {string} source what messages call it.
 * @returns {Promise<Metadata>}
 * @throws {DemoError} no .tflite file, no metadata or damaged ones, no pose model, or one without the decoder.
 */
export async function readMetadata(bytes, source) {
  if (String.fromCharCode(...bytes.subarray(4, 8)) !== "TFL3") {
    throw new DemoError(`${source}: is no .tflite file; choose one that ehrnet export wrote`);
  }
  let member;
  try {
    member = await readMember(bytes, MEMBER);
  } catch (error) {
    throw new DemoError(`${source}: its metadata (${MEMBER}) is damaged (${error.message}); copy the file again`);
  }
  if (!member) throw new DemoError(`${source}: holds no metadata (${MEMBER}), or was cut off; copy it again, or ${REMEDY}`);
  return parseMetadata(new TextDecoder().decode(member), source);
}

/**
 * @param {string} text JSON.
 * @param {string} source what messages call the file.
 * @returns {Metadata}
 * @throws {DemoError} see `readMetadata`.
 */
export function parseMetadata(text, source) {
  let json;
  try {
    json = JSON.parse(text);
    if (json.task) throw new Error(`its task is ${json.task}, not poses`);
    const { height, width } = json.input;
    for (const side of [height, width]) {
      if (!Number.isInteger(side) || side < STRIDE || side > LARGEST_SIDE || side % STRIDE) {
        throw new Error(`its input is ${width} x ${height}, not multiples of ${STRIDE}`);
      }
    }
    const keypoints = keypointSet(json.keypoints);
    if (json.graph === "poses") return { keypoints, height, width, json };
  } catch (error) {
    throw new DemoError(`${source}: its metadata (${MEMBER}) cannot be used (${error.message}); ${REMEDY}`);
  }
  throw new DemoError(`${source}: gives maps (--graph ${json.graph}), this page wants a file with the decoder inside; ${REMEDY}`);
}

/** @returns {KeypointSet} of what Python's `KeypointSet.to_dict` gives. */
function keypointSet({ name, category = "person", keypoints: names, skeleton = [], colors = {} }) {
  if (!Array.isArray(names) || names.length === 0) throw new Error("no keypoints");
  const index = (keypoint) => {
    const found = names.indexOf(keypoint);
    if (found < 0) throw new Error(`a limb at '${keypoint}', which is no keypoint`);
    return found;
  };
  return {
    name,
    category,
    names,
    skeleton: skeleton.map(([a, b]) => [index(a), index(b)]),
    colors: names.map((keypoint) => colors[keypoint] ?? null),
  };
}

/** One line on where a model comes from and what it is worth, of its metadata's JSON. */
export function provenance(json) {
  const percent = (ap) => `${(100 * ap).toFixed(1)} AP`;
  const base = (path) => String(path).split(/[/\\]/).at(-1);
  const { accuracy, source_accuracy: before, versions = {} } = json;
  return [
    json.source && `from ${base(json.source)}`,
    accuracy && `${percent(accuracy.AP)} on ${base(accuracy.data)}/${accuracy.split}`,
    !accuracy && before && `${percent(before.AP)} before the export, on ${base(before.data)}/${before.split}`,
    json.calibration?.pictures && `calibrated with ${json.calibration.pictures} pictures`,
    json.licence && `licence: ${json.licence}`,
    versions["ehrnet-tf"] && `ehrnet-tf ${versions["ehrnet-tf"]}`,
  ]
    .filter(Boolean)
    .join("; ");
}
