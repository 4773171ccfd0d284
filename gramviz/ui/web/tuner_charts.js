// Three small charts on canvases, drawn from the kept series at each update; what was zoomed into stays.

const PAD = { left: 52, right: 10, top: 8, bottom: 24 };
let ranges = {}; // chart -> [low, high] of its horizontal axis, where zoomed
let drag = null; // { chart, from, to } in fractions of the plot

function resetCharts() {
  ranges = {};
}

const colourOf = (name) => getComputedStyle(root).getPropertyValue(SCREENS[name].colour.slice(4, -1)).trim();

/** The lines of a chart: { name, points: [[x, y]] }. */
const LINES = {
  distance: () => [...series.distance].map(([name, values]) => ({ name, points: [...values] })),
  loss: () => [...series.rows].map(([name, rows]) => ({ name, points: [...rows].map(([step, [total]]) => [step, total]) })),
  spectrum: () => ["teacher", "start", ...(run?.arms ?? [])].filter((name) => looks.has(name)).map((name) => ({
    name, points: looks.get(name).spectrum.map((value, index) => [index + 1, Math.max(value, 1e-5)]),
  })),
};
const LOGARITHMIC = { spectrum: true };

function drawCharts() {
  for (const node of root.querySelectorAll(".gv-chart")) drawChart(node, node.dataset.chart);
}

function drawChart(node, chart) {
  const canvas = node.querySelector("canvas");
  const width = canvas.clientWidth, height = canvas.clientHeight, density = window.devicePixelRatio || 1;
  if (!width) return;
  if (canvas.width !== Math.round(width * density) || canvas.height !== Math.round(height * density)) {
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
  }
  const context = canvas.getContext("2d");
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, width, height);
  const lines = LINES[chart]().map((line) => ({ ...line, points: line.points.filter(([, y]) => y !== null) }));
  const all = lines.flatMap(({ points }) => points);
  if (!all.length) return;
  const xs = ranges[chart] ?? wholeRange(chart, all);
  const within = all.filter(([x]) => x >= xs[0] && x <= xs[1]);
  const axis = verticalAxis(within.length ? within : all, LOGARITHMIC[chart]);
  const place = {
    x: (x) => PAD.left + ((x - xs[0]) / (xs[1] - xs[0])) * (width - PAD.left - PAD.right),
    y: (y) => height - PAD.bottom - axis.at(y) * (height - PAD.top - PAD.bottom),
  };
  drawAxes(context, place, xs, axis, width, height);
  context.save();
  context.beginPath();
  context.rect(PAD.left, 0, width - PAD.left - PAD.right, height - PAD.bottom + 1);
  context.clip();
  for (const line of lines) drawLine(context, line, place);
  if (drag?.chart === chart) {
    context.fillStyle = "rgb(128 128 128 / 0.25)";
    const span = width - PAD.left - PAD.right;
    context.fillRect(PAD.left + drag.from * span, PAD.top, (drag.to - drag.from) * span, height - PAD.top - PAD.bottom);
  }
  context.restore();
  const last = lines.map(({ name, points }) => SCREENS[name].label + " " + Number(points.at(-1)?.[1]).toPrecision(2));
  canvas.setAttribute("aria-label", node.querySelector("figcaption").textContent + ": " + last.join(", "));
}

function wholeRange(chart, all) {
  if (chart === "spectrum") return [1, Math.max(2, ...all.map(([x]) => x))];
  return [0, run?.steps ?? 1];
}

/** { at(value) -> 0..1, ticks } */
function verticalAxis(points, logarithmic) {
  const [low, high] = extent(points.map(([, y]) => y));
  if (logarithmic) {
    const from = Math.floor(Math.log10(low)), to = Math.max(from + 1, Math.ceil(Math.log10(high)));
    const ticks = Array.from({ length: to - from + 1 }, (_, index) => 10 ** (from + index));
    return { at: (y) => (Math.log10(y) - from) / (to - from), ticks };
  }
  const floor = low > 0.6 * high ? low - 0.25 * (high - low) : Math.min(0, low), top = high > floor ? high : floor + 1;
  const unit = 10 ** Math.floor(Math.log10(top - floor)), step = [0.2, 0.5, 1, 2].map((part) => part * unit).find((part) => (top - floor) / part <= 5) ?? unit * 2;
  const ticks = [];
  for (let tick = Math.ceil(floor / step) * step; tick <= top + step * 1e-6; tick += step) ticks.push(tick);
  return { at: (y) => (y - floor) / ((top - floor) * 1.04), ticks };
}

function drawAxes(context, place, xs, axis, width, height) {
  const style = getComputedStyle(root);
  context.font = "13px " + style.fontFamily;
  context.fillStyle = context.strokeStyle = style.getPropertyValue("--body-text-color-subdued").trim() || "#666";
  context.lineWidth = 1;
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const tick of axis.ticks) {
    const y = Math.round(place.y(tick)) + 0.5;
    context.globalAlpha = 0.25;
    context.beginPath();
    context.moveTo(PAD.left, y);
    context.lineTo(width - PAD.right, y);
    context.stroke();
    context.globalAlpha = 1;
    context.fillText(tick > 0 && tick < 1e-3 ? tick.toExponential(0).replace("-", "\u2212") : Number(tick.toPrecision(3)).toString(), PAD.left - 6, y);
  }
  context.textBaseline = "top";
  for (const [part, align] of [[0, "left"], [0.5, "center"], [1, "right"]]) {
    context.textAlign = align;
    const x = xs[0] + part * (xs[1] - xs[0]);
    context.fillText(grouped(Math.round(x)), place.x(x), height - PAD.bottom + 6);
  }
}

const DASHES = { teacher: [2, 3], start: [7, 4], tuned: [], control: [5, 3, 1, 3] };

function drawLine(context, { name, points }, place) {
  context.strokeStyle = context.fillStyle = colourOf(name);
  context.lineWidth = name === "tuned" ? 2.5 : 2;
  context.setLineDash(DASHES[name]);
  context.beginPath();
  points.sort((a, b) => a[0] - b[0]).forEach(([x, y], index) => (index ? context.lineTo(place.x(x), place.y(y)) : context.moveTo(place.x(x), place.y(y))));
  context.stroke();
  context.setLineDash([]);
  const end = points.at(-1);
  if (end) {
    context.beginPath();
    context.arc(place.x(end[0]), place.y(end[1]), 3, 0, 7);
    context.fill();
  }
}

// ---- zooming ---------------------------------------------------------------------------------------------------

function fractionOn(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return Math.min(1, Math.max(0, (event.clientX - box.left - PAD.left) / (box.width - PAD.left - PAD.right)));
}

for (const node of root.querySelectorAll(".gv-chart")) {
  const canvas = node.querySelector("canvas"), { chart } = node.dataset;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse") return;
    canvas.setPointerCapture(event.pointerId);
    drag = { chart, from: fractionOn(canvas, event), to: fractionOn(canvas, event) };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drag?.chart !== chart) return;
    drag.to = fractionOn(canvas, event);
    schedule();
  });
  canvas.addEventListener("pointerup", () => {
    const all = LINES[chart]().flatMap(({ points }) => points);
    const [low, high] = ranges[chart] ?? (all.length ? wholeRange(chart, all) : [0, 1]);
    const [from, to] = drag ? [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)] : [0, 0];
    if (to - from > 0.02) ranges[chart] = [low + from * (high - low), low + to * (high - low)];
    drag = null;
    schedule();
  });
  canvas.addEventListener("dblclick", () => {
    delete ranges[chart];
    schedule();
  });
}
new ResizeObserver(schedule).observe(find(".gv-charts"));
