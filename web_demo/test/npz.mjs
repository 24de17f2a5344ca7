/** Reading NumPy's .npz files: C order, little-endian numbers and texts. */

import { readFile } from "node:fs/promises";

import { readMember } from "../zip.js";

const TYPES = { "|u1": Uint8Array, "<i4": Int32Array, "<i8": BigInt64Array, "<f4": Float32Array, "<f8": Float64Array };

/**
 * @param {URL} path
 * @returns {Promise<(name: string) => Promise<{shape: number[], values: (number | string)[]}>>} reads an array.
 */
export async function openNpz(path) {
  const bytes = new Uint8Array(await readFile(path));
  return async (name) => {
    const member = await readMember(bytes, `${name}.npy`);
    if (!member) throw new Error(`${path}: has no '${name}'`);
    return parse(member.slice());
  };
}

function parse(npy) {
  const start = 10 + new DataView(npy.buffer).getUint16(8, true);
  const header = new TextDecoder().decode(npy.subarray(10, start));
  const [, type] = /'descr': '([^']+)'/.exec(header);
  const shape = /'shape': \(([^)]*)\)/.exec(header)[1].split(",").filter((s) => s.trim()).map(Number);
  const data = npy.slice(start);
  if (type.startsWith("<U")) {
    const size = Number(type.slice(2));
    const codes = new Uint32Array(data.buffer);
    const texts = Array.from({ length: codes.length / size }, (_, i) => codes.subarray(i * size, (i + 1) * size));
    return { shape, values: texts.map((text) => String.fromCodePoint(...text.filter((code) => code > 0))) };
  }
  return { shape, values: Array.from(new TYPES[type](data.buffer), Number) };
}
