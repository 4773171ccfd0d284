// Pointing at patches, the buttons of a run, and the list of the visitor's own checkpoints.

const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/** Ask the server for something small; the answer comes as an event of the document. */
function wish(action, more = {}) {
  trigger("select", { token: asked, action, number: run?.number ?? shown?.run?.number ?? null, ...more });
}

function pinAt(at, tell = true) {
  if (!run) return;
  const index = patchAt(at, run.grid);
  pinned = centreOf(index, run.grid);
  place = pinned;
  if (phase !== "over" || looks.size) wish("pin", { index });
  if (tell) document.dispatchEvent(new CustomEvent("gv-query", { detail: { from: root, query: { pins: [{ ...pinned, sign: 1 }], cls: false, pointer: pinned } } }));
  schedule();
}

// what is pinned on another tab is watched here
document.addEventListener("gv-query", ({ detail }) => {
  if (detail.from === root) return;
  const pin = detail.query.pins.find(({ sign }) => sign > 0);
  if (!pin) return;
  pinned = { x: pin.x, y: pin.y };
  if (run && ["running", "paused"].includes(phase)) pinAt(pinned, false);
});

root.addEventListener("pointermove", (event) => {
  const stage = event.target.closest?.(".gv-stage");
  if (!stage || !run) return;
  const at = placeOn(stage, event);
  if (!isInside(at)) return;
  place = at;
  schedule();
});
root.addEventListener("click", (event) => {
  const stage = event.target.closest?.(".gv-stage");
  if (!stage || !run) return;
  const at = placeOn(stage, event);
  if (isInside(at)) pinAt(at);
});
photo.addEventListener("keydown", (event) => {
  if (!run || event.ctrlKey || event.metaKey || event.altKey) return;
  const [rows, columns] = run.grid, index = patchAt(place, run.grid);
  if (event.key in ARROWS) {
    const [down, right] = ARROWS[event.key];
    const row = Math.min(rows - 1, Math.max(0, Math.floor(index / columns) + down));
    const column = Math.min(columns - 1, Math.max(0, (index % columns) + right));
    place = centreOf(row * columns + column, run.grid);
    schedule();
  } else if (event.key === "Enter" || event.key === " ") pinAt(place);
  else return;
  event.preventDefault();
});

find(".gv-pause").addEventListener("click", () => wish(phase === "paused" ? "resume" : "pause"));
find(".gv-stop").addEventListener("click", () => {
  if (run) return wish("stop");
  asked += 1; // it waits still: it is taken out of the queue, and nothing more is heard of it
  shown = null;
  trigger("stop");
  enter("idle");
  showStatus();
});

document.addEventListener("gv-tuner-reply", ({ detail }) => {
  if (detail.action === "forget" && detail.own) tellOwn(detail.own);
  if (detail.action === "download" && detail.file) {
    const link = make("a");
    Object.assign(link, { href: detail.file.url, download: detail.file.name });
    link.click();
  }
  if (detail.token !== asked) return;
  if (detail.action === "pin" && detail.looks) takeLooks(detail.looks);
  // a pin after the end has nothing to tell: the maps stay those of the last patch that was watched
  if (detail.error && detail.action !== "pin") showError(detail.error);
  schedule();
});

// ---- own checkpoints -------------------------------------------------------------------------------------------

function showKept(own) {
  kept = own;
  checkpoints = [...config.checkpoints, ...own];
  const items = own.map((checkpoint) => {
    const name = make("span", "", make("b", "", headingOf(checkpoint)), " \u2013 " + checkpoint.title);
    const buttons = (isModel(checkpoint) ? ["forget"] : ["download", "forget"]).map((action) => keptButton(action, checkpoint.id));
    const item = make("li", "", name, ...buttons);
    item.style.setProperty("--arm", "var(--arm-" + checkpoint.branch + ")");
    return item;
  });
  find(".gv-kept-list").replaceChildren(...items);
  find(".gv-kept").hidden = !items.length;
  showCheckpoints();
  settle();
}

document.addEventListener("gv-own", ({ detail }) => showKept(detail.own));

function keptButton(action, id) {
  const button = make("button", "gv-button", action);
  button.type = "button";
  button.setAttribute("aria-label", action + " " + id);
  button.addEventListener("click", () => wish(action, { id }));
  return button;
}
