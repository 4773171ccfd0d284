// The view settings: read from the form whenever they change, and kept until the visitor changes them again.

const SCALES = {
  unit: { ticks: ["\u2264 0", "0.25", "0.5", "0.75", "1"], table: "sequential", range: () => [0, 1] },
  signed: { ticks: ["\u22121", "\u22120.5", "0", "0.5", "1"], table: "diverging", range: () => [-1, 1] },
  own: { ticks: ["lowest in the map", "highest in the map"], table: "sequential", range: extent },
};

function readSettings() {
  return Object.fromEntries(new FormData(form));
}

function applySettings() {
  settings = readSettings();
  const overlay = settings.overlay === "on";
  root.classList.toggle("gv-smooth", settings.pixels === "smooth");
  root.classList.toggle("gv-overlay", overlay);
  root.style.setProperty("--opacity", overlay ? form.elements.opacity.value / 100 : 1);
  form.elements.opacity.disabled = !overlay;
  setText(find(".gv-opacity output"), form.elements.opacity.value + "\u2009%");
  for (const part of root.querySelectorAll("[data-views]")) part.hidden = !part.dataset.views.split(" ").includes(settings.view);
  for (const section of mapsBox.children) section.hidden = section.matches(".gv-pair") !== (settings.view === "difference");
  showBar(find(".gv-bar"), tables[SCALES[settings.scale].table], SCALES[settings.scale].ticks);
  fillPair();
  redrawLinks();
  schedule();
}

// ---- the difference of two checkpoints -------------------------------------------------------------------------

/** Fill the two lists; at first the last checkpoint with Gram against the last one without. */
function offerCheckpoints() {
  const { checkpoints } = shown;
  const latest = (test) => checkpoints.filter(test).sort((x, y) => x.step - y.step).pop()?.id;
  const preset = {
    a: latest(({ branch }) => branch.startsWith("gram")) ?? checkpoints.at(-1).id,
    b: latest(({ branch }) => branch === "plain") ?? checkpoints[0].id,
  };
  for (const name of ["a", "b"]) {
    const select = form.elements[name];
    const chosen = [select.value, addressed().get(name), preset[name]].find((id) => maps.has(id));
    select.replaceChildren(...checkpoints.map((item) => new Option(checkpointName(item, layouts.length > 1), item.id)));
    select.value = chosen;
  }
}

/** Let the first two maps of the difference view show the chosen checkpoints. */
function fillPair() {
  for (const name of ["a", "b"]) {
    const source = maps.get(settings[name]);
    if (source) pair[name].follow(source, name.toUpperCase() + ": ");
  }
  pair.difference.node.classList.toggle("gv-waiting", !(pair.a.rows && pair.b.rows));
}

/** Ends of a scale of differences: always signed, and even on both sides of zero. */
function differenceReach(values) {
  return settings.scale === "own" ? Math.max(...extent(values).map(Math.abs)) : 1;
}
