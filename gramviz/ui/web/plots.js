// A place on the horizontal axes of plots, as a thin line: the player's step in the curves, a chosen eigenvalue. The
// plots are Plotly's; where a panel lies and how it scales is read from what Plotly keeps on its element.

const marked = new WeakMap(); // plot -> its lines, by axis

function markPlots(step) {
  for (const plot of document.querySelectorAll(".gv-curves .js-plotly-plot")) {
    const full = plot._fullLayout;
    if (full?.meta?.axis === "step") markAxes(plot, Object.keys(full).filter((key) => /^xaxis\d*$/.test(key)), step);
  }
}

/** Mark a value on some horizontal axes of a plot, linear or logarithmic. */
function markAxes(plot, names, value) {
  const full = plot._fullLayout, box = plot.querySelector(".svg-container");
  if (!box) return;
  const lines = marked.get(plot) ?? new Map();
  marked.set(plot, lines);
  for (const name of names) {
    const across = full[name], down = full["yaxis" + across.anchor.slice(1)];
    if (!lines.get(name)?.isConnected) {
      lines.set(name, make("div", "gv-now"));
      box.append(lines.get(name));
    }
    const place = across.d2p(value), line = lines.get(name);
    line.hidden = !(place >= 0 && place <= across._length);
    line.style.height = down._length + "px";
    line.style.transform = "translate(" + (across._offset + place) + "px," + down._offset + "px)";
  }
}

/** Mark plots as soon as they are there: they come later than their component, and again when the page changes its width. */
function markNewPlots(part) {
  const plots = document.querySelector(part);
  if (plots) new MutationObserver(schedule).observe(plots, { childList: true, subtree: true });
}
