// The explorer's beginning: everything it is made of is there.

/** Lines follow the pictures: captions that grow move them, too. */
const linkWatch = new ResizeObserver(redrawLinks);

function redrawLinks() {
  for (const layout of layouts) drawLinks(layout.svg, layout.links, (item) => maps.get(item.id).stage, 4);
}

foldWhenNarrow(root);
find(".gv-glossary dl").append(...GLOSSARY.flatMap(([term, meaning]) => [make("dt", "", term), make("dd", "", meaning)]));
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", () => {
  applySettings();
  rememberSettings();
});
settleAs(addressed());
applySettings();
watch("value", update);
update();

// For tests and for the curious: what is on screen, as numbers.
root.gramviz = {
  pair: () => ({ a: Array.from(pair.a.values), b: Array.from(pair.b.values) }),
  rows: (id) => (maps.get(id)?.rows ? { rows: maps.get(id).rows, rank: maps.get(id).rank } : null),
  cosines: (id) => Array.from(maps.get(id).values),
  difference: () => Array.from(pair.difference.values),
  ready: () => Boolean(shown?.complete) && [...maps.values()].every((map) => map.rows && map.colours.common),
  state: () => ({ ...settings, pins: query.pins, cls: query.cls, pointer: query.pointer, run: shown?.checkpoints[0].run, grid: shown?.grid, key: shown?.key, token: shown?.token }),
  render,
};
