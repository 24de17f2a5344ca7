/** Drawing people on a canvas, in the colours and sizes of `ehrnet_tf.drawing`. */

const SIDES = { left: [86, 180, 233], right: [240, 145, 20], centre: [255, 240, 195] }; // as ehrnet_tf/drawing.py, RGB
const DARK = [25, 25, 30];
const TURN = 2 * Math.PI;

/** The side of the body that a keypoint's name tells. */
function side(name) {
  return ["left", "right"].find((known) => name.toLowerCase().startsWith(`${known}_`)) ?? "centre";
}

/**
 * The colour of the limb between two keypoints, or of one keypoint if they are the same. Where neither end has a colour
 * of its own and one is on a side of the body, the other in the centre: the side's.
 *
 * @param {import("./metadata.js").KeypointSet} set
 * @param {number} a index of a keypoint.
 * @param {number} b
 * @returns {number[]} RGB, 0..255.
 */
export function limbColor(set, a, b) {
  const own = [set.colors[a], set.colors[b]];
  const sides = [side(set.names[a]), side(set.names[b])];
  if (!own[0] && !own[1]) {
    const chosen = new Set(sides.filter((one) => one !== "centre"));
    return SIDES[chosen.size === 1 ? [...chosen][0] : "centre"];
  }
  const [first, second] = own.map((color, i) => color ?? SIDES[sides[i]]);
  return first.map((value, i) => halfEven(value + second[i]));
}

/** Half of a whole number, rounded as Python rounds. */
function halfEven(sum) {
  const half = Math.floor(sum / 2);
  return half + (sum % 2 === 1 && half % 2 === 1 ? 1 : 0);
}

/**
 * Draws people over what the canvas shows: limbs and joints, fainter with a lower score, and each one's score.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {import("./poses.js").Person[]} people
 * @param {import("./metadata.js").KeypointSet} set
 * @param {{scale?: number, minScore?: number}} options scale: canvas pixels a pixel of the picture; joints scored lower
 *   than minScore are not drawn.
 */
export function drawPeople(context, people, set, { scale = 1, minScore = 0.1 } = {}) {
  const { width, height } = context.canvas;
  if (width === 0 || height === 0) return;
  const layer = new OffscreenCanvas(width, height).getContext("2d");
  const drawn = people
    .map(({ keypoints, score }) => ({
      score,
      joints: keypoints.map(([x, y, s]) => ({ x: x * scale, y: y * scale, s, visible: s > 0 && s >= minScore })),
    }))
    .filter(({ joints }) => joints.some(({ visible }) => visible));
  for (const person of drawn) person.anchor = drawPerson(context, layer, person.joints, set);
  for (const { anchor, score } of drawn) drawLabel(context, score.toFixed(2), anchor);
}

/** Draws one person by way of a layer, where limbs cover each other; returns where a label may stand. */
function drawPerson(context, layer, joints, set) {
  const { width, height } = context.canvas;
  const seen = joints.filter(({ visible }) => visible);
  const bounds = {
    left: Math.min(...seen.map(({ x }) => x)),
    right: Math.max(...seen.map(({ x }) => x)),
    top: Math.min(...seen.map(({ y }) => y)),
    bottom: Math.max(...seen.map(({ y }) => y)),
  };
  const extent = Math.max(bounds.right - bounds.left, bounds.bottom - bounds.top);
  const short = Math.min(width, height);
  const thickness = Math.round(clamp(extent / 45, Math.max(1.5, short / 300), Math.max(2, short / 80)));
  const radius = thickness * 0.95 + 0.5;
  const edge = Math.max(1, Math.floor(thickness / 3));
  const opacity = ({ s }) => 0.3 + 0.7 * clamp(s, 0, 1);

  layer.lineCap = "round";
  const limbs = set.skeleton.filter(([a, b]) => joints[a].visible && joints[b].visible);
  for (const extra of [2 * edge, 0]) {
    for (const [a, b] of limbs) {
      const path = new Path2D();
      path.moveTo(joints[a].x, joints[a].y);
      path.lineTo(joints[b].x, joints[b].y);
      const alpha = Math.min(opacity(joints[a]), opacity(joints[b]));
      layer.lineWidth = thickness + extra;
      replace(layer, "stroke", path, extra ? DARK : limbColor(set, a, b), alpha);
    }
  }
  joints.forEach((joint, k) => {
    if (!joint.visible) return;
    for (const [colour, size] of [[DARK, radius + edge], [limbColor(set, k, k), radius]]) {
      const path = new Path2D();
      path.arc(joint.x, joint.y, size, 0, TURN);
      replace(layer, "fill", path, colour, opacity(joint));
    }
  });

  const margin = 3 * thickness + 4;
  const left = clamp(Math.floor(bounds.left) - margin, 0, width);
  const top = clamp(Math.floor(bounds.top) - margin, 0, height);
  const across = clamp(Math.ceil(bounds.right) + margin, 0, width) - left;
  const down = clamp(Math.ceil(bounds.bottom) + margin, 0, height) - top;
  if (across > 0 && down > 0) context.drawImage(layer.canvas, left, top, across, down, left, top, across, down);
  layer.clearRect(0, 0, width, height);
  const highest = seen.reduce((best, joint) => (joint.y < best.y ? joint : best));
  return { x: highest.x, y: highest.y - radius - 3 - 0.05 * extent };
}

/** Paints over what lies there instead of mixing with it. */
function replace(layer, method, path, colour, alpha) {
  layer.globalCompositeOperation = "destination-out";
  layer.globalAlpha = 1;
  layer[method](path);
  layer.globalCompositeOperation = "source-over";
  layer.globalAlpha = alpha;
  layer.strokeStyle = layer.fillStyle = `rgb(${colour.join(" ")})`;
  layer[method](path);
}

/** A light text on a dark ground, centred above the anchor and inside the picture. */
function drawLabel(context, text, anchor) {
  const { width, height } = context.canvas;
  const size = clamp(Math.min(width, height) / 40, 11, 36);
  const pad = Math.round(size * 0.3);
  context.save();
  context.font = `${size}px system-ui, sans-serif`;
  context.textBaseline = "alphabetic";
  const across = context.measureText(text).width;
  const x = clamp(anchor.x - across / 2, pad, Math.max(pad, width - across - pad));
  const y = clamp(anchor.y - pad, size + pad, Math.max(size + pad, height - pad));
  context.fillStyle = `rgb(${DARK.join(" ")} / 75%)`;
  context.fillRect(x - pad, y - 0.8 * size - pad, across + 2 * pad, 0.8 * size + 2 * pad);
  context.fillStyle = "white";
  context.fillText(text, x, y);
  context.restore();
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
