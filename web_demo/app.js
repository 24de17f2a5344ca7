/** The page: what its controls do. */

import { Camera } from "./camera.js";
import { DemoError } from "./errors.js";
import { provenance } from "./metadata.js";
import { fetchBytes, fetchModels } from "./models.js";
import { Closed, missing, Network, usableThreads } from "./network.js";
import { readPicture } from "./pictures.js";
import { MIN_SCORE, toDict } from "./poses.js";
import { save, View } from "./view.js";

const SAMPLE = "samples/people.jpg";
const SMOOTHING = 0.1; // weight of the newest picture in the pictures a second

const page = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));
const view = new View(page.view);
const threads = Number(new URLSearchParams(location.search).get("threads")) || usableThreads();

let opening = null; // the latest promise of a network, or null
let openModel = null; // opens the model again that was chosen last
let shown = null; // {canvas, name, people, set, milliseconds}: the picture on the page
let camera = null;
let turn = 0; // counts what was asked for: answers to earlier questions are dropped

// ---------------------------------------------------------------------------------------------------- messages

function say(text) {
  page.status.textContent = text;
}

function fail(error) {
  if (error instanceof Closed) return;
  if (!(error instanceof DemoError)) console.error(error);
  page.error.textContent = error instanceof DemoError ? error.message : `Something is wrong with this page: ${error.message}`;
  page.error.hidden = false;
}

/** A handler that shows what goes wrong; what went wrong before is forgotten. */
function handling(action) {
  return async (...values) => {
    page.error.hidden = true;
    try {
      await action(...values);
    } catch (error) {
      fail(error);
    }
  };
}

// ---------------------------------------------------------------------------------------------------- models

/** Opens a model in place of the one that runs, and looks at the picture with it. */
async function useModel(name, getBytes) {
  openModel = () => useModel(name, getBytes);
  const former = opening;
  const now = (opening = openNetwork(name, getBytes));
  former?.then((network) => network.close(), () => {});
  for (const figure of ["description", "provenance", "device", "fit", "network", "draw", "fps"]) page[figure].textContent = "–";
  say(`Opening ${name}…`);
  let network;
  try {
    network = await now;
  } catch (error) {
    if (opening !== now) return; // another model was chosen in the meantime
    opening = null;
    say("No model runs: choose another one.");
    throw error;
  }
  if (opening !== now) return;
  const { metadata, device } = network;
  const { variant, precision } = metadata.json;
  page.description.textContent =
    `${variant ?? name}, ${precision ?? "precision unknown"}, ${metadata.width} × ${metadata.height}, ` +
    `${metadata.keypoints.names.length} keypoints (${metadata.keypoints.name})`;
  page.provenance.textContent = provenance(metadata.json) || "the file does not say";
  page.device.textContent = device;
  say(`${name} is ready.`);
  if (shown && !camera) await look();
}

async function openNetwork(name, getBytes) {
  const lacking = missing();
  if (lacking) throw new DemoError(lacking);
  return Network.open(await getBytes(), name, { threads, gpu: page.gpu.checked });
}

function useListed() {
  const { value: file, selectedOptions } = page.models;
  const remedy = "put it there, or run make web-demo";
  return file ? useModel(selectedOptions[0].text, () => fetchBytes(file, remedy)) : undefined;
}

/** A model of the person's own disk becomes the last entry of the list, which cannot be fetched. */
async function useFile(file) {
  page.models.querySelector("option[value='']")?.remove();
  page.models.add(new Option(file.name, ""));
  page.models.value = "";
  await useModel(file.name, async () => new Uint8Array(await file.arrayBuffer()));
}

async function listModels() {
  const list = await fetchModels();
  for (const { name, file } of list) page.models.add(new Option(name, file));
  await useListed();
}

// ---------------------------------------------------------------------------------------------------- pictures

async function usePicture(file, name) {
  const mine = ++turn;
  stopCamera();
  const { canvas } = await readPicture(file, name);
  if (mine !== turn) return;
  shown = { canvas, name, people: null };
  await look();
}

/** Finds the people in the picture on the page. */
async function look() {
  const mine = ++turn;
  const picture = shown;
  picture.people = null;
  render();
  if (!opening) return say("No model runs: choose one.");
  const network = await opening.catch(() => null); // useModel says what is wrong with it
  if (!network || mine !== turn) return;
  say(`Looking at ${picture.name}…`);
  const { canvas } = picture;
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const found = await network.find(pixels);
  if (mine === turn) present(picture, found, network);
}

function present(picture, { people, fit, network: time }, network) {
  shown = Object.assign(picture, { people, set: network.metadata.keypoints });
  page.fit.textContent = milliseconds(fit);
  page.network.textContent = milliseconds(time);
  const started = performance.now();
  render();
  page.draw.textContent = milliseconds(performance.now() - started);
}

function goodPeople() {
  return (shown?.people ?? []).filter(({ score }) => score >= Number(page.least.value));
}

/** Draws the picture, and says how many people there are. */
function render() {
  page["least-output"].textContent = Number(page.least.value).toFixed(2);
  if (!shown) return;
  const people = goodPeople();
  view.show(shown.canvas, people, shown.set);
  const known = shown.people !== null;
  const count = people.length === 1 ? "1 person" : `${people.length} people`;
  page.people.textContent = known ? people.length : "–";
  page.view.setAttribute("aria-label", known ? `${shown.name} with ${count}` : shown.name);
  if (known && !camera) say(`${count} in ${shown.name}.`);
  page["save-drawing"].disabled = page["save-poses"].disabled = !known;
}

function milliseconds(time) {
  return `${time.toFixed(1)} ms`;
}

// ---------------------------------------------------------------------------------------------------- camera

async function startCamera(deviceId) {
  const mine = ++turn;
  stopCamera();
  say("Waiting for the camera…");
  let started;
  try {
    started = await Camera.start(deviceId, handling(() => {
      stopCamera();
      throw new DemoError("Camera: it is gone; plug it in again, then start again");
    }));
  } catch (error) {
    say("");
    throw error;
  }
  if (mine !== turn) return started.stop();
  camera = started;
  page.start.textContent = "Stop camera";
  await offerCameras();
  say("The camera runs.");
  await watch(started);
}

/** Looks at the camera's pictures, one after the other, until it is stopped. */
async function watch(running) {
  let last = null;
  let rate = null;
  while (camera === running) {
    const network = await opening?.catch(() => null);
    const { canvas, pixels } = await running.next();
    if (camera !== running) return;
    if (!network) {
      shown = { canvas, name: "camera", people: null };
      render();
      continue;
    }
    let found;
    try {
      found = await network.find(pixels);
    } catch (error) {
      if (error instanceof Closed) continue; // another model
      stopCamera();
      throw error;
    }
    if (camera !== running) return;
    present({ canvas, name: "camera" }, found, network);
    const now = performance.now();
    if (last !== null) {
      const current = 1000 / (now - last);
      rate = rate === null ? current : rate + SMOOTHING * (current - rate);
      page.fps.textContent = rate.toFixed(1);
    }
    last = now;
  }
}

function stopCamera() {
  if (!camera) return;
  camera.stop();
  camera = null;
  page.start.textContent = "Start camera";
  page["cameras-label"].hidden = true;
  page.fps.textContent = "–";
  say("The camera is off.");
}

async function offerCameras() {
  const cameras = await Camera.list();
  page.cameras.replaceChildren(...cameras.map(({ deviceId, label }, i) => new Option(label || `camera ${i + 1}`, deviceId)));
  page.cameras.value = camera?.deviceId ?? "";
  page["cameras-label"].hidden = cameras.length < 2;
}

// ---------------------------------------------------------------------------------------------------- files

async function useFiles(files) {
  const [file] = files;
  if (!file) throw new DemoError("Nothing to open there: drop or paste a picture, or drop a .tflite file");
  await (/\.tflite$/i.test(file.name) ? useFile(file) : usePicture(file, file.name));
}

async function useSample() {
  const bytes = await fetchBytes(SAMPLE, "reload the page");
  await usePicture(new Blob([bytes]), SAMPLE.split("/").at(-1));
}

/** The name of a file to save, without the picture's own ending. */
function saveName(ending) {
  return `${shown.name.replace(/\.\w+$/, "")}_poses.${ending}`;
}

function savePoses() {
  const { canvas, set } = shown;
  const poses = toDict(goodPeople(), set, canvas.height, canvas.width);
  save(new Blob([JSON.stringify(poses, null, 1)], { type: "application/json" }), saveName("json"));
}

// ---------------------------------------------------------------------------------------------------- the page

function listen() {
  const chosen = handling(async (event) => {
    const files = [...event.target.files];
    event.target.value = ""; // the same file may be chosen again
    if (files.length > 0) await useFiles(files);
  });
  page.picture.addEventListener("change", chosen);
  page.model.addEventListener("change", handling(async ({ target }) => {
    const [file] = target.files;
    target.value = "";
    if (file) await useFile(file);
  }));
  page.models.addEventListener("change", handling(useListed));
  page.gpu.addEventListener("change", handling(() => openModel?.()));
  page.sample.addEventListener("click", handling(useSample));
  page.start.addEventListener("click", handling(() => (camera ? stopCamera() : startCamera())));
  page.cameras.addEventListener("change", handling(() => startCamera(page.cameras.value)));
  page.least.addEventListener("input", handling(render));
  page["save-drawing"].addEventListener("click", handling(() => view.save(saveName("png"))));
  page["save-poses"].addEventListener("click", handling(savePoses));

  document.addEventListener("paste", handling(({ clipboardData }) => useFiles(clipboardData.files)));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  document.addEventListener("drop", handling(async (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    await useFiles(event.dataTransfer.files);
  }));
}

page.least.value = MIN_SCORE;
render();
listen();
say("");
await handling(listModels)();
