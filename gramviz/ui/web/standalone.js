// A page without a server: the maps of one picture, with all that is needed to point at its patches inside the file.

const root = document.querySelector(".gv-standalone");
const find = (selector) => root.querySelector(selector);
const photo = find(".gv-photo");
const settings = { click: "pin" };
const query = new Query();
const shown = { grid: config.grid };
const table = colourTable(config.table);

const bufferOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer;

function mapOf({ title, branch, note, rank, error, measures, factor }) {
  const map = new PatchMap(title, branch);
  map.resize(config.grid);
  setText(map.step, note);
  map.canvas.setAttribute("aria-label", "Map of " + title + ", " + note);
  map.showMeasures(measures);
  map.take(widenHalfFloats(bufferOf(factor)), rank, error);
  map.node.style.setProperty("--arm", "var(--arm-" + branch + ")");
  return map;
}

const maps = new Map(config.maps.map((entry) => [entry.id, mapOf(entry)]));
const visibleMaps = () => [...maps.values()];

function render() {
  pendingFrame = 0;
  const asking = query.rows(config.grid), spot = patchAt(query.pointer, config.grid);
  for (const map of visibleMaps()) {
    map.compute(asking);
    const [low, high] = config.range ?? extent(map.values);
    map.paint(low, high, table);
    setText(map.range, config.range ? "" : decimal(low) + " to " + decimal(high));
    setText(map.reading, decimal(map.values[spot]));
  }
  const bound = Math.max(...visibleMaps().map((map) => map.bound));
  setText(find(".gv-status"), config.grid.join(" \u00d7 ") + " patches, cosines within \u00b1" + boundText(bound));
  drawMarks(spot);
}

root.style.setProperty("--aspect", config.aspect);
photo.querySelector("img").src = config.photograph;
setText(find(".gv-caption"), config.caption);
setText(find(".gv-settings"), config.settings);
find(".gv-maps").append(...visibleMaps().map((map) => map.node));
showBar(find(".gv-bar"), table, config.ticks);
const [rowsOfPatches, columnsOfPatches] = config.grid;
const count = rowsOfPatches * columnsOfPatches;
const pinned = (sign) => (index) => ({ ...centreOf(index, config.grid), sign });
query.cls = config.query.positive.includes(count);
query.pins = query.cls ? [] : [...config.query.positive.map(pinned(1)), ...config.query.negative.map(pinned(-1))];
query.pointer = query.pins[0] ?? query.pointer;

// For tests and for the curious: what is on screen, as numbers.
root.gramviz = { cosines: (id) => Array.from(maps.get(id).values), render };
