// Drawing the explorer: all visible maps together.

function visibleMaps() {
  const candidates = settings.view === "difference" ? [pair.a, pair.b] : [...maps.values()];
  return candidates.filter((map) => map.rows);
}

function render() {
  pendingFrame = 0;
  if (!shown) return;
  const rows = query.rows(shown.grid);
  const spot = patchAt(query.pointer, shown.grid);
  for (const map of visibleMaps()) {
    map.compute(rows);
    if (settings.view === "colours") paintColours(map);
    else paintCosines(map);
    setText(map.reading, decimal(map.values[spot]));
  }
  if (settings.view === "difference" && pair.a.rows && pair.b.rows) {
    pair.difference.draw(pair.a, pair.b, differenceReach, tables.diverging);
    setText(pair.difference.reading, decimal(pair.difference.values[spot]));
  }
  drawMarks(spot);
  showStatus();
}

function paintCosines(map) {
  const { range, table } = SCALES[settings.scale];
  const [low, high] = range(map.values);
  map.paint(low, high, tables[table]);
  setText(map.range, settings.scale === "own" ? decimal(low) + " to " + decimal(high) : "");
}

function paintColours(map) {
  map.paintBytes(map.colours[settings.basis]);
  setText(map.range, "");
}
