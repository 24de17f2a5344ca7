/** The outputs of a network with the decoder inside, as people in a picture, and as JSON. */

import { roundHalfEven } from "./letterbox.js";

/** People scored lower are left out at first: the decoder also reports people of one doubtful joint. */
export const MIN_SCORE = 0.2;

/**
 * A person: score 0..1, and K keypoints x, y, score: pixels of the picture, the first pixel's centre at 0.5, 0.5; all 0
 * where a keypoint was not found.
 *
 * @typedef {{score: number, keypoints: [number, number, number][]}} Person
 */

/**
 * @param {Float32Array} keypoints P x K x 3: x, y in pixels of the network's input, score.
 * @param {Float32Array} scores P; 0 for nobody.
 * @param {import("./letterbox.js").Letterbox} box where the picture lies in the input.
 * @returns {Person[]} as `PoseEstimator.decode` gives them in Python, of any score.
 * @throws {Error} if there is a NaN or an infinity.
 */
export function findPeople(keypoints, scores, box) {
  if (![...keypoints, ...scores].every(Number.isFinite)) throw new Error("gives NaN or infinity (has the model diverged?)");
  const size = keypoints.length / scores.length;
  const people = [];
  scores.forEach((score, p) => {
    if (score <= 0) return;
    const joints = [];
    for (let i = p * size; i < (p + 1) * size; i += 3) {
      const [x, y, s] = keypoints.subarray(i, i + 3);
      joints.push(s > 0 ? [Math.fround((x - box.dx) / box.scale), Math.fround((y - box.dy) / box.scale), s] : [0, 0, 0]);
    }
    people.push({ score, keypoints: joints });
  });
  return people;
}

/**
 * The JSON object of Python's `Poses.to_dict`, which `ehrnet predict --json` writes: keypoints by name, coordinates to
 * 1/1000 pixel, scores to 6 decimals.
 *
 * @param {Person[]} people
 * @param {import("./metadata.js").KeypointSet} keypoints
 * @param {number} height of the picture, pixels.
 * @param {number} width
 */
export function toDict(people, keypoints, height, width) {
  return {
    image_size: [height, width],
    keypoint_set: keypoints.name,
    category: keypoints.category,
    people: people.map((person) => ({
      score: rounded(person.score, 6),
      keypoints: Object.fromEntries(
        person.keypoints.map(([x, y, s], k) => [keypoints.names[k], [rounded(x, 3), rounded(y, 3), rounded(s, 6)]]),
      ),
    })),
  };
}

/** A 32-bit number, whose product with the power of ten is exact in 64 bits. */
function rounded(x, digits) {
  return roundHalfEven(x * 10 ** digits) / 10 ** digits;
}
