// Pointer, touch and keyboard. Listeners sit on the component's root, so that maps may come and go.

const DRAG_SLOP = 6; // CSS pixels a finger may wander and still tap
const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
let press = null; // where a finger went down: { x, y, onPhoto, dragged }

const stageOf = (event) => event.target.closest?.(".gv-stage");

function pinAt(place, action) {
  query.pin(place, action, shown.grid);
  query.pointer = place;
  changed();
}

/** The query was changed on purpose: show its state, draw, and say it. */
function changed() {
  showQuery();
  announce();
  tellQuery();
}

function tellQuery() {
  document.dispatchEvent(new CustomEvent("gv-query", { detail: { from: root, query } }));
}

function showQuery() {
  find(".gv-cls").setAttribute("aria-pressed", query.cls);
  root.classList.toggle("gv-pinned", !query.following);
  schedule();
}

// a presenter's key
document.addEventListener("gv-pin", () => {
  if (shown && root.clientWidth) pinAt(query.pointer, "pin");
});

// what is pinned on one tab is pinned on all, also on one that is opened later
document.addEventListener("gv-newcomer", () => {
  if (query.pins.length || query.cls) tellQuery();
});
document.addEventListener("gv-query", ({ detail }) => {
  if (detail.from === root) return;
  query.adopt(detail.query);
  showQuery();
});

root.addEventListener("pointermove", (event) => {
  const stage = stageOf(event);
  if (!stage || !shown) return;
  if (press && Math.hypot(event.clientX - press.x, event.clientY - press.y) > DRAG_SLOP) {
    press.dragged = true;
    query.dragging = press.onPhoto;
  }
  const place = placeOn(stage, event);
  if (!press && !isInside(place)) return;
  query.pointer = place;
  schedule();
});

root.addEventListener("pointerdown", (event) => {
  const stage = stageOf(event);
  if (!stage || !shown) return;
  press = null;
  if (event.pointerType === "mouse") return;
  press = { x: event.clientX, y: event.clientY, onPhoto: stage === photo, dragged: false };
  query.pointer = placeOn(stage, event);
  schedule();
});

/** A finger that dragged over the photograph leaves the query where it was lifted. */
function lift(event) {
  if (!press) return;
  const dragged = query.dragging;
  query.dragging = false;
  press = null;
  if (dragged && event.type === "pointerup") pinAt(query.pointer, "pin");
  else schedule();
}
root.addEventListener("pointerup", lift);
root.addEventListener("pointercancel", lift);

root.addEventListener("click", (event) => {
  const stage = stageOf(event);
  if (!stage || !shown) return;
  if (stage === photo) photo.focus({ preventScroll: true });
  const place = placeOn(stage, event);
  if (isInside(place)) pinAt(place, actionOf(event));
});

const actionOf = (event) => (event.shiftKey ? "add" : event.altKey ? "subtract" : settings.click);

root.addEventListener("keydown", (event) => {
  if (!shown || event.ctrlKey || event.metaKey || event.target.closest("select, dialog")) return;
  if (event.key === "Escape") clearQuery();
  else if (event.key.toLowerCase() === "c") toggleCls();
  else if (event.target !== photo) return;
  else if (event.key in STEPS) move(STEPS[event.key]);
  else if (event.key === "Enter" || event.key === " ") pinAt(query.pointer, actionOf(event));
  else return;
  event.preventDefault();
});

function move([down, right]) {
  const [rows, columns] = shown.grid;
  const index = patchAt(query.pointer, shown.grid);
  const row = Math.min(rows - 1, Math.max(0, Math.floor(index / columns) + down));
  const column = Math.min(columns - 1, Math.max(0, (index % columns) + right));
  query.pointer = centreOf(row * columns + column, shown.grid);
  schedule();
  announce();
}

function clearQuery() {
  query.clear();
  changed();
}

function toggleCls() {
  query.cls = !query.cls;
  changed();
}

find(".gv-cls").addEventListener("click", () => shown && toggleCls());
find(".gv-clear").addEventListener("click", () => shown && clearQuery());

// ---- spoken read-out -------------------------------------------------------------------------------------------

const ANNOUNCE_AFTER = 400; // milliseconds without a further change
let announcement = 0;

function announce() {
  clearTimeout(announcement);
  announcement = setTimeout(() => {
    const readings = visibleMaps().map((map) => map.spokenName() + " " + map.reading.textContent);
    setText(find(".gv-live"), [query.describe(), find(".gv-spot").textContent, ...readings].join("; "));
  }, ANNOUNCE_AFTER);
}
