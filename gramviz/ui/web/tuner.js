// The tuner: a fine-tune is planned on the left and watched on the right. Python sends one value after the other; each
// tells what is new, and what came before is kept here: steps by number, the newest look of each arm.

const root = element.querySelector(".gv-tuner");
const find = (selector) => root.querySelector(selector);
const photo = find(".gv-photo"), screens = find(".gv-screens");
const table = colourTable(config.sequential);
const FLOOR = 0, CEILING = 1; // of the one fixed scale
const TICKS = ["\u2264 0", "0.25", "0.5", "0.75", "1"];
const SCREENS = {
  teacher: { label: "Gram teacher", colour: "var(--arm-trunk)" },
  start: { label: "start", colour: "var(--arm-plain)" },
  tuned: { label: "now", colour: "var(--arm-gram)" },
  control: { label: "now, Gram weight 0", colour: "var(--arm-own1)" },
};

let asked = 0; // number of the newest request
let shown = null; // the newest value that belongs to it
let run = null; // what it runs with: number, grid, steps, arms
let maps = new Map(); // name -> PatchMap
let looks = new Map(); // name -> newest look
let series = { rows: new Map(), distance: new Map() }; // arm -> step -> number
let place = { x: 0.5, y: 0.5 }; // under the pointer, as fractions of the picture
let pinned = { x: 0.5, y: 0.5 }; // whose map is watched
let phase = "idle"; // idle, asking, waiting, running, paused, over
let wishing = false; // whether a click is on its way to the server
let kept = []; // the visitor's own checkpoints

// ---- what Python sends -----------------------------------------------------------------------------------------

function update() {
  const value = props.value && JSON.parse(JSON.stringify(props.value));
  if (!value || value.token !== asked) return; // nothing yet, or what is left of an older fine-tune
  shown = value;
  if (value.error) {
    showError(value.error);
    enter("over");
    return showStatus();
  }
  if (value.run && run?.number !== value.run.number) begin(value);
  if (value.frame) take(value.frame);
  enter(phaseOf(value));
  if (value.finished) finish(value.finished);
  showStatus();
  schedule();
}

function phaseOf({ finished, frame, run: begun, position }) {
  if (finished) return "over";
  if (frame?.paused) return "paused";
  if (begun) return "running";
  return position ? "waiting" : "asking";
}

/** A fine-tune has got its place: make room for its maps. */
function begin({ run: begun, picture }) {
  run = begun;
  looks = new Map();
  series = { rows: new Map(), distance: new Map() };
  const names = ["teacher", "start", ...begun.arms];
  maps = new Map(names.map((name) => [name, newMap(name)]));
  screens.replaceChildren(find(".gv-source"), ...[...maps.values()].map((map) => map.node));
  screens.style.setProperty("--count", names.length + 1);
  root.style.setProperty("--aspect", picture.width / picture.height);
  root.classList.remove("gv-empty");
  for (const map of maps.values()) {
    map.resize(begun.grid);
    map.image.src = picture.image.url;
  }
  photo.querySelector("img").src = picture.image.url;
  resetCharts();
  root.scrollIntoView({ block: "nearest" });
}

function newMap(name) {
  const map = new PatchMap(SCREENS[name].label, "");
  map.node.style.setProperty("--arm", SCREENS[name].colour);
  map.canvas.setAttribute("aria-label", "Map of the " + SCREENS[name].label);
  return map;
}

function take({ rows, looks: news }) {
  for (const [arm, step, ...numbers] of rows) of(series.rows, arm).set(step, numbers);
  takeLooks(news);
  if (run && !news.teacher && !looks.has("teacher")) wish("pin", { index: patchAt(pinned, run.grid) }); // it was passed over
}

function takeLooks(news) {
  for (const [name, look] of Object.entries(news)) {
    const map = maps.get(name);
    if (!map) continue;
    looks.set(name, look);
    if (name in SCREENS && run.arms.includes(name)) of(series.distance, name).set(look.step, look.measures.gram_distance);
    const bytes = Uint8Array.from(atob(look.map), (letter) => letter.charCodeAt(0));
    for (let i = 0; i < bytes.length; i++) map.values[i] = bytes[i] / 127.5 - 1;
    map.node.classList.remove("gv-waiting");
    map.showMeasures(look.measures);
    setText(map.step, name === "teacher" ? "what it is anchored to" : "step " + grouped(look.step));
    setText(map.range, name === "teacher" ? "" : "distance " + (look.measures.gram_distance < 1e-6 ? "0" : Number(look.measures.gram_distance.toPrecision(2))));
    map.range.title = "Gram distance: the mean squared difference of the entries of G and of the Gram teacher's";
    map.drawn = look.pinned;
  }
}

/** The map of a Map, made where there is none. */
function of(maps, key) {
  if (!maps.has(key)) maps.set(key, new Map());
  return maps.get(key);
}

function finish({ own, made, sentence }) {
  if (kept !== own) tellOwn(own);
  const told = made.length ? " It is \u201c" + armLabel(own.find(({ id }) => id === made[0]).branch) + "\u201d in every tab." : "";
  setText(find(".gv-live"), sentence + told);
}

function enter(next) {
  if (phase === next) return;
  phase = next;
  const busy = ["asking", "waiting", "running", "paused"].includes(phase);
  find(".gv-pause").disabled = !["running", "paused"].includes(phase);
  find(".gv-stop").disabled = !busy;
  setText(find(".gv-pause"), phase === "paused" ? "resume" : "pause");
  setText(find(".gv-start"), busy ? "Start again with these settings" : "Start the fine-tune");
  if (phase !== "over") setText(find(".gv-live"), { waiting: "Waiting for a place", running: "Running", paused: "Paused" }[phase] ?? "");
}

// ---- in words --------------------------------------------------------------------------------------------------

function showStatus() {
  const progress = find(".gv-progress");
  const frame = shown?.frame;
  progress.value = frame ? frame.step / frame.steps : 0;
  setText(find(".gv-status-text"), [statusWords(frame), ...(shown?.notes ?? [])].join(" "));
}

function statusWords(frame) {
  if (phase === "idle") return "Choose a preset and start: the first change shows within seconds.";
  if (shown?.error) return "It did not run.";
  if (phase === "over") return shown.finished.sentence;
  if (phase === "waiting") return shown.position === 1 ? "Yours is the next to begin." : shown.position - 1 + " fine-tunes are before yours.";
  if (!frame) return "Beginning\u2026";
  const steps = "step " + grouped(frame.step) + " of " + grouped(frame.steps) + ", " + seconds(frame.elapsed);
  if (phase === "paused") return "Paused at " + steps;
  return frame.left === null ? steps : steps + ", about " + seconds(frame.left) + " left";
}

function seconds(value) {
  return value < 90 ? value.toFixed(value < 10 ? 1 : 0) + " s" : Math.round(value / 60) + " min";
}

// ---- drawing ---------------------------------------------------------------------------------------------------

let pendingFrame = 0;

function schedule() {
  if (!pendingFrame) pendingFrame = requestAnimationFrame(render);
}

function render() {
  pendingFrame = 0;
  if (!run) return;
  const spot = patchAt(place, run.grid), index = patchAt(pinned, run.grid);
  for (const [name, map] of maps) {
    if (!looks.has(name)) continue;
    map.paint(FLOOR, CEILING, table);
    map.node.classList.toggle("gv-late", map.drawn !== index);
    setText(map.reading, decimal(map.values[spot]));
  }
  for (const cursor of root.querySelectorAll(".gv-cursor")) frame(cursor, spot, run.grid);
  for (const marks of root.querySelectorAll(".gv-marks")) marks.replaceChildren(...pinMarks([{ ...pinned, sign: 1 }], run.grid));
  setText(find(".gv-query"), "Watched: row " + Math.floor(index / run.grid[1]) + ", column " + (index % run.grid[1]));
  setText(find(".gv-spot"), "pointer: row " + Math.floor(spot / run.grid[1]) + ", column " + (spot % run.grid[1]));
  drawCharts();
}
