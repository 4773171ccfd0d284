// What the maps show: an eigenvector, token lengths, a register, groups. Read from the form whenever it changes.

const numberBox = form.elements.number, slider = form.elements.slider;
const GROUPS = config.groups.length;
const groupTable = colourTable(Array.from({ length: 256 }, (_, i) => config.groups[Math.floor((i * GROUPS) / 256)].slice(1)).join(""));
const MOST_FRAMES = 400; // outliers that are framed on a map

let settings = readSettings();
let longest = 1; // the end of the common scale of lengths
let drawnBar = "";

const VIEWS = {
  vector: {
    table: tables.diverging,
    ticks: () => ["\u2212 largest of each", "0", "largest of each"],
    values: (map) => (settings.k <= map.count("vectors") ? map.part("vectors", settings.k - 1) : null),
    range: (values) => {
      const reach = Math.max(...extent(values).map(Math.abs));
      return [-reach, reach];
    },
    digits: 3,
    facts: vectorFacts,
    missing: "Too small an eigenvalue for a vector.",
  },
  length: {
    table: tables.sequential,
    ticks: () => ["0", decimal(longest / 2, 1), decimal(longest, 1)],
    values: (map) => map.part("lengths"),
    range: () => [0, longest],
    digits: 1,
    facts: lengthFacts,
  },
  register: {
    table: tables.diverging,
    ticks: () => ["\u22121", "0", "1"],
    values: (map) => (settings.register <= map.count("registers") ? map.part("registers", settings.register - 1) : null),
    range: () => [-1, 1],
    digits: 2,
    facts: registerFacts,
    missing: "This network has no such register.",
  },
  group: {
    table: groupTable,
    ticks: () => config.groups.map((_, i) => (i ? String(i + 1) : "group 1")),
    values: (map) => Float32Array.from(map.part("clusters"), (group) => group + 0.5),
    range: () => [0, GROUPS],
    digits: 0,
    facts: groupFacts,
  },
};

function vectorFacts(map) {
  const [value, share, frequency] = [0, 1, 2].map((row) => map.part("numbers", row)[settings.k - 1]);
  const period = 1 / frequency, longest = 2 * Math.max(...shown.grid); // half a period fills the picture
  const wave = period > longest ? "longer than the picture" : "a period of " + decimal(period, period < 10 ? 1 : 0) + " patches";
  return [
    ["\u03bb" + subscript(settings.k), significant(value)],
    ["share", significant(share)],
    ["", (frequency < 0.001 ? "< 0.001" : decimal(frequency, frequency < 0.1 ? 3 : 2)) + " cycles a patch, " + wave],
  ];
}

function lengthFacts(map) {
  const lengths = map.part("lengths"), sorted = Float32Array.from(lengths).sort();
  const outliers = map.part("outliers").reduce((sum, one) => sum + one, 0);
  const registers = Array.from(map.part("register_lengths"), (length) => decimal(length, 1));
  return [
    ["median", decimal((sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2, 1)],
    ["longest", decimal(sorted[sorted.length - 1], 1)],
    ["outliers", outliers + " of " + lengths.length],
    ...(registers.length ? [["registers", registers.join(", ")]] : []),
  ];
}

function registerFacts(map) {
  const cosines = map.part("registers", settings.register - 1);
  const [low, high] = extent(cosines);
  return [
    ["mean cosine", decimal(cosines.reduce((sum, x) => sum + x, 0) / cosines.length, 3)],
    ["lowest, highest", decimal(low) + ", " + decimal(high)],
    ["length", decimal(map.part("register_lengths")[settings.register - 1], 1)],
  ];
}

function groupFacts(map) {
  const sizes = new Array(GROUPS).fill(0);
  for (const group of map.part("clusters")) sizes[group] += 1;
  return [["patches", sizes.filter(Boolean).join(", ")]];
}

const subscript = (number) => String(number).replace(/\d/g, (digit) => "\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089"[digit]);

/** Four digits, or a power of ten where a number is very small. */
function significant(value) {
  if (value === 0 || Math.abs(value) >= 1e-4) return decimal(value, Math.max(0, 3 - Math.floor(Math.log10(Math.abs(value) || 1))));
  return value.toExponential(2).replace("e-", " \u00b7 10\u207b").replace(/\d+$/, (power) => [...power].map((digit) => "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"[digit]).join(""));
}

// ---- the form --------------------------------------------------------------------------------------------------

function readSettings() {
  const data = Object.fromEntries(new FormData(form));
  return { ...data, k: Number(slider.value), register: Number(data.register ?? 1) };
}

function applySettings() {
  settings = readSettings();
  const overlay = settings.beneath === "on";
  root.classList.toggle("gv-overlay", overlay);
  root.style.setProperty("--opacity", overlay ? form.elements.strength.value / 100 : 1);
  form.elements.strength.disabled = !overlay;
  setText(find(".gv-opacity output"), form.elements.strength.value + "\u2009%");
  for (const part of root.querySelectorAll("[data-shown]")) part.hidden = part.dataset.shown !== settings.shown;
  rememberSpectra();
  schedule();
}

/** Choose an eigenvector by its number; the maps show eigenvectors then. */
function choose(number) {
  const k = Math.min(Number(slider.max), Math.max(1, Math.round(number) || 1));
  slider.value = numberBox.value = k;
  form.elements.shown.value = "vector";
  applySettings();
  announce();
}

/** As many eigenvectors and registers as any checkpoint has. */
function offerNumbers() {
  const ready = withData();
  const most = (name) => Math.max(0, ...ready.map((map) => map.count(name)));
  slider.max = numberBox.max = Math.max(1, most("vectors"));
  if (Number(numberBox.value) !== Number(slider.value)) numberBox.value = slider.value;
  longest = Math.max(0, ...ready.map((map) => extent(map.part("lengths"))[1])) || 1;
  const registers = most("registers"), which = find(".gv-which");
  find(".gv-registers").hidden = registers === 0;
  if (registers === 0 && settings.shown === "register") form.elements.shown.value = "vector";
  if (which.children.length !== registers) {
    which.replaceChildren(...Array.from({ length: registers }, (_, index) => {
      const radio = make("input");
      Object.assign(radio, { type: "radio", name: "register", value: index + 1, checked: index === 0 });
      return make("label", "", radio, make("span", "", String(index + 1)));
    }));
  }
  for (const map of ready) map.painted = null;
  applySettings();
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", ({ target }) => {
  if (target === numberBox && numberBox.value === "") return; // while a number is typed
  if (target === slider || target === numberBox) choose(target.value);
  else applySettings();
});
find(".gv-previous").addEventListener("click", () => choose(settings.k - 1));
find(".gv-next").addEventListener("click", () => choose(settings.k + 1));

// ---- drawing ---------------------------------------------------------------------------------------------------

function render() {
  pendingFrame = 0;
  if (!shown) return;
  const view = VIEWS[settings.shown], spot = patchAt(place, shown.grid);
  const asking = JSON.stringify([settings.shown, settings.k, settings.register, longest]);
  for (const map of withData()) {
    if (map.painted !== asking) paintMap(map, view);
    map.painted = asking;
    setText(map.reading, map.empty ? NOTHING : readingOf(map.values[spot], view));
  }
  if (drawnBar !== asking) showBar(find(".gv-bar"), view.table, view.ticks());
  drawnBar = asking;
  for (const cursor of root.querySelectorAll(".gv-cursor")) frame(cursor, spot, shown.grid);
  setText(find(".gv-spot"), spotName(spot));
  markChosen();
}

const readingOf = (value, view) => (view === VIEWS.group ? String(Math.ceil(value)) : decimal(value, view.digits));
const spotName = (spot) => "row " + Math.floor(spot / shown.grid[1]) + ", column " + (spot % shown.grid[1]);

function paintMap(map, view) {
  const values = view.values(map);
  map.empty = !values;
  map.node.classList.toggle("gv-waiting", !values);
  map.showProfile(values && view === VIEWS.vector ? map.part("profiles", settings.k - 1) : null, map.part("edges"));
  frameOutliers(map, view === VIEWS.length);
  if (!values) {
    setText(map.range, "");
    return map.showFacts([["", view.missing]]);
  }
  const [low, high] = view.range(values);
  map.values.set(values);
  map.paint(low, high, view.table);
  setText(map.range, view === VIEWS.vector ? "\u00b1" + decimal(high, 3) : "");
  map.showFacts(view.facts(map));
}

function frameOutliers(map, wanted) {
  const found = [];
  if (wanted) map.part("outliers").forEach((one, index) => one && found.length < MOST_FRAMES && found.push(index));
  map.marks.replaceChildren(...found.map((index) => {
    const mark = make("div", "gv-outlier");
    frame(mark, index, shown.grid);
    return mark;
  }));
}

/** The chosen eigenvalue in the plots of the spectrum, whose points choose one. */
function markChosen() {
  for (const plot of document.querySelectorAll(".gv-spectrum .js-plotly-plot")) {
    const numbers = plot._fullLayout?.meta?.numbers;
    if (!numbers || !plot.on) continue;
    markAxes(plot, numbers, settings.k);
    if (heeded.has(plot)) continue;
    heeded.add(plot);
    plot.on("plotly_click", ({ points: [point] }) => choose(point.customdata ?? point.x));
  }
}
const heeded = new WeakSet();
