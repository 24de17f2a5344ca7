/** Pictures in, people out: a .tflite file of `ehrnet export --graph poses`, run by LiteRT.js. */

import { DemoError } from "./errors.js";
import { PictureFitter } from "./letterbox.js";
import { readMetadata } from "./metadata.js";
import { findPeople } from "./poses.js";

const WASM = new URL("vendor/wasm/", import.meta.url).href;
const GPU_PRECISION = "float32"; // WebGPU takes no integers, and of float16 files LiteRT.js 2.5.3 makes maps without people

/**
 * One a page or worker at a time, since LiteRT.js is one. On a page of its own it blocks the page while it computes;
 * `worker.js` runs it elsewhere.
 *
 * @property {import("./metadata.js").Metadata} metadata
 * @property {string} device what the network runs on, in words.
 */
export class PoseEstimator {
  #litert;
  #model;
  #fitter;

  /**
   * @param {Uint8Array} bytes of the model file.
   * @param {string} name what messages call it.
   * @param {{threads?: number, gpu?: boolean}} options threads: more than 1 needs a page that is cross-origin isolated;
   *   gpu: whether WebGPU may be used, which takes a float32 model, a browser with WebGPU and JSPI, and one thread.
   * @throws {DemoError} the file or the browser will not do, or LiteRT.js cannot be had.
   */
  static async open(bytes, name, { threads = 1, gpu = false } = {}) {
    const estimator = new PoseEstimator();
    estimator.name = name;
    estimator.metadata = await readMetadata(bytes, name);
    const onGpu = gpu && estimator.metadata.json.precision === GPU_PRECISION && (await hasGpu());
    const litert = (estimator.#litert = await loadLiteRt(onGpu ? 1 : threads, onGpu));
    const compile = (options) => litert.loadAndCompile(bytes, { cpuOptions: { numThreads: threads }, ...options });
    try {
      if (onGpu) {
        estimator.#model = await compile({ accelerator: "webgpu", gpuOptions: { precision: "fp32" } });
        const share = estimator.#model.isFullyAccelerated ? "" : ", what it cannot do in WebAssembly";
        estimator.device = `GPU (WebGPU)${share}`;
      } else {
        estimator.#model = await compile({ accelerator: "wasm" });
        estimator.device = `CPU (WebAssembly), ${threads} ${threads === 1 ? "thread" : "threads"}`;
      }
    } catch (error) {
      throw new DemoError(`${name}: LiteRT.js cannot run it (${oneLine(error)}); copy the file again, or export it anew`);
    }
    return estimator;
  }

  /**
   * @param {{data: Uint8ClampedArray, width: number, height: number}} picture an ImageData.
   * @returns {Promise<{people: import("./poses.js").Person[], fit: number, network: number}>} the people of any score,
   *   in pixels of the picture, and milliseconds of the two stages; the decoder is part of the network.
   * @throws {DemoError} the network fails, or gives NaN.
   */
  async find({ data, width, height }) {
    const started = performance.now();
    const { width: inputWidth, height: inputHeight } = this.metadata;
    if (this.#fitter?.imageWidth !== width || this.#fitter?.imageHeight !== height) {
      this.#fitter = new PictureFitter(width, height, inputWidth, inputHeight);
    }
    const input = this.#fitter.fit(data);
    const fitted = performance.now();
    try {
      const { keypoints, scores } = await this.#run(input, [1, inputHeight, inputWidth, 3]);
      const people = findPeople(keypoints, scores, this.#fitter.box);
      return { people, fit: fitted - started, network: performance.now() - fitted };
    } catch (error) {
      throw new DemoError(`${this.name}: ${oneLine(error)}`);
    }
  }

  /** LiteRT.js's tensors lie in memory that must be given back by hand. */
  async #run(input, shape) {
    const image = new this.#litert.Tensor(input, shape);
    let outputs = {};
    try {
      outputs = await this.#model.run({ image });
      const values = await Promise.all(Object.entries(outputs).map(async ([name, t]) => [name, await t.data()]));
      return Object.fromEntries(values);
    } finally {
      image.delete();
      Object.values(outputs).forEach((tensor) => tensor.delete());
    }
  }

  close() {
    this.#model.delete();
  }
}

/** Whether there is a GPU and what LiteRT.js needs to leave some operators to the CPU. */
async function hasGpu() {
  return "Suspending" in WebAssembly && Boolean(await navigator.gpu?.requestAdapter().catch(() => null));
}

let loaded;

async function loadLiteRt(threads, jspi) {
  loaded ??= startLiteRt(threads, jspi);
  return loaded;
}

async function startLiteRt(threads, jspi) {
  const litert = await import("./vendor/litert.js").catch(() => {
    throw new DemoError("LiteRT.js is missing (vendor/): run make web-demo, or npm ci && npm run vendor in web_demo");
  });
  // In a worker LiteRT.js would look for its files next to the worker's.
  globalThis.Module = {
    locateFile: (file) => WASM + file,
    mainScriptUrlOrBlob: `${WASM}litert_wasm_threaded_internal.js`, // for threads
    print: () => {},
    printErr: (line) => /^(INFO|WARNING|I\d)/.test(line) || console.warn(line),
  };
  try {
    await litert.loadLiteRt(WASM, { threads: threads > 1, jspi });
  } catch (error) {
    throw new DemoError(`LiteRT.js does not start (${oneLine(error)}): reload the page, or try another browser`);
  }
  return litert;
}

function oneLine(error) {
  return String(error?.message ?? error).split("\n")[0].slice(0, 200);
}
