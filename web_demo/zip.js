/** Reading one member of the zip archive that lies at the end of a file, as Python's `zipfile` does. */

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const END_SIZE = 22;
const LONGEST_COMMENT = 0xffff;
const STORED = 0;
const DEFLATED = 8;

/**
 * @param {Uint8Array} bytes the whole file; anything may lie before the archive.
 * @param {string} name of the member.
 * @returns {Promise<Uint8Array | null>} its content; null if there is no archive or no such member.
 * @throws {Error} if the archive is damaged.
 */
export async function readMember(bytes, name) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = findEnd(view);
  if (end < 0) return null;
  try {
    const member = findMember(bytes, view, end, name);
    return member && (await content(bytes, view, member));
  } catch (error) {
    if (error instanceof RangeError) throw new Error("it points outside the file");
    throw error;
  }
}

/** Where the archive's last record begins, or -1. */
function findEnd(view) {
  const earliest = Math.max(0, view.byteLength - END_SIZE - LONGEST_COMMENT);
  for (let at = view.byteLength - END_SIZE; at >= earliest; at--) {
    if (view.getUint32(at, true) === END) return at;
  }
  return -1;
}

function findMember(bytes, view, end, name) {
  const count = view.getUint16(end + 10, true);
  const size = view.getUint32(end + 12, true);
  const shift = end - size - view.getUint32(end + 16, true); // of an archive that was put behind something else
  let at = end - size;
  for (let i = 0; i < count; i++) {
    if (view.getUint32(at, true) !== CENTRAL) throw new Error("its directory is damaged");
    const nameSize = view.getUint16(at + 28, true);
    if (decode(bytes.subarray(at + 46, at + 46 + nameSize)) === name) {
      return {
        method: view.getUint16(at + 10, true),
        crc: view.getUint32(at + 16, true),
        packed: view.getUint32(at + 20, true),
        local: view.getUint32(at + 42, true) + shift,
      };
    }
    at += 46 + nameSize + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return null;
}

async function content(bytes, view, { method, crc, packed, local }) {
  if (view.getUint32(local, true) !== LOCAL) throw new Error("its member is not where the directory says");
  const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
  const raw = bytes.subarray(start, start + packed);
  if (raw.length < packed) throw new Error("it is cut off");
  if (method !== STORED && method !== DEFLATED) throw new Error(`packed by method ${method}`);
  const plain = method === STORED ? raw : await inflate(raw);
  if (crc32(plain) !== crc) throw new Error("its checksum is wrong");
  return plain;
}

async function inflate(raw) {
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  try {
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch {
    throw new Error("it cannot be unpacked");
  }
}

function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

function decode(bytes) {
  return new TextDecoder().decode(bytes);
}
