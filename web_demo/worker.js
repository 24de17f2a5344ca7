// A `PoseEstimator` in a worker, so that the page stays alive while it computes; `network.js` talks to it. A classic
// worker, because LiteRT.js loads its WebAssembly by importScripts, which module workers lack.
"use strict";

let estimator;

const actions = {
  async open({ bytes, name, options }) {
    const { PoseEstimator } = await import("./estimator.js");
    estimator = await PoseEstimator.open(bytes, name, options);
    return { metadata: estimator.metadata, device: estimator.device };
  },
  find: ({ picture }) => estimator.find(picture),
};

self.onmessage = async ({ data: { id, action, ...values } }) => {
  try {
    self.postMessage({ id, result: await actions[action](values) });
  } catch (error) {
    self.postMessage({ id, error: error.message, expected: error.name === "DemoError" });
  }
};
