// The spectra: eigenvectors and Gram matrices of some checkpoints. Python sends numbers and addresses; which eigenvector,
// which order, which two patches is then settled in the browser.

const root = element.querySelector(".gv-spectral");
const find = (selector) => root.querySelector(selector);
const photo = find(".gv-photo"), mapsBox = find(".gv-maps"), form = find(".gv-controls");
const tables = { sequential: colourTable(config.sequential), diverging: colourTable(config.diverging) };
const maps = new Map(); // checkpoint id -> SpectralMap

let shown = null; // the value on screen
let layouts = [];
let hilbert = null; // the patches along a Hilbert curve
let place = { x: 0.5, y: 0.5 }; // the pointer, as fractions of the picture
let asked = 0; // number of the newest request
let stale = true; // whether picture, patches, layer or checkpoints changed since
let failed = false; // whether something of the newest request did not come
let wasOpen = false;
let roomFor = 0; // figures side by side, at the newest request
let pendingFrame = 0;

/** Draw soon, at most once a frame. */
function schedule() {
  if (!pendingFrame) pendingFrame = requestAnimationFrame(render);
}

// ---- asking ----------------------------------------------------------------------------------------------------

const isOpen = () => root.clientWidth > 0;
const columns = () => (root.clientWidth >= 1200 ? 4 : root.clientWidth >= 640 ? 2 : 1);

/**
 * Whenever the tab opens, the choice changes or the page changes its width: ask for what is not there yet, and for
 * nothing while the tab is closed. What failed is asked for again only when the tab is opened again or on request.
 */
function wake() {
  const opened = isOpen() && !wasOpen;
  wasOpen = isOpen();
  if (!wasOpen || !(stale || columns() !== roomFor || (failed && opened)) || !mayAsk()) return;
  stale = false;
  roomFor = columns();
  showFailure(null);
  asked += 1;
  trigger("stop");
  trigger("input", { token: asked, columns: roomFor });
}

// ---- what Python sends -----------------------------------------------------------------------------------------

function update() {
  const value = props.value && JSON.parse(JSON.stringify(props.value));
  // nothing yet, an answer to an older request, or the rest of one of which something was lost
  if (!value || value.token !== asked || failed) return;
  if (value.error) {
    showFailure(value.error);
    return showStatus();
  }
  const samePicture = shown?.key === value.key;
  const sameCheckpoints = shown && idsOf(shown) === idsOf(value);
  shown = value;
  if (!samePicture) showPicture();
  if (!sameCheckpoints) arrange();
  for (const { id } of value.checkpoints) if (value.views[id]) load(maps.get(id), value.views[id]);
  find(".gv-notes").replaceChildren(...value.notes.map((note) => make("p", "", note)));
  if (!sameCheckpoints) offerNumbers();
  drawMatrix();
  showStatus();
}

const idsOf = (value) => JSON.stringify(value.checkpoints.map((checkpoint) => checkpoint.id));

/** Bring a map up to date with what the server has ready for it. */
async function load(map, view) {
  const source = view.problem ?? view.file.url, key = shown.key;
  if (map.source === source) return;
  map.source = source;
  map.showProblem(view.problem);
  try {
    if (!view.problem) {
      const [rows, data] = await Promise.all([
        download(view.factor, widenHalfFloats),
        download(view.file, (buffer) => unpack(buffer, view.parts)),
      ]);
      if (map.source !== source || shown.key !== key) return;
      map.data = data;
      map.take(rows, view.rank, view.error);
    }
  } catch {
    if (map.source !== source) return;
    map.source = null;
    showFailure("A map could not be loaded; please try again.");
  }
  offerNumbers();
  settleNumbers();
  showStatus();
  schedule();
  drawMatrix();
}

/** The arrays of a packed file, each with its shape: name -> { values, shape }; half floats are widened. */
function unpack(buffer, parts) {
  const kinds = { float32: Float32Array, float64: Float64Array, uint8: Uint8Array, uint16: Uint16Array };
  return Object.fromEntries(Object.entries(parts).map(([name, [kind, offset, ...shape]]) => {
    const count = shape.reduce((product, size) => product * size, 1);
    const values = kind === "float16" ? widenHalfFloats(buffer.slice(offset, offset + 2 * count)) : new kinds[kind](buffer, offset, count);
    return [name, { values, shape }];
  }));
}

// ---- what is on the page ---------------------------------------------------------------------------------------

function showPicture() {
  showPhotograph(shown.picture);
  for (const image of root.querySelectorAll(".gv-side .gv-image")) image.src = shown.picture.image.url;
  for (const map of maps.values()) prepare(map);
  hilbert = null;
  forgetPair();
  const key = shown.key;
  download(shown.hilbert, (buffer) => new Uint16Array(buffer)).then((order) => {
    if (shown.key !== key) return;
    hilbert = order;
    drawMatrix();
  }, () => showFailure("The order of the patches could not be loaded; please try again."));
}

function prepare(map) {
  map.resize(shown.grid);
  map.image.src = shown.picture.image.url;
}

/** Lay the checkpoints out as a fork, a section for each run; maps that stay keep what they hold. */
function arrange() {
  const wanted = new Set(shown.checkpoints.map((checkpoint) => checkpoint.id));
  for (const id of maps.keys()) if (!wanted.has(id)) maps.delete(id);
  for (const checkpoint of shown.checkpoints) {
    if (maps.has(checkpoint.id)) continue;
    maps.set(checkpoint.id, new SpectralMap(checkpoint));
    prepare(maps.get(checkpoint.id));
  }
  layouts = forkLayout(shown.checkpoints, Object.keys(config.arms));
  mapsBox.replaceChildren(...layouts.map((layout) => {
    const heading = layouts.length > 1 ? [make("h3", "gv-run", layout.run)] : [];
    return make("section", "gv-tree", ...heading, forkGrid(layout, (item) => maps.get(item.id).node));
  }));
  linkWatch.disconnect();
  for (const cell of mapsBox.querySelectorAll(".gv-cell")) linkWatch.observe(cell);
  offerPair();
}

const withData = () => [...maps.values()].filter((map) => map.data);

const isComplete = () => Boolean(shown) && shown.done === shown.total && [...maps.values()].every((map) => map.data || map.problem);

function showStatus() {
  const progress = find(".gv-progress");
  progress.hidden = !shown || isComplete() || failed;
  if (!shown) return setText(find(".gv-status-text"), failed ? "" : "Computing the spectra\u2026");
  const { done, total, grid } = shown;
  progress.value = total ? done / total : 0;
  const size = grid[0] + " \u00d7 " + grid[1] + " patches";
  setText(find(".gv-status-text"), done < total ? size + ", " + done + " of " + total + " checkpoints" : size);
}
