/** Pictures of files, as pixels: those that Python's `images.read_image` gives. */

import { DemoError } from "./errors.js";

const MOST_PIXELS = 64e6;

/**
 * Decodes a picture as Python does: EXIF's orientation is applied, colour profiles are not, transparency goes over white.
 *
 * @param {Blob} file
 * @param {string} name what messages call it.
 * @returns {Promise<{canvas: OffscreenCanvas, pixels: ImageData}>}
 * @throws {DemoError} it cannot be decoded, or is too large.
 */
export async function readPicture(file, name) {
  if (file.size === 0) throw new DemoError(`${name}: is empty; choose another file`);
  const bitmap = await createImageBitmap(file, {
    imageOrientation: "from-image",
    premultiplyAlpha: "none",
    colorSpaceConversion: "none",
  }).catch(() => {
    throw new DemoError(`${name}: is no picture that this browser can decode, or is damaged; convert it to JPEG or PNG`);
  });
  const { width, height } = bitmap;
  const size = `${width} x ${height} pixels`;
  if (width * height > MOST_PIXELS) {
    bitmap.close();
    throw new DemoError(`${name}: has ${size}; make it smaller (up to ${MOST_PIXELS / 1e6} megapixels)`);
  }
  try {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0);
    return { canvas, pixels: context.getImageData(0, 0, width, height) };
  } catch {
    throw new DemoError(`${name}: ${size} are too many for this browser's memory; make it smaller`);
  } finally {
    bitmap.close();
  }
}
