// A card of the theory lab. It asks the server for itself when it is in sight and something changed since: the picture,
// what is checked on, or its own controls. One question is under way at a time; when its answer comes, the card asks
// for the newest state, if that is another one by then. So a slider that is dragged has nothing waiting behind it.

const root = element.querySelector(".gv-card");
const find = (selector) => root.querySelector(selector);
const EVERY = 150; // milliseconds between two questions
const PATIENCE = 60_000; // milliseconds after which an answer is given up

const values = valuesIn(addressed());
let asked = 0, answered = 0; // numbers of the newest question and of the newest answer
let since = -EVERY; // when the newest question was asked
let stale = true; // whether something changed since
let failed = false;
let inSight = false;
let wasOpen = false;
let found = null; // numbers of the newest answer by name
let drawnIn = 0; // columns of the charts that were asked for last
let timer = 0;

function valuesIn(from) {
  return Object.fromEntries(config.controls.map((control) => [control.name, valueIn(control, from.get(config.name + "." + control.name))]));
}

/** The card's part of the address: what its controls say that they did not at first, and which card was moved last. */
function remember() {
  const entries = config.controls.map((control) => [config.name + "." + control.name, values[control.name] === startOf(control) ? null : plainly(control, values[control.name])]);
  toAddress({ ...Object.fromEntries(entries), card: config.name });
}

const plainly = (control, value) => (control.options ? value : plain(control, value));

/** Controls at their values; scrolled to where a state names this card. */
function stand(from) {
  Object.assign(values, valuesIn(from));
  offerKnobs(find("form"), config.controls.map((control) => standingAt(control, values[control.name])), (name, value) => {
    values[name] = value;
    inSight = true; // whatever grew above it
    remember();
    touch();
  });
  if (from.get("card") === config.name) arriveInSight();
}

/** The tab may still be opening, and cards above still growing. */
function arriveInSight(tries = 40) {
  if (isOpen()) theorem().scrollIntoView({ block: "start" });
  if (tries && !(isOpen() && answered)) setTimeout(arriveInSight, 100, tries - 1);
}

const theorem = () => root.closest(".gv-theorem");
const plotBox = () => theorem().querySelector(".gv-plot");
const isOpen = () => root.clientWidth > 0;
const isWaiting = () => asked !== answered && performance.now() - since < PATIENCE;

/** How many charts stand side by side. */
function columns() {
  const width = theorem().querySelector(".gv-outcome").clientWidth;
  return 1 + [680, 1080].filter((least) => width >= least).length;
}

function touch() {
  stale = true;
  wake();
}

/** Ask if there is something to ask and nothing under way, and for nothing while the card is out of sight. */
function wake() {
  const opened = isOpen() && !wasOpen;
  wasOpen = isOpen();
  if (opened && (failed || (asked !== answered && !isWaiting()))) stale = true;
  if (!wasOpen || !inSight || timer || isWaiting()) return;
  if (!stale && columns() === drawnIn) return;
  const rest = since + EVERY - performance.now();
  if (rest > 0) {
    timer = setTimeout(() => {
      timer = 0;
      wake();
    }, rest);
    return;
  }
  stale = false;
  asked += 1;
  since = performance.now();
  drawnIn = columns();
  showWaiting();
  trigger("input", { token: asked, values, columns: drawnIn });
}

function update() {
  const value = props.value && JSON.parse(JSON.stringify(props.value));
  if (!value || value.token !== asked || answered === asked) return;
  answered = asked;
  failed = Boolean(value.error);
  setText(find(".gv-trouble"), value.error ?? "");
  find(".gv-trouble").hidden = !failed;
  if (!failed) {
    setText(find(".gv-spoken"), value.spoken);
    found = value.numbers;
    theorem().classList.add("gv-answered"); // a class, since :has() makes every plot of the page slow to mount
    plotBox().style.minHeight = value.height + "px"; // Gradio takes the old plot away before the new one is there
    theorem().classList.toggle("gv-chartless", !value.height);
  }
  wake();
  showWaiting();
}

/** What is on the page belongs to an older state: it stays, dimmed. */
function showWaiting() {
  const waiting = asked !== answered;
  theorem().classList.toggle("gv-asking", waiting);
  theorem().querySelector(".gv-outcome").setAttribute("aria-busy", waiting);
}

function showStatement() {
  setText(find(".gv-name"), config.title);
  root.setAttribute("aria-label", config.title);
  find(".gv-statement").setAttribute("aria-label", "Statement");
  find(".gv-statement").innerHTML = config.formulas.join("");
  find(".gv-symbols").innerHTML = config.symbols;
  find(".gv-condition").innerHTML = config.condition;
  find(".gv-try").innerHTML = config.try;
}

find("form").addEventListener("submit", (event) => event.preventDefault());
showStatement();
stand(addressed());
onLed((from) => {
  const before = JSON.stringify(values);
  stand(from);
  const entries = config.controls.map((control) => config.name + "." + control.name).filter((name) => !from.has(name));
  toAddress(Object.fromEntries([...entries.map((name) => [name, null]), ["card", from.get("card")]]));
  if (JSON.stringify(values) !== before) touch();
});
for (const event of ["gv-request", "gv-theory"]) document.addEventListener(event, touch);
new IntersectionObserver((entries) => {
  inSight = entries.at(-1).isIntersecting;
  wake();
}, { rootMargin: "200px" }).observe(root);
new ResizeObserver(wake).observe(root);
watch("value", update);

// For tests and for the curious.
root.gramviz = { name: config.name, state: () => ({ asked, answered, stale, failed, values: { ...values }, numbers: found, spoken: find(".gv-spoken").textContent, settled: asked > 0 && asked === answered && !stale }) };
