/**
 * Fitting a picture into the network's input, and taking coordinates back: the pixels that
 * `ehrnet_tf.runtime.letterbox` makes with OpenCV 5, to the last bit. (A canvas that scales gives others, and they
 * other poses.)
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

/**
 * Along one axis, where each output pixel's centre lies between two source pixels: the first one's index, which may be
 * outside the picture, and how far it is towards the second, 0..1.
 *
 * @param {number} inputSize output pixels.
 * @param {(o: number) => number} place of output pixel o among source pixels, whose centres are at whole numbers here.
 */
function bilinearTaps(inputSize, place) {
  const first = new Int32Array(inputSize);
  const share = new Float32Array(inputSize);
  for (let o = 0; o < inputSize; o++) {
    first[o] = Math.floor(place(o));
    share[o] = place(o) - first[o];
  }
  return { first, share };
}

/**
 * Along one axis, which source pixels make up each of `parts` equal parts: for part p those numbered
 * index[start[p]] .. index[start[p + 1] - 1], neighbours, with the weights of the same places.
 */
function areaTaps(imageSize, parts) {
  const index = [];
  const weight = [];
  const start = [0];
  const size = imageSize / parts;
  for (let p = 0; p < parts; p++) {
    const begin = p * size;
    const end = begin + size;
    const cell = Math.min(size, imageSize - begin);
    const to = Math.min(Math.floor(end), imageSize - 1);
    const from = Math.min(Math.ceil(begin), to);
    const add = (i, share) => index.push(i) && weight.push(share / cell);
    if (from - begin > 1e-3) add(from - 1, from - begin);
    for (let i = from; i < to; i++) add(i, 1);
    if (end - to > 1e-3) add(to, Math.min(end - to, 1, cell));
    start.push(index.length);
  }
  return { index: Int32Array.from(index), weight: Float32Array.from(weight), start: Int32Array.from(start) };
}

/** Makes pictures of one size smaller, by the mean over areas: OpenCV's INTER_AREA. */
class AreaReducer {
  constructor(imageWidth, imageHeight, width, height) {
    Object.assign(this, { imageWidth, width, height });
    this.columns = areaTaps(imageWidth, width);
    this.rows = areaTaps(imageHeight, height);
    // Quarters of grey levels: OpenCV has code of its own for halves, which rounds x.5 up.
    this.more = imageWidth === 2 * width && imageHeight === 2 * height ? 1 / 8 : 0;
  }

  /** RGBA to RGB. */
  reduce(pixels) {
    const { index, weight, start } = this.rows;
    const reduced = new Uint8ClampedArray(3 * this.width * this.height); // rounds as OpenCV does, halves to even numbers
    const line = new Float32Array(3 * this.width);
    const sums = new Float32Array(line.length);
    let held = -1;
    for (let p = 0; p < this.height; p++) {
      sums.fill(0);
      for (let i = start[p]; i < start[p + 1]; i++) {
        if (held !== index[i]) this.#reduceLine(pixels, (held = index[i]), line);
        const share = weight[i];
        for (let k = 0; k < sums.length; k++) sums[k] += fround(share * line[k]);
      }
      const to = p * sums.length;
      for (let k = 0; k < sums.length; k++) reduced[to + k] = sums[k] + this.more;
    }
    return reduced;
  }

  #reduceLine(pixels, row, line) {
    const { index, weight, start } = this.columns;
    const { width, imageWidth } = this;
    for (let p = 0, to = 0; p < width; p++) {
      const end = start[p + 1];
      let from = 4 * (row * imageWidth + index[start[p]]);
      let red = fround(0);
      let green = fround(0);
      let blue = fround(0);
      for (let i = start[p]; i < end; i++, from += 4) {
        const share = weight[i];
        red = fround(red + fround(share * pixels[from]));
        green = fround(green + fround(share * pixels[from + 1]));
        blue = fround(blue + fround(share * pixels[from + 2]));
      }
      line[to++] = red;
      line[to++] = green;
      line[to++] = blue;
    }
  }
}

/**
 * Fits pictures of one size into the network's input: uniform scale, centred, bilinear, the rest black; a picture that
 * shrinks to less than half is first averaged over areas, to about twice the size it ends with.
 */
export class PictureFitter {
  #reducer = null;
  #source; // {width, height, channels} of what is sampled: the picture, or the reduced one
  #columns;
  #rows;

  /** Pixels, each at least 1. */
  constructor(imageWidth, imageHeight, width, height) {
    Object.assign(this, { imageWidth, imageHeight, width, height });
    /** @type {Letterbox} */
    this.box = fit(imageWidth, imageHeight, width, height);
    const { scale, dx, dy } = this.box;
    const reduced = (size) => (scale < 0.5 ? Math.max(1, roundHalfEven(2 * scale * size)) : size);
    this.#source = { width: reduced(imageWidth), height: reduced(imageHeight), channels: scale < 0.5 ? 3 : 4 };
    if (scale < 0.5) this.#reducer = new AreaReducer(imageWidth, imageHeight, this.#source.width, this.#source.height);
    // The inverse map, in OpenCV's order of operations: along a row multiplication and addition are one.
    const across = scale * (imageWidth / this.#source.width);
    const down = scale * (imageHeight / this.#source.height);
    const determinant = 1 / (across * down);
    const [stepX, stepY] = [down * determinant, across * determinant];
    const [startX, startY] = [-stepX * (dx + (across - 1) / 2), -stepY * (dy + (down - 1) / 2)].map(fround);
    this.#columns = bilinearTaps(width, (o) => fround(o * fround(stepX) + startX));
    this.#rows = bilinearTaps(height, (o) => fround(fround(o * fround(stepY)) + startY));
  }

  /**
   * @param {Uint8Array | Uint8ClampedArray} pixels imageHeight x imageWidth x 4, RGBA, alpha not looked at: an ImageData's.
   * @returns {Uint8Array} height x width x 3, RGB.
   */
  fit(pixels) {
    if (pixels.length !== 4 * this.imageWidth * this.imageHeight) {
      throw new RangeError(`${pixels.length} bytes for ${this.imageWidth} x ${this.imageHeight} pixels`);
    }
    const source = this.#reducer ? this.#reducer.reduce(pixels) : pixels;
    const { first, share } = this.#rows;
    const input = new Uint8ClampedArray(3 * this.width * this.height);
    let above = { row: -2, line: new Float32Array(3 * this.width) };
    let below = { row: -2, line: new Float32Array(3 * this.width) };
    for (let o = 0; o < this.height; o++) {
      if (below.row === first[o]) [above, below] = [below, above];
      this.#sampleLine(source, first[o], above);
      this.#sampleLine(source, first[o] + 1, below);
      const start = o * above.line.length;
      const [from, to, part] = [above.line, below.line, share[o]];
      for (let k = 0; k < from.length; k++) input[start + k] = fround(part * (to[k] - from[k]) + from[k]);
    }
    return new Uint8Array(input.buffer);
  }

  /** A source row, sampled along the row; black outside the picture. */
  #sampleLine(source, row, target) {
    if (target.row === row) return;
    target.row = row;
    const { line } = target;
    const { width, height, channels } = this.#source;
    if (row < 0 || row >= height) {
      line.fill(0);
      return;
    }
    const { first, share } = this.#columns;
    for (let o = 0; o < this.width; o++) {
      const at = first[o];
      const hasLeft = at >= 0 && at < width;
      const hasRight = at >= -1 && at < width - 1;
      for (let channel = 0; channel < 3; channel++) {
        const index = channels * (row * width + at) + channel;
        const left = hasLeft ? source[index] : 0;
        const right = hasRight ? source[index + channels] : 0;
        line[3 * o + channel] = share[o] * (right - left) + left;
      }
    }
  }
}
