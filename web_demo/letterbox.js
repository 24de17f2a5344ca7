/**
 * Fitting a picture into the network's input, and taking coordinates back: the pixels that
 * `ehrnet_tf.runtime.letterbox` makes with OpenCV 5, but for one grey level where a value lies halfway between two. (A
 * canvas that scales gives others, and they other poses.)
 *
 * Frame: continuous, x right, y down; the first pixel's centre is 0.5, 0.5.
 */

/**
 * The map from a picture to the network's input: x' = scale x + dx, y' = scale y + dy, all in pixels.
 *
 * @typedef {{scale: number, dx: number, dy: number}} Letterbox
 */

/**
 * The largest uniform scale at which a picture fits into an input, and the picture centred there.
 *
 * @param {number} imageWidth pixels, at least 1, like the others.
 * @param {number} imageHeight
 * @param {number} width of the input.
 * @param {number} height
 * @returns {Letterbox}
 */
export function fit(imageWidth, imageHeight, width, height) {
  const scale = Math.min(height / imageHeight, width / imageWidth);
  return { scale, dx: (width - scale * imageWidth) / 2, dy: (height - scale * imageHeight) / 2 };
}

/** To the nearest whole number, halves to the even one, as Python rounds. */
export function roundHalfEven(x) {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

const { fround } = Math; // OpenCV reckons in float32
const CHANNELS = 4; // of source pixels

/**
 * Along one axis, where each output pixel's centre lies between two source pixels: the first one's index, which may be
 * outside the picture, and how far it is towards the second, 0..1.
 *
 * @param {number} inputSize output pixels.
 * @param {number} scale output pixels a source pixel.
 * @param {number} origin where the picture's edge lies in the output.
 */
function bilinearTaps(inputSize, scale, origin) {
  const first = new Int32Array(inputSize);
  const share = new Float32Array(inputSize);
  const step = fround(1 / scale);
  const start = fround(-(origin + (scale - 1) / 2) / scale);
  for (let o = 0; o < inputSize; o++) {
    const place = fround(o * step + start);
    first[o] = Math.floor(place);
    share[o] = place - first[o];
  }
  return { first, share };
}

/**
 * Along one axis, which source pixels make up each of `parts` equal parts: source pixel index[i] counts for part part[i]
 * with weight[i].
 */
function areaTaps(imageSize, parts) {
  const index = [];
  const part = [];
  const weight = [];
  const size = imageSize / parts;
  for (let p = 0; p < parts; p++) {
    const start = p * size;
    const end = start + size;
    const cell = Math.min(size, imageSize - start);
    const to = Math.min(Math.floor(end), imageSize - 1);
    const from = Math.min(Math.ceil(start), to);
    const add = (i, share) => index.push(i) && part.push(p) && weight.push(share / cell);
    if (from - start > 1e-3) add(from - 1, from - start);
    for (let i = from; i < to; i++) add(i, 1);
    if (end - to > 1e-3) add(to, Math.min(end - to, 1, cell));
  }
  return { index: Int32Array.from(index), part: Int32Array.from(part), weight: Float32Array.from(weight) };
}

/** Makes pictures of one size smaller, by the mean over areas: OpenCV's INTER_AREA. */
class AreaReducer {
  constructor(imageWidth, imageHeight, width, height) {
    Object.assign(this, { imageWidth, width, height });
    this.columns = areaTaps(imageWidth, width);
    this.rows = areaTaps(imageHeight, height);
    const halves = imageWidth === 2 * width && imageHeight === 2 * height;
    this.round = halves ? Math.round : roundHalfEven; // OpenCV has code of its own for halves
  }

  /** RGBA to RGBA, whose alpha is of no meaning. */
  reduce(pixels) {
    const { index, part, weight } = this.rows;
    const reduced = new Uint8Array(CHANNELS * this.width * this.height);
    const line = new Float32Array(CHANNELS * this.width);
    const sums = new Float32Array(CHANNELS * this.width);
    for (let i = 0; i < index.length; i++) {
      if (i === 0 || index[i] !== index[i - 1]) this.#reduceLine(pixels, index[i], line);
      for (let k = 0; k < sums.length; k++) sums[k] += fround(weight[i] * line[k]);
      if (part[i] === part[i + 1]) continue;
      const start = part[i] * sums.length;
      for (let k = 0; k < sums.length; k++) reduced[start + k] = Math.min(255, this.round(sums[k]));
      sums.fill(0);
    }
    return reduced;
  }

  #reduceLine(pixels, row, line) {
    const { index, part, weight } = this.columns;
    line.fill(0);
    const start = CHANNELS * row * this.imageWidth;
    for (let i = 0; i < index.length; i++) {
      const from = start + CHANNELS * index[i];
      const to = CHANNELS * part[i];
      line[to] += fround(weight[i] * pixels[from]);
      line[to + 1] += fround(weight[i] * pixels[from + 1]);
      line[to + 2] += fround(weight[i] * pixels[from + 2]);
    }
  }
}

/**
 * Fits pictures of one size into the network's input: uniform scale, centred, bilinear, the rest black; a picture that
 * shrinks to less than half is first averaged over areas, to about twice the size it ends with.
 */
export class PictureFitter {
  #reducer = null;
  #source; // {width, height} of what is sampled: the picture, or the reduced one
  #columns;
  #rows;

  /** Pixels, each at least 1. */
  constructor(imageWidth, imageHeight, width, height) {
    Object.assign(this, { imageWidth, imageHeight, width, height });
    /** @type {Letterbox} */
    this.box = fit(imageWidth, imageHeight, width, height);
    const { scale, dx, dy } = this.box;
    const reduced = (size) => (scale < 0.5 ? Math.max(1, roundHalfEven(2 * scale * size)) : size);
    this.#source = { width: reduced(imageWidth), height: reduced(imageHeight) };
    if (scale < 0.5) this.#reducer = new AreaReducer(imageWidth, imageHeight, this.#source.width, this.#source.height);
    this.#columns = bilinearTaps(width, (scale * imageWidth) / this.#source.width, dx);
    this.#rows = bilinearTaps(height, (scale * imageHeight) / this.#source.height, dy);
  }

  /**
   * @param {Uint8Array | Uint8ClampedArray} pixels imageHeight x imageWidth x 4, RGBA, alpha not looked at: an ImageData's.
   * @returns {Uint8Array} height x width x 3, RGB.
   */
  fit(pixels) {
    if (pixels.length !== CHANNELS * this.imageWidth * this.imageHeight) {
      throw new RangeError(`${pixels.length} bytes for ${this.imageWidth} x ${this.imageHeight} pixels`);
    }
    const source = this.#reducer ? this.#reducer.reduce(pixels) : pixels;
    const { first, share } = this.#rows;
    const input = new Uint8Array(3 * this.width * this.height);
    let above = { row: -2, line: new Float32Array(3 * this.width) };
    let below = { row: -2, line: new Float32Array(3 * this.width) };
    for (let o = 0; o < this.height; o++) {
      if (below.row === first[o]) [above, below] = [below, above];
      this.#sampleLine(source, first[o], above);
      this.#sampleLine(source, first[o] + 1, below);
      const start = o * above.line.length;
      for (let k = 0; k < above.line.length; k++) {
        input[start + k] = roundHalfEven(fround(share[o] * (below.line[k] - above.line[k]) + above.line[k]));
      }
    }
    return input;
  }

  /** A source row, sampled along the row; black outside the picture. */
  #sampleLine(source, row, target) {
    if (target.row === row) return;
    target.row = row;
    const { line } = target;
    const { width, height } = this.#source;
    if (row < 0 || row >= height) {
      line.fill(0);
      return;
    }
    const { first, share } = this.#columns;
    for (let o = 0; o < this.width; o++) {
      const at = first[o];
      for (let channel = 0; channel < 3; channel++) {
        const index = CHANNELS * (row * width + at) + channel;
        const left = at >= 0 && at < width ? source[index] : 0;
        const right = at >= -1 && at < width - 1 ? source[index + CHANNELS] : 0;
        line[3 * o + channel] = share[o] * (right - left) + left;
      }
    }
  }
}
