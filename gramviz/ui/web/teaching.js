// Lecture mode, what is hidden by the address, and the notes for lecturers.

const root = element.querySelector(".gv-teaching");
const find = (selector) => root.querySelector(selector);
const page = document.documentElement;
const notes = find(".gv-notes"), ring = find(".gv-ring"), keysLine = find(".gv-keys");
const KEYS_SHOWN = 8000; // milliseconds
const NEXT = ["PageDown", "n"], BACK = ["PageUp", "b"];
let keysTimer = 0;

const isLecture = () => page.classList.contains("gv-lecture");
const listIn = (from, name, known) => (from.get(name) ?? "").split(",").filter((one) => known.includes(one));

function present(on) {
  page.classList.toggle("gv-lecture", on);
  find(".gv-present").checked = on;
  ring.hidden = true;
  clearTimeout(keysTimer);
  keysLine.hidden = !on;
  if (on) keysTimer = setTimeout(() => (keysLine.hidden = true), KEYS_SHOWN);
}

/** Hide what an address hides: all tabs but some, and parts of the page by name. */
function standAs(from) {
  const only = listIn(from, "only", Object.keys(config.tabs)), hide = listIn(from, "hide", Object.keys(config.parts));
  if (only.length) page.dataset.only = only.join(" ");
  else delete page.dataset.only;
  page.classList.toggle("gv-one-tab", only.length === 1);
  page.dataset.hide = hide.join(" ");
  present(from.has("lecture"));
  if (!only.length || only.includes(from.get("tab") ?? "explore")) return;
  toAddress({ tab: only[0] });
  sayAddress(); // the chooser may still be to come, and opens what it reads there
  goToTab(only[0]);
}

// ---- tabs ------------------------------------------------------------------------------------------------------

const shownTabs = () => Object.keys(config.tabs).filter((name) => !page.dataset.only || page.dataset.only.split(" ").includes(name));

function goToTab(name) {
  if (tabNamed(name)) tabNamed(name).click();
  else requestAnimationFrame(() => goToTab(name));
}

/** The next or the previous step of what is being walked through, or tab. */
function turn(by) {
  const guide = document.querySelector(".gv-guide").gramviz;
  if (guide.state().at !== null) return guide.turn(by);
  const tabs = shownTabs(), next = tabs.indexOf(openTab()) + by;
  if (tabs[next]) goToTab(tabs[next]);
}

// ---- keys and pointer ------------------------------------------------------------------------------------------

const isTyping = ({ target }) => target.closest("input:not([type=radio], [type=checkbox]), select, textarea, dialog");
const takesSpace = ({ target }) => target.closest("button, a, summary, input, [role=application]");

function play() {
  const button = [...document.querySelectorAll(".gv-play, .gv-pause")].find((one) => one.clientWidth && !one.disabled);
  button?.click();
  return Boolean(button);
}

/** Whether a key was one of a presenter's. */
function act(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (NEXT.includes(key)) turn(1);
  else if (BACK.includes(key)) turn(-1);
  else if (key === "p") document.dispatchEvent(new CustomEvent("gv-pin"));
  else if (key === "f") fullScreen();
  else if (key === " " && !takesSpace(event)) return play();
  else return false;
  return true;
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else page.requestFullscreen?.().catch(() => {}); // not allowed, as in some frames: all else works without
}

document.addEventListener("keydown", (event) => {
  if (!isLecture() || event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) return;
  if (act(event)) event.preventDefault();
});
document.addEventListener("pointermove", ({ pointerType, clientX, clientY }) => {
  ring.hidden = !isLecture() || pointerType === "touch";
  if (!ring.hidden) ring.style.transform = "translate(" + clientX + "px," + clientY + "px)";
});
for (const [event, down] of [["pointerdown", true], ["pointerup", false], ["pointercancel", false]]) {
  document.addEventListener(event, () => ring.classList.toggle("gv-down", down));
}

// ---- the notes -------------------------------------------------------------------------------------------------

function goTo(state) {
  const parts = new URLSearchParams(state);
  notes.close();
  for (const walk of ["tour", "exercise"]) {
    if (!parts.has(walk)) continue;
    return document.dispatchEvent(new CustomEvent("gv-step", { detail: { walk, number: Number(parts.get(walk)) - 1 } }));
  }
  lead(state);
}

function switchTo(on) {
  present(on);
  toAddress({ lecture: on ? "1" : null });
  sayAddress();
}

/** A link that leads this page where it is clicked, and opens another where it is copied or opened aside. */
function stateLink(text, state, lecture) {
  const link = make("a", "", text);
  link.href = "#" + state + (lecture ? "&lecture=1" : "");
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (lecture) switchTo(true);
    goTo(state);
  });
  return link;
}

function lessonPlan({ minutes, title, parts }) {
  const items = parts.map((part) => make("li", "", stateLink(part.text, part.state, true), make("span", "gv-minutes", " " + part.minutes + " min")));
  return make("details", "", make("summary", "", minutes + " minutes: " + title), make("ol", "", ...items));
}

function takeBox(name, label) {
  const box = make("input");
  Object.assign(box, { type: "checkbox", name, checked: true });
  return make("label", "gv-choice", box, label);
}

async function handOut() {
  sayAddress();
  const taken = (where, names) => names.filter((name) => !find(where).querySelector('[name="' + name + '"]').checked);
  const tabs = Object.keys(config.tabs), hide = taken(".gv-take-parts", Object.keys(config.parts));
  const gone = taken(".gv-take-tabs", tabs), only = tabs.filter((name) => !gone.includes(name));
  if (!only.length) return setText(find(".gv-handed"), "Leave at least one tab.");
  const parts = addressed();
  for (const [name, value] of [["only", gone.length ? only.join(",") : ""], ["hide", hide.join(",")]]) {
    if (value) parts.set(name, value);
    else parts.delete(name);
  }
  parts.delete("lecture");
  const link = location.origin + location.pathname + location.search + "#" + readable(parts);
  try {
    await navigator.clipboard.writeText(link);
    setText(find(".gv-handed"), "The link is copied.");
  } catch {
    setText(find(".gv-handed"), link);
  }
}

find(".gv-plans").append(...config.lessons.map(lessonPlan));
find(".gv-exercises").append(...config.exercises.map((title, index) => make("li", "", stateLink(title, "exercise=" + (index + 1), false))));
find(".gv-take-tabs").append(...Object.entries(config.tabs).map(([name, label]) => takeBox(name, label)));
find(".gv-take-parts").append(...Object.entries(config.parts).map(([name, label]) => takeBox(name, label)));
find(".gv-takes").addEventListener("submit", (event) => event.preventDefault());
find(".gv-present").addEventListener("change", ({ target }) => switchTo(target.checked));
find(".gv-open-notes").addEventListener("click", () => {
  setText(find(".gv-handed"), "");
  notes.showModal();
});
find(".gv-hand-out").addEventListener("click", handOut);
find(".gv-close").addEventListener("click", () => notes.close());
standAs(addressed());
