/** The page's side of `worker.js`. */

import { DemoError } from "./errors.js";

// (module (func (result v128) i32.const 0 i8x16.splat))
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11];

/** What this browser lacks to run a network, in words; null if nothing. */
export function missing() {
  if (typeof WebAssembly !== "object") return "This browser has no WebAssembly, or has it turned off: take another one.";
  if (!WebAssembly.validate(Uint8Array.from(SIMD))) {
    return "This browser has no SIMD in WebAssembly, which LiteRT.js needs: take a newer one (Chrome 91, Firefox 89, Safari 16.4).";
  }
  return null;
}

/** As many threads as are of use: without cross-origin isolation a page has one. */
export function usableThreads() {
  return globalThis.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency ?? 1) : 1;
}

/** A model that runs in a worker of its own, which takes all its memory with it when closed. */
export class Network {
  #worker = new Worker(new URL("worker.js", import.meta.url));
  #waiting = new Map();
  #count = 0;

  constructor() {
    this.#worker.onmessage = ({ data: { id, result, error, expected } }) => {
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) resolve(result);
      else reject(expected ? new DemoError(error) : new Error(error));
    };
    this.#worker.onerror = () => this.#fail("the network's worker cannot be loaded or has broken down: reload the page");
  }

  /**
   * @param {Uint8Array} bytes of the file, which are given away.
   * @param {string} name
   * @param {{threads?: number, gpu?: boolean}} options see `PoseEstimator.open`.
   * @returns {Promise<Network>} with `metadata`, `device` and `name`.
   * @throws {DemoError}
   */
  static async open(bytes, name, options) {
    const network = new Network();
    try {
      const { metadata, device } = await network.#ask({ action: "open", bytes, name, options }, [bytes.buffer]);
      return Object.assign(network, { metadata, device, name });
    } catch (error) {
      network.close();
      throw error;
    }
  }

  /** `PoseEstimator.find`; the picture's pixels are given away. */
  find({ data, width, height }) {
    return this.#ask({ action: "find", picture: { data, width, height } }, [data.buffer]);
  }

  /** Whoever still waits for an answer gets `Closed`. */
  close() {
    this.#worker.terminate();
    this.#fail("closed", Closed);
  }

  #ask(message, transfer) {
    return new Promise((resolve, reject) => {
      const id = this.#count++;
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, ...message }, transfer);
    });
  }

  #fail(message, Kind = DemoError) {
    this.#waiting.forEach(({ reject }) => reject(new Kind(message)));
    this.#waiting.clear();
  }
}

/** The answer is of no interest any more: the network was closed. */
export class Closed extends Error {}
