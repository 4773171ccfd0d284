// The state of the page in its address, behind the #: a link opens what was seen, and no server is told of it.

const SETTLED = 250; // milliseconds without a further change; browsers refuse an address that changes all the time
const unsaid = (window.gramvizUnsaid ??= { parts: {}, timer: 0 }); // of all components: who says it, says it all

/** What the address says now. */
const addressed = () => new URLSearchParams(location.hash.slice(1));

const OF_THE_VISITOR = ["sample", "own", "tour", "exercise", "lecture", "only", "hide"]; // what stays wherever a visitor is led

/** Lead the page to a state, given as in an address. What it lacks is as usual; the picture stays unless it names one. */
function lead(text) {
  const parts = new URLSearchParams(text);
  sayAddress();
  const before = addressed(), all = new URLSearchParams(parts);
  for (const name of OF_THE_VISITOR) if (before.has(name) && !all.has(name)) all.set(name, before.get(name));
  write(all); // those that are mounted later read it there
  document.dispatchEvent(new CustomEvent("gv-go", { detail: parts }));
}

/** Call `arrive` with a state as the address has it, whenever the page is led to one; what it lacks is as usual. */
const onLed = (arrive) => document.addEventListener("gv-go", ({ detail }) => arrive(detail));

/** Put parts of the state into the address, soon; null takes one out. */
function toAddress(parts) {
  Object.assign(unsaid.parts, parts);
  clearTimeout(unsaid.timer);
  unsaid.timer = setTimeout(sayAddress, SETTLED);
}

function sayAddress() {
  const all = addressed();
  for (const [name, value] of Object.entries(unsaid.parts)) {
    if (value === null) all.delete(name);
    else all.set(name, value);
  }
  unsaid.parts = {};
  clearTimeout(unsaid.timer);
  write(all);
}

/** Set a control of a form, or a group of radio buttons, to what a state names, or to the usual value. */
function setControl(control, value, usual) {
  const wanted = value ?? usual;
  if (control.type === "checkbox") control.checked = wanted === "on";
  else control.value = wanted; // a group leaves what is no choice of it
  if (control instanceof RadioNodeList && !control.value) control.value = usual;
}

/** As text, with what may stand behind the # as it is, so that people can read it. */
const readable = (all) => String(all).replaceAll("%2F", "/").replaceAll("%2C", ",").replaceAll("%3B", ";");

function write(all) {
  const text = readable(all);
  history.replaceState(history.state, "", location.pathname + location.search + (text && "#" + text));
}
