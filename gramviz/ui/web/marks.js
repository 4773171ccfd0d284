// When to draw, and the marks that show the query on every picture of a component.

let pendingFrame = 0;
let drawnPins = "";

/** Draw soon, at most once a frame. */
function schedule() {
  if (!pendingFrame) pendingFrame = requestAnimationFrame(render);
}

function drawMarks(spot) {
  const { grid } = shown;
  for (const cursor of root.querySelectorAll(".gv-cursor")) frame(cursor, spot, grid);
  setText(find(".gv-query"), query.describe());
  setText(find(".gv-spot"), "row " + Math.floor(spot / grid[1]) + ", column " + (spot % grid[1]));
  const pins = query.cls || query.dragging ? [] : query.pins;
  const key = JSON.stringify([grid, pins]);
  if (key === drawnPins) return;
  drawnPins = key;
  for (const marks of root.querySelectorAll(".gv-marks")) marks.replaceChildren(...pinMarks(pins, grid));
}
