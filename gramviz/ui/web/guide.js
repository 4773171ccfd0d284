// The guided tour, and exercises. A step of either leads the page to a state, points at a control and asks. In the tour,
// what the visitor chose is answered from the live page where it depends on the picture; an exercise asks for a state of
// the page itself, and checks it.

const root = element.querySelector(".gv-guide");
const find = (selector) => root.querySelector(selector);
const panel = find(".gv-panel");
const LOOK_EVERY = 250; // milliseconds between two looks at a page that has no answer yet
const CHOICES = [...OF_THE_VISITOR, "patches", "layer", "ids"]; // of an address that names no state but a step
const WALKS = {
  tour: { steps: config.tour, step: "Step", name: "Tour", enter: "take the tour", again: "continue the tour" },
  exercise: { steps: config.exercises, step: "Exercise", name: "Exercises" },
};

let walk = "tour"; // which of the two
let at = null; // number of the step, from 0; null where there is none
let left = 0; // the step at which the tour was left
let chosen = null; // the answer that was given to this step
let found = null; // what the page answered
let fresh = true; // whether the page is still to be scrolled to what the step is about
let timer = 0, pointing = 0;

const steps = () => WALKS[walk].steps;

/** Stand at the step that an address names, if it names one. */
function standAs(from) {
  at = null;
  for (const [name, { steps: its }] of Object.entries(WALKS)) {
    const number = Number(from.get(name));
    if (!from.has(name) || !Number.isInteger(number) || number < 1 || number > its.length) continue;
    walk = name;
    at = number - 1;
  }
}

function go(name, number) {
  walk = name;
  at = number;
  toAddress({ tour: null, exercise: null, [walk]: String(at + 1) });
  sayAddress();
  begin();
  lead(steps()[at].state);
}

/** Show the step anew, without an answer. */
function begin() {
  chosen = found = null;
  fresh = true;
  clearTimeout(timer);
  show();
  if (at !== null) find(".gv-step-name").focus({ preventScroll: true });
}

function leave() {
  if (walk === "tour") left = at;
  walk = "tour";
  at = null;
  clearTimeout(timer);
  toAddress({ tour: null, exercise: null });
  show();
  find(".gv-enter").focus();
}

function choose(number) {
  chosen = number;
  found = null;
  if (steps()[at].after) lead(steps()[at].after);
  ask();
}

/** Ask the page until it has an answer. */
function ask() {
  clearTimeout(timer);
  found = judged(steps()[at]);
  if (!found) timer = setTimeout(ask, LOOK_EVERY);
  show();
}

function show() {
  const step = at === null ? null : steps()[at];
  panel.hidden = !step;
  panel.setAttribute("aria-label", WALKS[walk].name);
  setText(find(".gv-enter"), left ? WALKS.tour.again : WALKS.tour.enter);
  find(".gv-enter").hidden = Boolean(step);
  for (const each of document.querySelectorAll(".gv-pointed")) each.classList.remove("gv-pointed");
  clearTimeout(pointing);
  if (!step) return;
  setText(find(".gv-step-at"), WALKS[walk].step + " " + (at + 1) + " of " + steps().length);
  setText(find(".gv-step-name"), step.title);
  fill(find(".gv-step-text"), step.text);
  fill(find(".gv-ask"), step.ask);
  showOptions(isExercise(step) ? [checkButton()] : step.options.map(optionButton));
  fill(find(".gv-reveal"), revealed(step));
  find(".gv-back").disabled = at === 0;
  setText(find(".gv-forth"), at === steps().length - 1 ? "end" : "next");
  point(step);
}

/** Whoever came by keyboard stays where they were. */
function showOptions(buttons) {
  const box = find(".gv-options"), before = [...box.children].indexOf(document.activeElement);
  box.replaceChildren(...buttons);
  if (before >= 0) (buttons[before].disabled ? find(".gv-forth") : buttons[before]).focus();
}

const isExercise = ({ options }) => !options.length;

function checkButton() {
  const button = make("button", "gv-button gv-check", chosen === null ? "check" : "check again");
  button.type = "button";
  button.addEventListener("click", () => choose(0));
  return button;
}

/** Mark what the step is about; on a tab that opens for the first time it comes later. */
function point(step) {
  clearTimeout(pointing);
  const node = document.querySelector(step.look);
  if (!node?.clientWidth) {
    pointing = setTimeout(point, LOOK_EVERY, step);
    return;
  }
  node.classList.add("gv-pointed");
  if (fresh) node.scrollIntoView({ block: "start" });
  fresh = false;
}

/** Only where it differs, so that a screen reader is told once. */
function fill(node, html) {
  if (node.dataset.html === html) return;
  node.dataset.html = html;
  node.innerHTML = html;
}

function optionButton({ html, name }, number) {
  const button = make("button", "gv-button");
  button.type = "button";
  button.innerHTML = html;
  button.setAttribute("aria-label", name);
  button.disabled = Boolean(found);
  button.setAttribute("aria-pressed", number === chosen);
  button.classList.toggle("gv-right", found?.right === number);
  button.addEventListener("click", () => choose(number));
  return button;
}

function revealed(step) {
  if (chosen === null) return "";
  if (!found) return "The page has no answer yet: it is still computing, or waits for you.";
  if (isExercise(step)) return "<b>" + (found.right ? "Right. " : "Not yet. ") + "</b>" + make("span", "", found.said).innerHTML + (found.right ? " " + step.reveal : "");
  const verdict = chosen === found.right ? "Right. " : "Not so: the marked answer is right. ";
  return "<b>" + verdict + "</b>" + step.reveal + " " + make("span", "", found.said).innerHTML;
}

find(".gv-enter").addEventListener("click", () => go("tour", left));
find(".gv-leave").addEventListener("click", leave);
find(".gv-again-here").addEventListener("click", () => lead((found && steps()[at].after) || steps()[at].state));
find(".gv-back").addEventListener("click", () => go(walk, at - 1));
find(".gv-forth").addEventListener("click", () => {
  if (at < steps().length - 1) return go(walk, at + 1);
  leave();
  left = 0;
  show();
});

/** A link that names a step and no more leads to its state; otherwise the address has the state that was seen. */
function arrive() {
  standAs(addressed());
  if (at !== null && [...addressed().keys()].every((name) => CHOICES.includes(name))) lead(steps()[at].state);
  begin();
}

// a lecturer's link leads an open page to a step
document.addEventListener("gv-step", ({ detail: { walk: name, number } }) => go(name, number));
arrive();

// For tests and for the curious.
root.gramviz = {
  state: () => ({ walk, at, chosen, found, steps: steps().length }),
  turn: (by) => find(by > 0 ? ".gv-forth" : ".gv-back").click(),
};
