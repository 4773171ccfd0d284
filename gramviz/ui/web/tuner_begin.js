// The tuner's beginning: everything it is made of is there.

root.classList.add("gv-empty");
setText(find(".gv-terms"), config.terms);
showBar(find(".gv-bar"), table, TICKS);
standAs(addressed());
showStatus();
if (window.gramvizOwn) showKept(window.gramvizOwn);
watch("value", update);
update();
document.dispatchEvent(new CustomEvent("gv-newcomer"));

// For tests and for the curious: what is on screen, as numbers.
root.gramviz = {
  state: () => ({ phase, asked, run, plan: { ...plan }, pinned, ranges: { ...ranges }, kept: kept.map(({ id }) => id), files: files.length }),
  cosines: (name) => Array.from(maps.get(name)?.values ?? []),
  look: (name) => looks.get(name) ?? null,
  rows: (arm) => [...of(series.rows, arm)].map(([step, [total, ...losses]]) => ({ step, total, ...Object.fromEntries(config.losses.map((name, i) => [name, losses[i]])) })),
  steps: (arm) => [...of(series.rows, arm).keys()],
  figure: () => (run && {
    photograph: shown.picture.image.url, grid: run.grid, pinned: looks.values().next().value?.pinned, plan: ran,
    looks: Object.fromEntries([...looks].map(([name, { step, map }]) => [name, { step, map }])),
    curves: Object.fromEntries(["distance", "loss"].map((chart) => [chart, Object.fromEntries(LINES[chart]().map(({ name, points }) => [name, points]))])),
  }),
  bytes: () => JSON.stringify(props.value ?? null).length,
};
