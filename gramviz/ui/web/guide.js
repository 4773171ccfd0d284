// The guided tour. A step leads the page to a state, points at a control and asks; what the visitor chose is answered
// from the live page where it depends on the picture.

const root = element.querySelector(".gv-guide");
const find = (selector) => root.querySelector(selector);
const panel = find(".gv-panel");
const LOOK_EVERY = 250; // milliseconds between two looks at a page that has no answer yet
const CHOICES = ["sample", "own", "patches", "layer", "ids", "tour"]; // of an address that names no state but a step

let at = stepOf(addressed()); // number of the step, from 0; null where the tour is not being taken
let left = 0; // the step at which it was left
let chosen = null; // the answer that was given to this step
let found = null; // what the page answered
let fresh = true; // whether the page is still to be scrolled to what the step is about
let timer = 0, pointing = 0;

function stepOf(from) {
  const number = Number(from.get("tour"));
  return from.has("tour") && Number.isInteger(number) && number >= 1 && number <= config.steps.length ? number - 1 : null;
}

function go(number) {
  at = number;
  toAddress({ tour: String(at + 1) });
  sayAddress();
  begin();
  lead(config.steps[at].state);
}

/** Show the step anew, without an answer. */
function begin() {
  chosen = found = null;
  fresh = true;
  clearTimeout(timer);
  show();
  find(".gv-step-name").focus({ preventScroll: true });
}

function leave() {
  left = at;
  at = null;
  clearTimeout(timer);
  toAddress({ tour: null });
  show();
  find(".gv-enter").focus();
}

function choose(number) {
  chosen = number;
  if (config.steps[at].after) lead(config.steps[at].after);
  ask();
}

/** Ask the page until it has an answer. */
function ask() {
  clearTimeout(timer);
  found = judged(config.steps[at]);
  if (!found) timer = setTimeout(ask, LOOK_EVERY);
  show();
}

function show() {
  const step = config.steps[at];
  panel.hidden = !step;
  setText(find(".gv-enter"), left ? "continue the tour" : "take the tour");
  find(".gv-enter").hidden = Boolean(step);
  for (const each of document.querySelectorAll(".gv-pointed")) each.classList.remove("gv-pointed");
  clearTimeout(pointing);
  if (!step) return;
  setText(find(".gv-step-at"), "Step " + (at + 1) + " of " + config.steps.length);
  setText(find(".gv-step-name"), step.title);
  fill(find(".gv-step-text"), step.text);
  fill(find(".gv-ask"), step.ask);
  find(".gv-options").replaceChildren(...step.options.map(optionButton));
  fill(find(".gv-reveal"), revealed(step));
  find(".gv-back").disabled = at === 0;
  setText(find(".gv-forth"), at === config.steps.length - 1 ? "end" : "next");
  point(step);
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

function optionButton(html, number) {
  const button = make("button", "gv-button");
  button.type = "button";
  button.innerHTML = html;
  button.disabled = Boolean(found);
  button.setAttribute("aria-pressed", number === chosen);
  button.classList.toggle("gv-right", found?.right === number);
  button.addEventListener("click", () => choose(number));
  return button;
}

function revealed(step) {
  if (chosen === null) return "";
  if (!found) return "The page has no answer yet: it is still computing, or waits for you.";
  const verdict = chosen === found.right ? "Right. " : "Not so: the marked answer is right. ";
  return "<b>" + verdict + "</b>" + step.reveal + " " + make("span", "", found.said).innerHTML;
}

find(".gv-enter").addEventListener("click", () => go(left));
find(".gv-leave").addEventListener("click", leave);
find(".gv-again-here").addEventListener("click", () => lead((found && config.steps[at].after) || config.steps[at].state));
find(".gv-back").addEventListener("click", () => go(at - 1));
find(".gv-forth").addEventListener("click", () => {
  if (at < config.steps.length - 1) return go(at + 1);
  leave();
  left = 0;
  show();
});

// a link that names a step and no more leads to its state; otherwise the address has the state that was seen
if (at !== null) {
  if ([...addressed().keys()].every((name) => CHOICES.includes(name))) lead(config.steps[at].state);
  show();
}

// For tests and for the curious.
root.gramviz = { state: () => ({ at, chosen, found, steps: config.steps.length }) };
