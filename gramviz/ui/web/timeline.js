// Where the player stands. Saved steps are the stops, evenly spaced; a position is a stop, or a place between two.

const slider = find(".gv-slider"), playButton = find(".gv-play"), stopsBox = find(".gv-stops");
const PATHS = { play: "M3 1.5v13l11-6.5z", pause: "M3 1.5h3.5v13H3zM9.5 1.5H13v13H9.5z" };
const calm = matchMedia("(prefers-reduced-motion: reduce)"); // then the player goes from stop to stop, without blending
let wanted = stepIn(addressed()); // the training step to stand at once there are stops
const timeline = { stops: [], position: 0, playing: false, since: 0 };

function stepIn(from) {
  return Number(from.get("at") ?? NaN);
}

onLed((from) => {
  pause();
  wanted = stepIn(from);
  takeRun(runOf(from));
  if (!stale && timeline.stops.length) goTo(positionOf(wanted));
});

/** The training step at a position. */
function stepAt(position) {
  const { stops } = timeline;
  const before = Math.min(Math.floor(position), stops.length - 1);
  const next = stops[before + 1] ?? stops[before];
  return stops[before] + (position - before) * (next - stops[before]);
}

/** The position of a training step; the last one where there is no such step. */
function positionOf(step) {
  const { stops } = timeline;
  const next = stops.findIndex((stop) => stop >= step);
  if (next < 0 || !(step >= stops[0])) return lastStop();
  return stops[next] === step ? next : next - (stops[next] - step) / (stops[next] - stops[next - 1]);
}

const lastStop = () => timeline.stops.length - 1;

/** Stand at a position; the pictures follow. */
function goTo(position) {
  timeline.position = Math.min(lastStop(), Math.max(0, position));
  slider.value = timeline.position;
  toAddress({ at: timeline.position < lastStop() ? String(Math.round(stepAt(timeline.position))) : null });
  schedule();
}

/** Offer the stops of a run, beginning at the last, where the arms differ most, or at first where the address says.
 *  `fork` is the trunk's last one.
 */
function offerStops(steps, fork) {
  if (steps.join() === timeline.stops.join()) return;
  pause();
  timeline.stops = steps;
  slider.max = lastStop();
  stopsBox.replaceChildren(...steps.map((step, index) => {
    const stop = make("button", "gv-stop", grouped(step));
    stop.type = "button";
    stop.tabIndex = -1; // the slider has them all for the keyboard
    stop.title = "Go to step " + grouped(step) + (step === fork ? "; here the arms part" : "");
    stop.classList.toggle("gv-parting", step === fork);
    stop.style.setProperty("--at", steps.length > 1 ? index / (steps.length - 1) : 0);
    stop.addEventListener("click", () => goTo(index));
    return stop;
  }));
  stopsBox.classList.toggle("gv-many", steps.length > 7);
  goTo(positionOf(wanted));
  wanted = NaN;
}

function describePosition() {
  const { stops, position } = timeline;
  const before = Math.floor(position);
  if (position === before) return "step " + grouped(stops[before]);
  return "between " + grouped(stops[before]) + " and " + grouped(stops[before + 1]);
}

function showPosition() {
  const words = describePosition();
  setText(find(".gv-now-step"), words);
  slider.setAttribute("aria-valuetext", words);
}

// ---- playing ---------------------------------------------------------------------------------------------------

function play() {
  if (lastStop() < 1) return;
  if (timeline.position >= lastStop()) goTo(0);
  timeline.playing = true;
  timeline.since = performance.now();
  showPlaying();
  requestAnimationFrame(advance);
}

function pause() {
  timeline.playing = false;
  showPlaying();
}

function showPlaying() {
  const { playing } = timeline;
  setText(playButton.querySelector("span"), playing ? "pause" : "play");
  playButton.querySelector("path").setAttribute("d", playing ? PATHS.pause : PATHS.play);
}

const speed = () => Number(find('input[name="speed"]:checked').value);

/** One frame of playing: a saved step takes a second at speed 1, and is never leapt over. */
function advance(now) {
  if (!timeline.playing) return;
  if (root.clientWidth === 0) return pause(); // on a tab that is not open
  const gone = Math.max(0, ((now - timeline.since) / 1000) * speed());
  if (!calm.matches || gone >= 1) {
    timeline.since = now;
    goTo(calm.matches ? Math.floor(timeline.position) + 1 : timeline.position + Math.min(gone, 0.25));
  }
  if (timeline.position >= lastStop()) return pause();
  requestAnimationFrame(advance);
}

const toggle = () => (timeline.playing ? pause() : play());

playButton.addEventListener("click", toggle);
slider.addEventListener("input", () => {
  pause();
  goTo(calm.matches ? Math.round(slider.value) : Number(slider.value));
});
slider.addEventListener("keydown", (event) => {
  const { position } = timeline;
  if (["ArrowRight", "ArrowUp", "PageUp"].includes(event.key)) goTo(Math.floor(position) + 1);
  else if (["ArrowLeft", "ArrowDown", "PageDown"].includes(event.key)) goTo(Math.ceil(position) - 1);
  else if (event.key === "Home") goTo(0);
  else if (event.key === "End") goTo(lastStop());
  else return;
  pause();
  event.preventDefault();
});

// Space plays wherever the focus is, except where it already presses something; so it is caught before the picker's.
document.addEventListener("keydown", (event) => {
  const pressed = 'button, a, summary, select, textarea, [role="tab"], input:not([type="range"])';
  if (event.key !== " " || root.clientWidth === 0 || !shown || find("dialog").open) return;
  if (event.target.closest(pressed)) return;
  toggle();
  event.preventDefault();
  event.stopPropagation();
}, true);
