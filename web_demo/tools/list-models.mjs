// npm run models: writes models.json, the list of the .tflite files in models/. Names given there by hand are kept.

import { readdir, readFile, writeFile } from "node:fs/promises";

import { DemoError } from "../errors.js";
import { readMetadata } from "../metadata.js";

const root = new URL("../", import.meta.url);
const list = new URL("models.json", root);

const before = await readFile(list, "utf8").then(JSON.parse, () => []);
const entries = [];
for (const name of (await readdir(new URL("models/", root))).sort()) {
  if (!name.endsWith(".tflite")) continue;
  const file = `models/${name}`;
  try {
    const { json, width, height } = await readMetadata(new Uint8Array(await readFile(new URL(file, root))), file);
    const described = `${json.variant ?? name}, ${json.precision}, ${width} × ${height} (${name})`;
    entries.push({ name: before.find((entry) => entry.file === file)?.name ?? described, file });
  } catch (error) {
    if (!(error instanceof DemoError)) throw error;
    console.error(`left out: ${error.message}`);
  }
}
await writeFile(list, `${JSON.stringify(entries, null, 1)}\n`);
console.log(`web_demo/models.json: ${entries.map(({ name }) => name).join("; ") || "no models"}`);
