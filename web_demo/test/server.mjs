/** A server of static files for the tests: the page's folder, with other files in place of some. */

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const TYPES = {
  ".css": "text/css",
  ".html": "text/html",
  ".jpg": "image/jpeg",
  ".js": "text/javascript",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};
const ISOLATION = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

/**
 * @param {{files?: Record<string, string | Buffer | number>, isolated?: boolean}} options files: by address ("/models.json"),
 *   a path, contents, or an HTTP status; isolated: whether the page may use threads.
 * @returns {Promise<{url: string, files: object, close: () => void}>} files can be changed later on.
 */
export async function serve({ files = {}, isolated = false } = {}) {
  const server = createServer(async (request, response) => {
    const address = new URL(request.url, "http://localhost").pathname;
    const given = files[address] ?? join(ROOT, normalize(address === "/" ? "/index.html" : address));
    const headers = { "Content-Type": TYPES[extname(address) || ".html"] ?? "application/octet-stream" };
    const cache = address.startsWith("/vendor/") ? "max-age=600" : "no-store"; // compiled WebAssembly is kept as well
    const send = (status, body = "") => {
      response.writeHead(status, { ...headers, ...(isolated && ISOLATION), "Cache-Control": cache });
      if (body.pipe) body.pipe(response);
      else response.end(body);
    };
    if (typeof given === "number") send(given);
    else if (Buffer.isBuffer(given)) send(200, given);
    else if (await stat(given).then((s) => s.isFile(), () => false)) send(200, createReadStream(given));
    else send(404);
  });
  await new Promise((resolve) => server.listen(0, "localhost", resolve));
  const { port } = server.address();
  return { url: `http://localhost:${port}/`, files, close: () => server.closeAllConnections() || server.close() };
}
