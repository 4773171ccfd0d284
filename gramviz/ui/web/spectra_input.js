// Pointer, touch and keyboard on the pictures and on the matrix.

const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const MOVE_PAGE = 10; // patches of the matrix that Shift and an arrow go

const clamp = (value, count) => Math.min(count - 1, Math.max(0, value));

function point(event) {
  const stage = event.target.closest?.(".gv-stage"), onMatrix = event.target.closest?.(".gv-matrix");
  if (!shown || !(stage || onMatrix)) return;
  const at = placeOn(stage ?? onMatrix, event);
  if (stage && isInside(at)) {
    place = at;
    schedule();
  } else if (onMatrix && drawnMatrix) {
    const size = drawnMatrix.order.length;
    pointAtPair([at.y, at.x].map((part) => clamp(Math.floor(part * size), size)));
  }
}
root.addEventListener("pointermove", point);
root.addEventListener("pointerdown", point);

root.addEventListener("keydown", (event) => {
  if (!shown || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select")) return;
  const typing = event.target.matches('input[type="number"]');
  if (event.key === "[" && !typing) choose(settings.k - 1);
  else if (event.key === "]" && !typing) choose(settings.k + 1);
  else if (event.key in MOVES && event.target === photo) movePlace(MOVES[event.key]);
  else if (event.key in MOVES && event.target === matrix && drawnMatrix) movePair(MOVES[event.key], event.shiftKey ? MOVE_PAGE : 1);
  else return;
  event.preventDefault();
});

function movePlace([down, right]) {
  const [rows, columns] = shown.grid, index = patchAt(place, shown.grid);
  place = centreOf(clamp(Math.floor(index / columns) + down, rows) * columns + clamp((index % columns) + right, columns), shown.grid);
  schedule();
  announce();
}

function movePair([down, right], distance) {
  const size = drawnMatrix.order.length, middle = size >> 1;
  const [row, column] = spot ?? [middle, middle];
  pointAtPair([clamp(row + down * distance, size), clamp(column + right * distance, size)]);
  announce(pairWords);
}

// ---- spoken read-out -------------------------------------------------------------------------------------------

const ANNOUNCE_AFTER = 400; // milliseconds without a further change
let announcement = 0;

const mapWords = () => [
  settings.shown === "vector" ? "eigenvector " + settings.k : settings.shown,
  find(".gv-spot").textContent,
  ...withData().map((map) => map.spokenName() + " " + map.reading.textContent),
];

const pairWords = () => Array.from(find(".gv-pair-reading").children, (node) => node.textContent);

function announce(words = mapWords) {
  clearTimeout(announcement);
  announcement = setTimeout(() => setText(find(".gv-live"), words().join("; ")), ANNOUNCE_AFTER);
}
