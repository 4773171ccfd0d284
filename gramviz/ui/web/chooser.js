// The chooser: which picture, which checkpoints, how many patches, which layer. Each change sends one request to the server.

const root = element.querySelector(".gv-chooser");
const find = (selector) => root.querySelector(selector);
const form = find(".gv-choices"), picker = find(".gv-file"), dialog = find(".gv-dialog");
const SETTLE = 250; // milliseconds to wait for a further choice before asking the server

let request = { token: 0, ...config.preset }; // { token, sample | file, patches, layer, ids }
let accepted = pictureOf(request); // the last picture that the server could use
let checkpoints = config.checkpoints; // and the visitor's own, once there are some
let layouts = [];
let timer = 0;
let heard = false; // whether the server has answered anything yet
let lastSample = config.preset.sample; // what a link shows where the picture is the visitor's own

/** Ask for the request as it now stands: an older one is stopped first, then the new one starts. */
function send(delay) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    timer = 0;
    if (heard) trigger("stop"); // what the page asks as it opens cannot be stopped before
    ask();
  }, delay);
}

function ask() {
  request = { ...request, token: request.token + 1 };
  rememberRequest();
  props.value = request;
  trigger("input");
  document.dispatchEvent(new CustomEvent("gv-request"));
}

const say = (sentence) => setText(find(".gv-message"), sentence);

// ---- pictures --------------------------------------------------------------------------------------------------

function pictureOf({ sample, file }) {
  return { sample: sample ?? null, file: file ?? null };
}

function choosePicture(picture) {
  showChoice(picture);
  send(0);
}

function showChoice(picture) {
  request = { ...request, ...pictureOf(picture) };
  for (const button of find(".gv-samples").children) button.setAttribute("aria-pressed", button.dataset.id === request.sample);
}

// the explorer tells what came of a request: one that failed falls back to the last picture that could be used
document.addEventListener("gv-answer", ({ detail }) => {
  heard = true;
  if (detail.token !== request.token) return;
  if (detail.met) accepted = pictureOf(request);
  else {
    showChoice(accepted);
    props.value = request; // what another tab will ask for
    rememberRequest();
  }
});

async function takeFile(file) {
  if (!file) return;
  const most = Math.floor(config.maxBytes / 2 ** 20);
  if (file.size > config.maxBytes) return say("This file is larger than " + most + " MB; please choose a smaller one.");
  say("Uploading\u2026");
  try {
    const { path, url } = await upload(file);
    say("");
    choosePicture({ file: { path, url, meta: { _type: "gradio.FileData" } } });
  } catch {
    say("The file could not be uploaded; please try again.");
  }
}

function sampleButton(sample) {
  const image = make("img");
  Object.assign(image, { src: sample.thumbnail, alt: sample.title, width: 56, height: 56, draggable: false });
  const button = make("button", "gv-sample", image);
  button.type = "button";
  button.title = sample.title;
  button.dataset.id = sample.id;
  button.setAttribute("aria-pressed", sample.id === request.sample);
  button.addEventListener("click", () => {
    say("");
    choosePicture({ sample: sample.id });
  });
  return button;
}

const imageIn = (items) => Array.from(items ?? []).find((file) => file.type.startsWith("image/")) ?? items?.[0];

picker.addEventListener("change", () => {
  takeFile(picker.files[0]);
  picker.value = ""; // so that the same file can be chosen again
});
find(".gv-open").addEventListener("click", () => picker.click());
document.addEventListener("paste", (event) => {
  const file = imageIn(event.clipboardData?.files);
  if (file && root.isConnected) takeFile(file);
});
document.addEventListener("dragover", (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault();
  root.classList.add("gv-dropping");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) root.classList.remove("gv-dropping");
});
document.addEventListener("drop", (event) => {
  root.classList.remove("gv-dropping");
  if (!event.dataTransfer?.files.length || !root.isConnected) return;
  event.preventDefault();
  takeFile(imageIn(event.dataTransfer.files));
});

// ---- camera ----------------------------------------------------------------------------------------------------

const video = find("video");

async function openCamera() {
  say("");
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
    dialog.showModal();
  } catch {
    say("The camera could not be opened; it may be missing or not allowed.");
  }
}

function takePicture() {
  const canvas = make("canvas");
  Object.assign(canvas, { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => blob && takeFile(new File([blob], "camera.png", { type: "image/png" })), "image/png");
  dialog.close();
}

function closeCamera() {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
}

find(".gv-camera").hidden = !navigator.mediaDevices?.getUserMedia;
find(".gv-camera").addEventListener("click", openCamera);
find(".gv-shoot").addEventListener("click", takePicture);
find(".gv-cancel").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", closeCamera);

// ---- checkpoints and patches -----------------------------------------------------------------------------------

function checkpointBox(checkpoint, severalRuns) {
  const box = make("input");
  Object.assign(box, { type: "checkbox", name: "ids", value: checkpoint.id, checked: request.ids.includes(checkpoint.id) });
  box.setAttribute("aria-label", checkpointName(checkpoint, severalRuns));
  const cell = make("label", "gv-cell", box, make("span", "gv-step", isModel(checkpoint) ? "" : grouped(checkpoint.step)));
  cell.style.setProperty("--arm", "var(--arm-" + checkpoint.branch + ")");
  return cell;
}

function showCheckpoints() {
  layouts = forkLayout(checkpoints, Object.keys(config.arms));
  const sections = layouts.map((layout) => {
    layout.nodes = new Map(layout.cells.map(({ item }) => [item.id, checkpointBox(item, layouts.length > 1)]));
    const column = layout.columns + 1;
    const names = layout.branches.map((branch, index) => ({ item: { name: branch }, row: index + 1, span: 1, column }));
    const nodeOf = (item) => (item.name ? branchName(item.name) : layout.nodes.get(item.id));
    const grid = forkGrid({ ...layout, columns: column, cells: [...layout.cells, ...names] }, nodeOf);
    layout.svg = grid.querySelector("svg");
    const heading = layouts.length > 1 ? [make("h3", "gv-run", layout.run)] : [];
    return make("section", "gv-tree", ...heading, grid, make("p", "gv-about", layout.cells[0].item.title));
  });
  find(".gv-forks").replaceChildren(...sections);
}

/** The visitor's own checkpoints have changed: new ones are chosen at once, those that are gone no more. */
document.addEventListener("gv-own", ({ detail }) => {
  const known = new Set(checkpoints.map(({ id }) => id));
  checkpoints = [...config.checkpoints, ...detail.own];
  const there = new Set(checkpoints.map(({ id }) => id));
  const fresh = detail.own.filter(({ id }) => !known.has(id)).map(({ id }) => id);
  const ids = [...request.ids.filter((id) => there.has(id)), ...fresh];
  request = { ...request, ids: ids.length ? ids : [...config.preset.ids] };
  showCheckpoints();
  showCount();
  redrawLinks();
  send(SETTLE);
});

function branchName(branch) {
  const name = make("span", "gv-branch", armLabel(branch));
  name.style.setProperty("--arm", "var(--arm-" + branch + ")");
  return name;
}

function showPatches() {
  const labels = config.patches.map((count) => {
    const radio = make("input");
    Object.assign(radio, { type: "radio", name: "patches", value: count, checked: count === request.patches });
    return make("label", "", radio, make("span", "", String(count)));
  });
  find(".gv-patches .gv-segments").replaceChildren(...labels);
}

/** Layers by number from the first; their values count from the last, which every network has. */
function showLayers() {
  const options = Array.from({ length: config.layers }, (_, index) => {
    const value = index - config.layers;
    return new Option(value === -1 ? index + 1 + " (last)" : index + 1, value, false, value === request.layer);
  });
  form.elements.layer.replaceChildren(...options);
  find(".gv-layer").hidden = options.length < 2;
}

function showCount() {
  setText(find(".gv-count"), request.ids.length + " of " + checkpoints.length);
}

function showRequest() {
  showChoice(pictureOf(request));
  showCheckpoints();
  showPatches();
  showLayers();
  showCount();
  redrawLinks();
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", () => {
  const data = new FormData(form);
  request = { ...request, ids: data.getAll("ids"), patches: Number(data.get("patches")), layer: Number(data.get("layer")) };
  showCount();
  send(SETTLE);
});

function redrawLinks() {
  for (const { svg, links, nodes } of layouts) drawLinks(svg, links, (item) => nodes.get(item.id).querySelector("input"), 3);
}
