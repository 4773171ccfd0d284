// The export menu: says what is wanted, with the query and the view as the open tab has them, and saves what is made.

const root = element.querySelector(".gv-exporter");
const find = (selector) => root.querySelector(selector);
const dialog = find("dialog");
const FIGURES = {
  explore: "The photograph and these maps, with their settings",
  story: "The curves of this run",
  spectra: "The spectra of these checkpoints",
  theory: "The card you moved last, or see first",
  finetune: "This fine-tune: its maps and curves",
};
const WARES = {
  sheet: "All maps of the run in the layout of Figure 1",
  film: "The maps along training, moving",
  numbers: "All cosines as numbers, with the measures",
  page: "A page that answers the pointer without a server",
};
const SLOW = 20; // seconds after which a visitor is told that it goes on

let asked = 0; // number of the newest wish
let waiting = 0; // the timer of a wish that has no answer yet

const part = (selector) => document.querySelector(selector).gramviz;

/** What is pinned is pinned on every tab; the pointer is where the open one has it. */
function wish(what, kind) {
  const tab = openTab() ?? "explore", { pins, cls, pointer, view, scale, basis, a, b, run } = part(".gv-explorer").state();
  const player = tab === "story" ? part(".gv-player").state() : null;
  return {
    ...(tab === "theory" ? { theory: cardNow() } : {}),
    ...(tab === "finetune" ? { tuned: part(".gv-tuner").figure() } : {}),
    token: ++asked, what, kind, tab, pins, cls, view, scale, basis, a, b,
    pointer: player?.pointer ?? pointer,
    run: player?.run ?? run,
  };
}

/** The card that was moved last, or else the first in sight. */
function cardNow() {
  const cards = [...document.querySelectorAll(".gv-card")], named = addressed().get("card");
  const card = cards.find((one) => one.gramviz.name === named) ?? cards.find((one) => one.getBoundingClientRect().bottom > 120) ?? cards[0];
  return { card: card.gramviz.name, head: part(".gv-lab-head").state(), values: card.gramviz.state().values };
}

function ask(what, kind) {
  if (!part(".gv-explorer").state().grid) return say("There are no maps yet; please wait for the first.");
  say("Making the file\u2026");
  clearTimeout(waiting);
  waiting = setTimeout(() => say("Making the file\u2026 others are before you, or the network is still at it."), 1000 * SLOW);
  showBusy(true);
  trigger("input", wish(what, kind));
}

function say(text) {
  setText(find(".gv-made"), text);
}

function showBusy(busy) {
  for (const button of find(".gv-wares").querySelectorAll("button")) button.disabled = busy;
  find(".gv-wares").setAttribute("aria-busy", busy);
}

function update() {
  const value = props.value && JSON.parse(JSON.stringify(props.value));
  if (!value || value.token !== asked) return;
  clearTimeout(waiting);
  showBusy(false);
  const link = find(".gv-again-save");
  link.hidden = Boolean(value.error);
  if (value.error) return say(value.error);
  Object.assign(link, { href: value.file.url, download: value.file.name });
  say(value.file.name + ", " + sizeText(value.bytes));
  link.click();
}

const sizeText = (bytes) => (bytes < 1e6 ? Math.ceil(bytes / 1e3) + " kB" : (bytes / 1e6).toFixed(1) + " MB");

function showWares() {
  const rows = Object.entries(config.whats).map(([what, kinds]) => {
    const name = make("p", "", WARES[what] ?? FIGURES[openTab() ?? "explore"]);
    const buttons = kinds.map((kind) => {
      const button = make("button", "gv-button", kind === "webp" ? "WebP" : kind.toUpperCase());
      Object.assign(button, { type: "button", onclick: () => ask(what, kind) });
      button.setAttribute("aria-label", name.textContent + ", " + button.textContent);
      button.dataset.ware = what + "." + kind;
      return button;
    });
    return make("div", "gv-ware", name, make("div", "gv-row", ...buttons));
  });
  find(".gv-wares").replaceChildren(...rows);
}

find(".gv-open-exports").addEventListener("click", () => {
  showWares();
  showBusy(false);
  say("");
  find(".gv-again-save").hidden = true;
  dialog.showModal();
});
find(".gv-close").addEventListener("click", () => dialog.close());
watch("value", update);
