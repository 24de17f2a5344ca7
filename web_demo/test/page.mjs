/** What the tests of the page share: headless Chromium, the page on a server, and what it says. */

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";

import { FAKE_CAMERA, launch } from "./chromium.mjs";
import { serve } from "./server.mjs";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
export const GOLDEN = path("../../tests/golden/android/");
export const MODEL = `${GOLDEN}painted_int8_poses.tflite`;
export const PICTURE = `${GOLDEN}picture.png`;
export const SCREENS = path("screens/");
const LIST = Buffer.from(JSON.stringify([{ name: "painted", file: "models/painted.tflite" }]));
export const FILES = { "/models.json": LIST, "/models/painted.tflite": MODEL };

let browser;
export let server;
before(async () => {
  await mkdir(SCREENS, { recursive: true });
  [browser, server] = await Promise.all([launch(FAKE_CAMERA), serve({ files: FILES })]);
});
after(() => Promise.all([browser?.close(), server?.close()]));

/** Opens the page, and closes it after the test; a page that reports an error of its own fails the test. */
export async function open(t, { url = server.url, init, ready = "painted is ready.", ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, ...options });
  t.after(() => context.close());
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  t.after(() => assert.deepEqual(errors, []));
  if (init) await page.addInitScript(init);
  await page.goto(url);
  if (ready) await saying(page, "#status", ready);
  return page;
}

/** Waits until an element says something, a text or a pattern; returns what it says. */
export async function saying(page, selector, wanted) {
  const found = page.locator(selector).filter({ hasText: wanted });
  await found.waitFor({ timeout: 15_000 }).catch(async () => {
    const said = await page.locator(selector).textContent();
    const error = await page.locator("#error").textContent();
    assert.fail(`${selector} says '${said}' instead of '${wanted}'; error: '${error}'`);
  });
  return found.textContent();
}

export async function usePicture(page, file) {
  await page.setInputFiles("#picture", file);
}
