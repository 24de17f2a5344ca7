// node tools/screenshot.mjs MODEL.tflite OUT.png [PICTURE]: the page, looking at a picture (default: the sample). The
// one in docs/images was made smaller by Pillow: resize((880, 664)).quantize(256).

import { launch } from "../test/chromium.mjs";
import { serve } from "../test/server.mjs";

const [model, out, picture] = process.argv.slice(2);
if (!model || !out) {
  console.error("usage: node tools/screenshot.mjs MODEL.tflite OUT.png [PICTURE]");
  process.exit(2);
}
const list = Buffer.from(JSON.stringify([{ name: "H-6, int8, 128 × 128", file: "model.tflite" }]));
const server = await serve({ files: { "/model.tflite": model, "/models.json": list } });
const browser = await launch();
try {
  const page = await browser.newPage({ viewport: { width: 1100, height: 830 } });
  await page.goto(server.url);
  await page.getByRole("status").filter({ hasText: "is ready" }).waitFor();
  for (let round = 0; round < 40; round++) { // until the milliseconds are those of compiled code
    if (picture) await page.setInputFiles("#picture", picture);
    else await page.click("#sample");
    await page.getByRole("status").filter({ hasText: /(people|person) in / }).waitFor();
  }
  await page.screenshot({ path: out });
} finally {
  await browser.close();
  server.close();
}
