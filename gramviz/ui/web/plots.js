// The player's step in the curves: a thin line in every panel whose axis is the training step. The plots are Plotly's;
// where a panel lies and how it scales is read from what Plotly keeps on its element.

const marked = new WeakMap(); // plot -> its lines, by axis

function markPlots(step) {
  for (const plot of document.querySelectorAll(".gv-curves .js-plotly-plot")) {
    const full = plot._fullLayout, box = plot.querySelector(".svg-container");
    if (full?.meta?.axis !== "step" || !box) continue;
    const lines = marked.get(plot) ?? new Map();
    marked.set(plot, lines);
    for (const name of Object.keys(full).filter((key) => /^xaxis\d*$/.test(key))) {
      const across = full[name], down = full["yaxis" + across.anchor.slice(1)];
      if (!lines.get(name)?.isConnected) {
        lines.set(name, make("div", "gv-now"));
        box.append(lines.get(name));
      }
      const place = across.l2p(step), line = lines.get(name);
      line.hidden = !(place >= 0 && place <= across._length);
      line.style.height = down._length + "px";
      line.style.transform = "translate(" + (across._offset + place) + "px," + down._offset + "px)";
    }
  }
}

/** Mark plots as soon as they are there: they come later than the player, and again when the page changes its width. */
function markNewPlots() {
  const curves = document.querySelector(".gv-curves");
  if (curves) new MutationObserver(schedule).observe(curves, { childList: true, subtree: true });
}
