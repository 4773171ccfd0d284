// The paper's first figure, on the visitor's picture: the marked photograph, then the maps of the marked patch, a row an
// arm and a column a saved step, all on one fixed scale. Drawn on white for print, whatever the page looks like.

const CELL = 320, SPACE = 20, MARGIN = 40, ROW_NAME = 240; // pixels of the picture
const MOST_STEPS = 5; // of the arms, beside the step at which they part
const FACE = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif';
const paper = find(".gv-paper");

/**
 * The steps after `fork` that the figure shows: those that every arm has, or where these are too few to compare, those
 * that any has; and of many, evenly chosen ones with the first and the last.
 */
function figureSteps(arms, fork, most) {
  const later = timeline.stops.filter((step) => step > fork);
  const shared = later.filter((step) => arms.every((track) => track.frameAt(step)));
  const steps = shared.length > 1 ? shared : later;
  if (steps.length <= most) return steps;
  return Array.from({ length: most }, (_, i) => steps[Math.round((i * (steps.length - 1)) / (most - 1))]);
}

/** A map as a small canvas, a pixel a patch. */
function mapPicture(frame, [rows, columns], asking) {
  const canvas = make("canvas");
  Object.assign(canvas, { width: columns, height: rows });
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  const values = new Float32Array(rows * columns);
  answer(frame, asking, values);
  paintValues(values, FLOOR, CEILING, table, new Uint32Array(image.data.buffer));
  context.putImageData(image, 0, 0);
  return canvas;
}

function drawFigure(canvas) {
  const arms = [...tracks.values()];
  const trunk = arms[0].frames.filter(({ branch }) => branch === "trunk").at(-1);
  const steps = figureSteps(arms, trunk?.step ?? -1, MOST_STEPS);
  const height = Math.round(CELL / (shown.picture.width / shown.picture.height));
  const top = MARGIN + 118, pitch = height + SPACE;
  const x = (column) => MARGIN + column * (CELL + SPACE) + (column > (trunk ? 1 : 0) ? ROW_NAME : 0);
  const y = (row) => top + row * pitch;
  const middle = y((arms.length - 1) / 2);
  const first = trunk ? 2 : 1;
  canvas.width = x(first + steps.length) - SPACE + MARGIN;
  canvas.height = y(arms.length) + 96 + MARGIN;
  const context = canvas.getContext("2d");
  const write = (text, left, base, font, colour = "#15181b", align = "left") => {
    Object.assign(context, { font: font + " " + FACE, fillStyle: colour, textAlign: align });
    context.fillText(text, left, base);
  };
  const head = (text, column, row) => write(text, x(column) + CELL / 2, y(row) - 14, "600 24px", "#15181b", "center");
  const asking = query.rows(shown.grid);
  const place = (frame, column, at) => {
    context.imageSmoothingEnabled = false;
    context.drawImage(mapPicture(frame, shown.grid, asking), x(column), at, CELL, height);
  };

  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  write("Cosine similarity of " + figureQuery() + " to every patch, along training", MARGIN, MARGIN + 30, "650 32px");
  context.drawImage(photo.querySelector("img"), x(0), middle, CELL, height);
  markFigure(context, x(0), middle, CELL, height, asking);
  if (trunk) {
    drawFork(context, x(1) + CELL + 8, middle + height / 2, x(2) - 8, arms.map((_, row) => y(row) + height / 2), arms);
    place(trunk, 1, middle);
    write("step " + grouped(trunk.step), x(1) + CELL / 2, middle - 14, "600 24px", "#15181b", "center");
  }
  arms.forEach((track, row) => {
    write(armLabel(track.branch), x(first) - 24, y(row) + height / 2 - 14, "600 24px", armColour(track), "right");
    steps.forEach((step, index) => {
      const frame = track.frameAt(step);
      if (row === 0) head("step " + grouped(step), first + index, 0);
      if (frame) place(frame, first + index, y(row));
      else write("not saved", x(first + index) + CELL / 2, y(row) + height / 2, "22px", "#5a6068", "center");
    });
  });
  const foot = y(arms.length) + 34, bar = 420, left = canvas.width - MARGIN - bar;
  const strip = make("canvas");
  paintBar(strip, table);
  context.drawImage(strip, left, foot, bar, 20);
  TICKS.forEach((tick, index) => {
    const align = index === 0 ? "left" : index === TICKS.length - 1 ? "right" : "center";
    write(tick, left + (bar * index) / (TICKS.length - 1), foot + 46, "20px", "#15181b", align);
  });
  const [rows, columns] = shown.grid;
  write(shown.run + ", " + rows + " \u00d7 " + columns + " patches. One scale for all maps.", MARGIN, foot + 18, "20px", "#5a6068");
  write(shown.picture.caption, MARGIN, foot + 46, "20px", "#5a6068");
  canvas.setAttribute("aria-label", "Figure 1: maps of " + arms.map(({ branch }) => armLabel(branch)).join(" and ") + " at steps " + [trunk, ...steps.map((step) => ({ step }))].filter(Boolean).map(({ step }) => grouped(step)).join(", "));
}

function figureQuery() {
  if (query.cls) return "the CLS token";
  return query.pins.length > 1 ? "the marked patches" : "the marked patch";
}

const armColour = (track) => getComputedStyle(track.node).getPropertyValue("--arm-" + track.branch).trim();

/** Frames of the asked patches on the photograph: white with dark edges. */
function markFigure(context, left, top, width, height, { positive, negative }) {
  const [rows, columns] = shown.grid;
  const marked = [...positive, ...negative].filter((index) => index < rows * columns);
  for (const index of marked) {
    const w = width / columns, h = height / rows;
    const box = [left + (index % columns) * w, top + Math.floor(index / columns) * h, w, h];
    for (const [colour, line] of [["#000000", 6], ["#ffffff", 3]]) {
      Object.assign(context, { strokeStyle: colour, lineWidth: line });
      context.strokeRect(...box);
    }
  }
}

/** From the trunk's map to each row, in the colour of the arm. */
function drawFork(context, from, start, to, ends, arms) {
  const turn = from + 20;
  const stroke = (colour, ...points) => {
    Object.assign(context, { strokeStyle: colour, lineWidth: 3 });
    context.beginPath();
    for (const point of points) context.lineTo(...point);
    context.stroke();
  };
  ends.forEach((end, row) => stroke(armColour(arms[row]), [turn, start], [turn, end], [to, end]));
  stroke("#808080", [from, start], [turn, start]);
}

find(".gv-make").addEventListener("click", () => {
  drawFigure(paper.querySelector("canvas"));
  paper.showModal();
});
find(".gv-close").addEventListener("click", () => paper.close());
find(".gv-save").addEventListener("click", () => {
  paper.querySelector("canvas").toBlob((blob) => {
    const link = make("a");
    link.href = URL.createObjectURL(blob);
    link.download = "gramviz-figure-1.png";
    link.click();
    URL.revokeObjectURL(link.href);
  }, "image/png");
});
