/** The picture on the page, with the people over it. */

import { drawPeople } from "./draw.js";

const LONGEST_SIDE = 2048; // of the drawing, pixels

export class View {
  #context;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.#context = canvas.getContext("2d");
  }

  /**
   * Draws a picture, and the people if they are known.
   *
   * @param {OffscreenCanvas} picture drawn at its own size, or with its longest side LONGEST_SIDE if that is less.
   * @param {import("./poses.js").Person[]} people
   * @param {import("./metadata.js").KeypointSet} [set] the people's.
   */
  show(picture, people = [], set = undefined) {
    const scale = Math.min(1, LONGEST_SIDE / Math.max(picture.width, picture.height));
    const width = Math.max(1, Math.round(picture.width * scale));
    const height = Math.max(1, Math.round(picture.height * scale));
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.#context.imageSmoothingQuality = "high";
    this.#context.drawImage(picture, 0, 0, width, height);
    drawPeople(this.#context, people, set, { scale });
  }

  /** Saves the drawing as a PNG file. */
  async save(name) {
    save(await new Promise((resolve) => this.canvas.toBlob(resolve, "image/png")), name);
  }
}

/** Hands a file to the browser's downloads. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
