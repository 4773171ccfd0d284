// The Gram matrix on the page: of checkpoint A, of B, or their difference, in one of three orders.

const gramForm = find(".gv-gram-form"), matrix = find(".gv-matrix"), matrixCanvas = matrix.querySelector("canvas");
const SLICE = 30; // milliseconds of work before the page gets a frame
const KEPT_MATRICES = 6;
const gramTasks = new Map(); // what it is of -> GramTask, the most recently used last

let drawing = null; // what is being drawn: { key, began }
let drawnMatrix = null; // what is on the canvas: { key, order, values, milliseconds }
let spot = null; // row and column of the matrix that are pointed at

const one = () => maps.get(gramForm.elements.one.value), two = () => maps.get(gramForm.elements.two.value);
const chosenOf = (name) => gramForm.querySelector('input[name="' + name + '"]:checked').value;

/** The two of the difference at first: the last checkpoint with Gram and the last one without. */
function presetPair() {
  const { checkpoints } = shown;
  const latest = (test) => checkpoints.filter(test).sort((x, y) => x.step - y.step).pop()?.id;
  return {
    one: latest(({ branch }) => branch.startsWith("gram")) ?? checkpoints.at(-1).id,
    two: latest(({ branch }) => branch === "plain") ?? checkpoints[0].id,
  };
}

/** Fill the two lists. */
function offerPair() {
  const { checkpoints } = shown, preset = presetPair();
  for (const name of ["one", "two"]) {
    const select = gramForm.elements[name];
    const chosen = maps.has(select.value) ? select.value : preset[name];
    select.replaceChildren(...checkpoints.map((item) => new Option(checkpointName(item, layouts.length > 1), item.id)));
    select.value = chosen;
  }
}

gramForm.addEventListener("submit", (event) => event.preventDefault());
gramForm.addEventListener("input", () => {
  const held = spot && drawnMatrix ? pairAt(spot) : null;
  drawMatrix(held); // the same two patches in the new order
});

/** The patches in the chosen order, or null where that is not known yet. */
function wholeOrder() {
  const order = chosenOf("order");
  if (order === "hilbert") return hilbert;
  if (order === "groups") return one()?.data?.cluster_order.values ?? null;
  return Uint16Array.from({ length: shown.grid[0] * shown.grid[1] }, (_, index) => index);
}

// ---- drawing ---------------------------------------------------------------------------------------------------

/** Draw what the form says, a slice of work a frame; `held` are two patches to point at in the new order. */
function drawMatrix(held = null) {
  if (!shown) return;
  const whole = wholeOrder(), sources = sourcesOf(chosenOf("which"));
  if (!whole || !sources.every((map) => map?.data)) return showNoMatrix(sources.find((map) => map?.problem));
  const order = thinned(whole), sorted = [...order].sort((a, b) => a - b);
  const key = JSON.stringify([shown.key, sources.map((map) => map.source), chosenOf("order"), chosenOf("which"), chosenOf("order") === "groups" && one().source]);
  if (drawnMatrix?.key === key || drawing?.key === key) return;
  drawing = { key, began: performance.now() };
  const tasks = sources.map((map) => gramTask(map, sorted, order.length < whole.length ? chosenOf("order") : ""));
  requestAnimationFrame(() => goOn(drawing, { key, order, sorted, tasks, held, whole }));
}

const sourcesOf = (which) => ({ one: [one()], two: [two()], difference: [one(), two()] })[which];

function gramTask(map, patches, order) {
  const key = map.source + order + (order === "groups" ? one().source : "");
  const task = gramTasks.get(key) ?? new GramTask(map.rows, map.rank, patches);
  gramTasks.delete(key);
  gramTasks.set(key, task);
  if (gramTasks.size > KEPT_MATRICES) gramTasks.delete(gramTasks.keys().next().value);
  return task;
}

function goOn(mine, job) {
  if (drawing !== mine) return; // something newer is drawn
  const until = performance.now() + SLICE;
  for (const task of job.tasks) task.work(until);
  if (!job.tasks.every((task) => task.done)) return requestAnimationFrame(() => goOn(mine, job));
  const placeOf = new Map(job.sorted.map((patch, index) => [patch, index]));
  const values = arranged(job.tasks[0], job.tasks[1], job.order.map((patch) => placeOf.get(patch)));
  paintMatrix(values, job.order.length, job.tasks.length > 1);
  drawing = null;
  drawnMatrix = { key: job.key, order: job.order, values, milliseconds: performance.now() - mine.began };
  describeMatrix(job.order.length, job.whole.length);
  if (job.held) spot = job.held.map((patch) => Math.max(0, job.order.indexOf(patch)));
  else if (spot) spot = spot.map((index) => Math.min(index, job.order.length - 1));
  showPair();
}

function paintMatrix(values, size, signed) {
  Object.assign(matrixCanvas, { width: size, height: size });
  const context = matrixCanvas.getContext("2d"), image = context.createImageData(size, size);
  const reach = signed ? Math.max(...extent(values).map(Math.abs)) : 1;
  const table = signed ? tables.diverging : tables.sequential;
  paintValues(values, signed ? -reach : 0, reach, table, new Uint32Array(image.data.buffer));
  context.putImageData(image, 0, 0);
  const ticks = signed ? [decimal(-reach), "0", decimal(reach)] : ["\u2264 0", "0.25", "0.5", "0.75", "1"];
  showBar(find(".gv-gram-bar"), table, ticks);
  sharpen();
}

/** Pixels stay sharp where they are larger than those of the screen; smaller ones are averaged. */
function sharpen() {
  matrix.classList.toggle("gv-dense", matrixCanvas.width > matrix.clientWidth * devicePixelRatio);
}

function describeMatrix(drawn, all) {
  const which = chosenOf("which"), name = (map) => checkpointName(map.checkpoint, layouts.length > 1);
  const title = which === "difference" ? name(one()) + " minus " + name(two()) : name(which === "one" ? one() : two());
  const rest = drawn < all ? "; every " + ordinal(Math.ceil(all / LARGEST)) + " of " + grouped(all) + " patches of the order" : "";
  setText(find(".gv-gram-status"), title + ": " + drawn + " \u00d7 " + drawn + " cosines" + rest);
  matrix.setAttribute("aria-label", "Gram matrix of " + title + ", a pixel for two patches; arrow keys move");
}

const ordinal = (number) => number + (["th", "st", "nd", "rd"][number % 100 > 10 && number % 100 < 14 ? 0 : number % 10] ?? "th");

/** Nothing to draw: still to come, or for a reason. */
function showNoMatrix(broken) {
  drawing = drawnMatrix = null;
  matrixCanvas.width = matrixCanvas.height = 1;
  setText(find(".gv-gram-status"), broken ? checkpointName(broken.checkpoint, layouts.length > 1) + ": " + broken.problem : "");
  showPair();
}

// ---- two patches -----------------------------------------------------------------------------------------------

/** Another picture: no two patches are pointed at. */
function forgetPair() {
  spot = null;
  showNoMatrix(undefined);
}

/** The two patches of a place in the matrix. */
const pairAt = ([row, column]) => [drawnMatrix.order[row], drawnMatrix.order[column]];

function pointAtPair(place) {
  spot = place;
  showPair();
}

function showPair() {
  const there = Boolean(spot && drawnMatrix);
  for (const part of [...root.querySelectorAll(".gv-rule"), find(".gv-first"), find(".gv-second")]) part.hidden = !there;
  find(".gv-pair-reading").replaceChildren(...(there ? pairReading() : []));
  if (!there) return;
  const [first, second] = pairAt(spot), size = drawnMatrix.order.length;
  frame(find(".gv-first"), first, shown.grid);
  frame(find(".gv-second"), second, shown.grid);
  placeRule(find(".gv-rule-across"), "height", "translateY", spot[0], size);
  placeRule(find(".gv-rule-down"), "width", "translateX", spot[1], size);
}

/** A rule as thick as a patch, so that a translation by its own size moves it by one. */
function placeRule(rule, side, direction, index, size) {
  rule.style[side] = 100 / size + "%";
  rule.style.transform = direction + "(" + (index * matrix.clientWidth) / size + "px)";
}

function pairReading() {
  const [first, second] = pairAt(spot);
  const entries = [["A", one()], ["B", two()]].filter(([, map]) => map?.data).map(([name, map]) => [name, cosineOf(map, first, second)]);
  if (entries.length === 2) entries.push(["A \u2212 B", entries[0][1] - entries[1][1]]);
  return [
    ...entries.flatMap(([name, value]) => [make("dt", "gv-large", name), make("dd", "gv-large", decimal(value, 3))]),
    make("dt", "", "\u25a1"), make("dd", "", spotName(first)),
    make("dt", "", "\u25cb"), make("dd", "", spotName(second)),
  ];
}
