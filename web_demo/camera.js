/** The webcam: pictures one at a time, every error in words. */

import { DemoError } from "./errors.js";

const REASONS = {
  NotAllowedError: "the browser or the system refuses the camera: allow it beside the address, then start again",
  SecurityError: "the browser's settings forbid the camera on this page",
  NotFoundError: "no camera was found: plug one in, then start again",
  OverconstrainedError: "this camera is not there any more: choose another one",
  NotReadableError: "the camera is in use by another program, or does not answer: close that program, then start again",
  AbortError: "the camera does not start: plug it in again, or close other programs that use it",
};

/** What an error of getUserMedia means, in words. */
export function cameraError(error) {
  return new DemoError(`Camera: ${REASONS[error.name] ?? `${error.name}: ${error.message}`}`);
}

export class Camera {
  #stream;
  #video = document.createElement("video");
  #frame = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });

  /**
   * @param {string} [deviceId] which camera; default: the browser's choice.
   * @param {() => void} onEnd called if the camera vanishes.
   * @returns {Promise<Camera>} once the first picture is there.
   * @throws {DemoError} refused, none, in use, or a page that may have none.
   */
  static async start(deviceId, onEnd) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new DemoError("Camera: browsers give it to pages from https:// or http://localhost only");
    }
    const camera = new Camera();
    const device = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: "user" };
    try {
      camera.#stream = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 640 }, height: { ideal: 480 }, ...device },
      });
      camera.#video.srcObject = camera.#stream;
      camera.#video.muted = camera.#video.playsInline = true;
      await camera.#video.play();
    } catch (error) {
      camera.stop();
      throw cameraError(error);
    }
    const [track] = camera.#stream.getVideoTracks();
    track.onended = onEnd;
    camera.deviceId = track.getSettings().deviceId;
    camera.mirrored = track.getSettings().facingMode !== "environment";
    return camera;
  }

  /** The cameras that can be chosen, with names once one was allowed: `{deviceId, label}`. */
  static async list() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter(({ kind }) => kind === "videoinput");
  }

  /**
   * The next picture, as in a mirror unless the camera looks away from the person at the screen.
   *
   * @returns {Promise<{canvas: OffscreenCanvas, pixels: ImageData}>} the canvas is the same each time.
   */
  async next() {
    await new Promise((resolve) =>
      this.#video.requestVideoFrameCallback ? this.#video.requestVideoFrameCallback(resolve) : requestAnimationFrame(resolve),
    );
    const { videoWidth: width, videoHeight: height } = this.#video;
    const { canvas } = this.#frame;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    this.#frame.setTransform(this.mirrored ? -1 : 1, 0, 0, 1, this.mirrored ? width : 0, 0);
    this.#frame.drawImage(this.#video, 0, 0);
    return { canvas, pixels: this.#frame.getImageData(0, 0, width, height) };
  }

  stop() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#video.srcObject = null;
  }
}
