// Where a pointer is on a picture, and the marks that show it.

/** The place of a pointer event on a stage as fractions of it; right at any zoom and scroll position. */
function placeOn(stage, event) {
  const box = stage.getBoundingClientRect();
  return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
}

const isInside = ({ x, y }) => x >= 0 && y >= 0 && x < 1 && y < 1;

/** Put a frame the size of a patch around a patch. */
function frame(node, index, [rows, columns]) {
  node.style.width = 100 / columns + "%";
  node.style.height = 100 / rows + "%";
  node.style.transform = "translate(" + 100 * (index % columns) + "%," + 100 * Math.floor(index / columns) + "%)";
}

/** The frames of the pinned patches: squares for those added, rounds for those subtracted. */
function pinMarks(pins, grid) {
  return pins.map((pin) => {
    const mark = make("div", pin.sign > 0 ? "gv-pin" : "gv-pin gv-minus");
    frame(mark, patchAt(pin, grid), grid);
    return mark;
  });
}
