// The player: one picture, every checkpoint of a run. Python sends all factors once; from then on the maps move along
// training without asking the server for anything.

const root = element.querySelector(".gv-player");
const find = (selector) => root.querySelector(selector);
const photo = find(".gv-photo"), screens = find(".gv-screens");
const table = colourTable(config.sequential);
const query = new Query();
const settings = { click: "pin" };
const FLOOR = 0, CEILING = 1; // of the one fixed scale
const FIGURE = "The marked patch at every saved step, with and without Gram, as one picture";
const TICKS = ["\u2264 0", "0.25", "0.5", "0.75", "1"];

let shown = null; // the value on screen
let tracks = new Map(); // branch -> Track
let run = runOf(addressed());
let asked = 0; // number of the newest request
let stale = true; // whether the picture changed since
let failed = false; // whether something of the newest request did not come
let wasOpen = false;
let drawn = ""; // run and number of columns for which there are curves

// ---- asking ----------------------------------------------------------------------------------------------------

function runOf(from) {
  return config.runs.find((name) => name === from.get("run")) ?? config.runs[0];
}

const isOpen = () => root.clientWidth > 0;

/** How many plots stand side by side. */
function columns() {
  const width = root.clientWidth;
  return 1 + [640, 1100, 1600].filter((least) => width >= least).length;
}

/**
 * Whenever the tab opens or the picture changes: ask for what is not there yet, and for nothing while it is closed. What
 * failed is asked for again only when the tab is opened again or the visitor says so, lest a busy server be asked on.
 */
function wake() {
  const opened = isOpen() && !wasOpen;
  wasOpen = isOpen();
  if (!wasOpen) return;
  if ((stale || (failed && opened)) && mayAsk()) {
    stale = false;
    showFailure(null);
    asked += 1;
    trigger("stop");
    trigger("input", { token: asked, run });
  }
  const wanted = run + " " + columns();
  if (wanted !== drawn) {
    drawn = wanted;
    trigger("select", { run, columns: columns() });
  }
}

function takeRun(name) {
  if (name === run) return;
  run = name;
  toAddress({ run: run === config.runs[0] ? null : run });
  stale = true;
  showRuns();
  wake();
}

function showRuns() {
  const buttons = config.runs.map((name) => {
    const button = make("button", "gv-button", name);
    button.type = "button";
    button.setAttribute("aria-pressed", name === run);
    button.addEventListener("click", () => {
      takeRun(name);
    });
    return button;
  });
  find(".gv-runs").replaceChildren(...buttons);
  find(".gv-runs").hidden = buttons.length < 2;
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
  const fresh = !shown || shown.key !== value.key || shown.run !== value.run;
  shown = value;
  if (fresh) arrange();
  for (const checkpoint of value.checkpoints) if (value.views[checkpoint.id]) load(checkpoint, value.views[checkpoint.id]);
  showStatus();
}

/** A track for each arm, still without frames. */
function arrange() {
  const branches = trackBranches(shown.checkpoints, Object.keys(config.arms));
  tracks = new Map(branches.map((branch) => [branch, new Track(branch)]));
  screens.replaceChildren(find(".gv-source"), ...[...tracks.values()].map((track) => track.node));
  screens.style.setProperty("--count", branches.length);
  drawnPins = "";
  for (const track of tracks.values()) {
    track.resize(shown.grid);
    track.image.src = shown.picture.image.url;
  }
  const trunk = shown.checkpoints.filter(({ branch }) => branch === "trunk").map(({ step }) => step);
  const steps = [...new Set(shown.checkpoints.map(({ step }) => step))].sort((a, b) => a - b);
  showPhotograph(shown.picture);
  offerStops(steps, Math.max(...trunk));
  showQuery();
}

/** Give a checkpoint to the tracks it belongs to: one of the trunk to all of them. */
async function load({ branch, step }, { factor, rank, error, measures }) {
  const owners = branch === "trunk" ? [...tracks.values()] : [tracks.get(branch)];
  try {
    const rows = await download(factor, widenHalfFloats);
    for (const track of owners) {
      if (tracks.get(track.branch) !== track || track.frameAt(step)) continue;
      track.add({ step, branch, rows, rank, error, measures });
    }
  } catch {
    if (owners.some((track) => tracks.get(track.branch) === track)) showFailure("A map could not be loaded; please try again.");
  }
  showStatus();
  schedule();
}

const visibleMaps = () => [...tracks.values()].filter((track) => track.frames.length);

const isComplete = () => Boolean(shown) && shown.done === shown.total && loaded() === shown.total;

function loaded() {
  const frames = [...tracks.values()].flatMap((track) => track.frames);
  return new Set(frames.map(({ branch, step }) => branch + step)).size;
}

function showStatus() {
  find(".gv-make").disabled = !isComplete();
  find(".gv-make").title = isComplete() ? FIGURE : "Figure 1 can be drawn when all maps are there";
  const progress = find(".gv-progress");
  progress.hidden = !shown || isComplete() || !find(".gv-error").hidden;
  if (!shown) return setText(find(".gv-status-text"), find(".gv-error").hidden ? "Loading the run\u2026" : "");
  progress.value = loaded() / shown.total;
  const ready = shown.total + " checkpoints of " + shown.run;
  setText(find(".gv-status-text"), isComplete() ? ready : loaded() + " of " + ready);
}

// ---- drawing ---------------------------------------------------------------------------------------------------

function render() {
  pendingFrame = 0;
  if (!shown) return;
  const asking = query.rows(shown.grid), spot = patchAt(query.pointer, shown.grid);
  const step = stepAt(timeline.position);
  for (const track of visibleMaps()) {
    track.moveTo(step);
    track.compute(asking);
    track.paint(FLOOR, CEILING, table);
    setText(track.reading, decimal(track.values[spot]));
  }
  drawMarks(spot);
  showPosition();
  markPlots(step);
}
