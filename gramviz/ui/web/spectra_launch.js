// The beginning of the spectra: everything they are made of is there.

/** Lines follow the pictures: captions that grow move them, too. */
const linkWatch = new ResizeObserver(redrawLinks);

function redrawLinks() {
  for (const layout of layouts) drawLinks(layout.svg, layout.links, (item) => maps.get(item.id).node.querySelector(".gv-stage:not([hidden]), .gv-problem"), 4);
}

document.addEventListener("gv-request", () => {
  stale = true;
  wake();
});
new ResizeObserver(() => {
  wake();
  sharpen();
  if (spot) showPair();
  schedule();
}).observe(root);
foldWhenNarrow(root);
settleMapsAs(addressed());
applySettings();
showStatus();
markNewPlots(".gv-spectrum");
watch("value", update);
update();
wake();

// For tests and for the curious: what is on screen, as numbers.
root.gramviz = {
  ready: () => shown?.token === asked && !stale && isComplete() && Boolean(drawnMatrix) && !drawing,
  shares: (id) => (maps.get(id)?.data ? Array.from(maps.get(id).part("numbers", 1)) : null),
  values: (id) => Array.from(maps.get(id).values),
  matrix: () => ({ order: drawnMatrix.order, values: Array.from(drawnMatrix.values), milliseconds: drawnMatrix.milliseconds }),
  state: () => ({ ...settings, grid: shown?.grid, key: shown?.key, asked, spot, place }),
};
