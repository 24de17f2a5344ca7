/** The list of models, and fetching them. */

import { DemoError } from "./errors.js";

/**
 * @returns {Promise<{name: string, file: string}[]>} what models.json lists; files relative to the page.
 * @throws {DemoError} there is no list, or it cannot be used.
 */
export async function fetchModels() {
  const remedy = "put .tflite files into web_demo/models and run make web-demo, or open one from your disk";
  let list;
  try {
    list = JSON.parse(new TextDecoder().decode(await fetchBytes("models.json", remedy)));
  } catch (error) {
    if (error instanceof SyntaxError) throw new DemoError(`models.json: is no JSON (${error.message})`);
    throw error;
  }
  if (!Array.isArray(list) || !list.every(({ name, file }) => name && file)) {
    throw new DemoError('models.json: must be a list of {"name": …, "file": …}');
  }
  if (list.length === 0) throw new DemoError(`models.json: lists no model; ${remedy}`);
  return list;
}

/**
 * @param {string} file address relative to the page.
 * @param {string} remedy if it is not there.
 * @returns {Promise<Uint8Array>}
 * @throws {DemoError} it is not there, or the network fails.
 */
export async function fetchBytes(file, remedy) {
  let response;
  try {
    response = await fetch(file);
    if (response.ok) return new Uint8Array(await response.arrayBuffer());
  } catch {
    throw new DemoError(`${file}: cannot be fetched; check the connection, then try again`);
  }
  if (response.status === 404) throw new DemoError(`${file}: is not there; ${remedy}`);
  throw new DemoError(`${file}: the server answers ${response.status}; try again later`);
}
