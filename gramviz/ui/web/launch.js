// The player's beginning: everything it is made of is there.

document.addEventListener("gv-request", () => {
  stale = true;
  wake();
});
new ResizeObserver(() => {
  wake();
  schedule();
}).observe(root);
foldWhenNarrow(root);
showRuns();
showBar(find(".gv-bar"), table, TICKS);
showPlaying();
showStatus();
markNewPlots(".gv-curves");
watch("value", update);
update();
document.dispatchEvent(new CustomEvent("gv-newcomer"));
wake();

// For tests and for the curious: what is on screen, as numbers.
root.gramviz = {
  cosines: (branch) => Array.from(tracks.get(branch).values),
  ready: isComplete,
  frames: (branch) => tracks.get(branch)?.frames.map((frame) => ({ step: frame.step, branch: frame.branch, measures: frame.measures })) ?? [],
  state: () => ({ position: timeline.position, stops: timeline.stops, playing: timeline.playing, pins: query.pins, cls: query.cls, pointer: query.pointer, grid: shown?.grid, key: shown?.key, run, asked }),
  goTo,
};
