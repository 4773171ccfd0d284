// The patch explorer. Python hands it one value: the picture, its grid of patches, the checkpoints to show and, as each
// is ready, the addresses of its binary parts. Everything after that, from pointer to pixel, happens in the browser.

const root = element.querySelector(".gv-explorer");
const find = (selector) => root.querySelector(selector);
const photo = find(".gv-photo"), mapsBox = find(".gv-maps"), form = find(".gv-controls");
const tables = { sequential: colourTable(config.sequential), diverging: colourTable(config.diverging) };
const query = new Query();
const maps = new Map(); // checkpoint id -> PatchMap
const pair = { a: new PatchMap(""), b: new PatchMap(""), difference: new DifferenceMap() };

let shown = null; // the value on screen
let layouts = [];
let settings = readSettings();

// ---- what Python sends -----------------------------------------------------------------------------------------

function update() {
  const value = props.value && JSON.parse(JSON.stringify(props.value));
  if (!value || (shown && value.token < shown.token)) return; // nothing yet, or an answer to an older request
  showError(value.error);
  document.dispatchEvent(new CustomEvent("gv-answer", { detail: { token: value.token, met: !value.error } }));
  if (value.error) {
    if (shown) Object.assign(shown, { token: value.token, total: shown.done });
    return showStatus();
  }
  const first = !shown;
  const samePicture = shown && shown.key === value.key;
  const sameCheckpoints = shown && idsOf(shown) === idsOf(value);
  shown = value;
  if (!samePicture) showPicture();
  if (!sameCheckpoints) arrange();
  for (const { id } of value.checkpoints) if (value.views[id]) load(maps.get(id), value.views[id]);
  if (first) askAddressed();
  showStatus();
  schedule();
}

const idsOf = (value) => JSON.stringify(value.checkpoints.map((checkpoint) => checkpoint.id));

/** Bring a map up to date with what the server has ready for it. */
async function load(map, view) {
  const key = shown.key;
  const fresh = map.source !== view.factor.url;
  if (fresh) {
    map.source = view.factor.url;
    map.showMeasures(view.measures);
  }
  try {
    if (fresh) {
      const [rows, own] = await Promise.all([download(view.factor, widenHalfFloats), download(view.colours, asBytes)]);
      if (map.source !== view.factor.url || shown.key !== key) return;
      map.take(rows, view.rank, view.error);
      map.colours.own = own;
    }
    if (view.common) {
      const common = await download(view.common, asBytes);
      if (shown.key !== key) return;
      map.colours.common = common;
    }
  } catch {
    if (map.source === view.factor.url) map.source = null;
    showError("A map could not be loaded; please try again.");
  }
  fillPair();
  schedule();
}

// ---- what is on the page ---------------------------------------------------------------------------------------

function showPicture() {
  showPhotograph(shown.picture);
  for (const map of [...maps.values(), ...Object.values(pair)]) prepare(map);
}

function prepare(map) {
  map.resize(shown.grid);
  map.image.src = shown.picture.image.url;
}

/** Lay the checkpoints out as a fork, a section for each run; maps that stay keep what they hold. */
function arrange() {
  const wanted = new Set(shown.checkpoints.map((checkpoint) => checkpoint.id));
  for (const id of maps.keys()) if (!wanted.has(id)) maps.delete(id);
  for (const checkpoint of shown.checkpoints) if (!maps.has(checkpoint.id)) maps.set(checkpoint.id, newMap(checkpoint));
  layouts = forkLayout(shown.checkpoints, Object.keys(config.arms));
  const sections = layouts.map((layout) => {
    const grid = forkGrid(layout, (item) => maps.get(item.id).node);
    const heading = layouts.length > 1 ? [make("h3", "gv-run", layout.run)] : [];
    return make("section", "gv-tree", ...heading, grid);
  });
  const pairCells = Object.values(pair).map((map, index) => ({ item: map, row: 1, span: 1, column: index + 1 }));
  const pairGrid = forkGrid({ rows: 1, columns: 3, cells: pairCells, links: [] }, (map) => map.node);
  mapsBox.replaceChildren(...sections, make("section", "gv-pair", pairGrid));
  drawnPins = "";
  linkWatch.disconnect();
  for (const cell of mapsBox.querySelectorAll(".gv-cell")) linkWatch.observe(cell);
  offerCheckpoints();
  applySettings();
}

function newMap(checkpoint) {
  const map = new PatchMap(headingOf(checkpoint), checkpoint.branch);
  map.checkpoint = checkpoint;
  map.step.textContent = stepText(checkpoint);
  map.canvas.setAttribute("aria-label", "Map of " + checkpointName(checkpoint, false));
  prepare(map);
  return map;
}

function showStatus() {
  if (!shown) return;
  const { done, total, grid } = shown;
  const progress = find(".gv-progress");
  progress.hidden = done >= total;
  progress.value = total ? done / total : 0;
  const bounds = visibleMaps().map((map) => map.bound ?? 0);
  const parts = [grid[0] + " \u00d7 " + grid[1] + " patches"];
  if (done < total) parts.push(done + " of " + total + " checkpoints");
  if (done < total && shown.position > 0) parts.push(shown.position + (shown.position === 1 ? " computation" : " computations") + " before yours");
  if (done >= total && bounds.length) parts.push("cosines within \u00b1" + boundText(Math.max(...bounds)));
  setText(find(".gv-status-text"), parts.join(", "));
}
