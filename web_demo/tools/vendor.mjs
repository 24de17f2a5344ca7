// npm run vendor: copies LiteRT.js from node_modules into vendor/, where the page finds it without a bundler.

import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";

const root = new URL("../", import.meta.url);
const modules = new URL("node_modules/@litertjs/", root);
const vendor = new URL("vendor/", root);

async function copied(name, file) {
  const { version, license } = JSON.parse(await readFile(new URL(`${name}/package.json`, modules)));
  if (license !== "Apache-2.0") throw new Error(`@litertjs/${name} ${version}: its licence is ${license}, not Apache-2.0`);
  const code = await readFile(new URL(`${name}/dist/index.js`, modules), "utf8");
  const changed = code
    .replaceAll('from "@litertjs/wasm-utils"', 'from "./wasm-utils.js"')
    .replace(/^\/\/# sourceMappingURL=.*$/m, "");
  const notice = `// @litertjs/${name} ${version}, Google LLC, Apache-2.0. Changed: imports by relative addresses.\n`;
  await writeFile(new URL(file, vendor), notice + changed);
  return `@litertjs/${name} ${version}`;
}

await rm(vendor, { recursive: true, force: true });
await mkdir(vendor);
await cp(new URL("core/wasm/", modules), new URL("wasm/", vendor), { recursive: true });
const packages = [await copied("core", "litert.js"), await copied("wasm-utils", "wasm-utils.js")];
await cp(new URL("../LICENSE", root), new URL("LICENSE", vendor)); // the same licence, Apache-2.0
console.log(`web_demo/vendor: ${packages.join(", ")} (Apache-2.0)`);
