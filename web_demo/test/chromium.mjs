/** Headless Chromium for the tests, the system's own: nothing is downloaded. */

import { existsSync } from "node:fs";

import { chromium } from "playwright-core";

const PLACES = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"];
export const FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
/** WebGPU on the CPU. */
export const SOFTWARE_GPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"];

/** @param {string[]} flags besides the usual ones. */
export function launch(flags = []) {
  const executablePath = PLACES.find((path) => path && existsSync(path));
  if (!executablePath) throw new Error("no Chromium: install it (Debian: apt-get install chromium), or set CHROMIUM");
  const gpu = flags.includes(SOFTWARE_GPU[0]);
  return chromium.launch({ executablePath, args: [...FLAGS.filter((flag) => !gpu || flag !== "--disable-gpu"), ...flags] });
}
