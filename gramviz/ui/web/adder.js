// Adding a model: from the Hub, where its size and licence are told before anything is fetched, or from a file.

const root = element.querySelector(".gv-adder");
const find = (selector) => root.querySelector(selector);
const dialog = find("dialog"), hub = find(".gv-hub"), own = find(".gv-own-file"), bar = find(".gv-fetching");
const MIB = 2 ** 20;

let asked = 0; // number of the newest wish
let offered = ""; // the name that was looked up

const listed = () => config.zoo.find(({ name }) => name === hub.elements.listed.value);
const wanted = () => (config.fetch === "any" && hub.elements.other.value.trim()) || hub.elements.listed.value;
const say = (sentence) => setText(find(".gv-adder-said"), sentence);
const sizeText = (bytes) => Math.max(1, Math.round(bytes / MIB)) + " MiB";

/** Send a wish; one at a time. */
function wish(action, sentence, more = {}) {
  say(sentence);
  showBusy(true);
  trigger("input", { token: ++asked, action, ...more });
}

function showBusy(busy) {
  for (const button of root.querySelectorAll("form button, .gv-brought button")) button.disabled = busy;
  if (!busy) bar.hidden = find(".gv-break-off").hidden = true;
}

/** Forget what was looked up: the name is another one now. */
function showOffer(text = "", name = "") {
  offered = name;
  setText(find(".gv-offer"), text);
  find(".gv-fetch").hidden = !name;
}

function update() {
  const value = props.value && JSON.parse(JSON.stringify(props.value));
  if (!value || value.token !== asked) return;
  if (value.stage === "fetching") return showProgress(value);
  showBusy(false);
  if (value.error) return say(value.error);
  say("");
  if (value.stage === "offer") {
    const { name, repository, size, licence, title } = value.offer;
    const about = config.zoo.some((model) => model.name === name) ? "" : " " + title; // of the listed it stands above
    showOffer(repository + ": " + sizeText(size) + ", licence " + (licence || "unknown") + "." + about, name);
    setText(find(".gv-fetch"), "download " + sizeText(size));
  }
  if (value.own) tellOwn(value.own);
  if (value.stage === "added") {
    showOffer();
    own.reset();
    say(value.name + " is added; it is among the checkpoints of every tab.");
  }
}

function showProgress({ done, total }) {
  bar.hidden = find(".gv-break-off").hidden = false;
  Object.assign(bar, { max: total, value: Math.min(done, total) });
  say(done < total ? sizeText(done) + " of " + sizeText(total) : "Reading it\u2026");
}

async function takeFiles() {
  const files = [...own.elements.files.files], sum = files.reduce((bytes, { size }) => bytes + size, 0);
  const weights = files.find(({ name }) => /\.(safetensors|zip)$/i.test(name)), told = files.find(({ name }) => /\.json$/i.test(name));
  if (!weights) return say("Choose a safetensors file, with its config.json if there is one, or the zip of a fine-tune.");
  if (sum > config.mostMiB * MIB) return say("These files have " + sizeText(sum) + "; at most " + config.mostMiB + " MiB are taken here.");
  say("Uploading " + sizeText(sum) + "\u2026");
  showBusy(true);
  try {
    const [file, beside] = await Promise.all([upload(weights), told ? upload(told) : null]);
    wish("file", "Reading it\u2026", { name: weights.name, weights: { path: file.path }, config: beside && { path: beside.path }, architecture: own.elements.architecture.value.trim() });
  } catch {
    showBusy(false);
    say("The file could not be uploaded; please try again.");
  }
}

function showBrought(all) {
  const items = all.map((checkpoint) => {
    const button = make("button", "gv-button", "forget");
    button.type = "button";
    button.setAttribute("aria-label", "forget " + checkpointName(checkpoint, true));
    button.addEventListener("click", () => wish("forget", "", { name: checkpoint.id }));
    return make("li", "", make("span", "", checkpointName(checkpoint, true)), button);
  });
  find(".gv-brought").replaceChildren(...items);
}

function showListed() {
  const { title, training, licence, millions } = listed();
  setText(find(".gv-about-listed"), title + ", " + millions + " M parameters, " + licence + ". " + training);
}

hub.elements.listed.replaceChildren(...config.zoo.map(({ name, title }) => new Option(title + " (" + name + ")", name)));
find("#gv-architectures").replaceChildren(...config.architectures.map((name) => new Option(name)));
find(".gv-other").hidden = config.fetch !== "any";
hub.hidden = config.fetch === "none";
root.hidden = !config.mostMiB;
setText(find(".gv-file-hint"), "Safetensors of a vision transformer that timm knows, at most " + config.mostMiB + " MiB, with the config.json that names it; or the zip of a fine-tune.");
showListed();

hub.addEventListener("input", () => {
  showListed();
  showOffer();
});
hub.addEventListener("submit", (event) => {
  event.preventDefault();
  showOffer();
  wish("look", "Asking the Hub\u2026", { name: wanted() });
});
find(".gv-fetch").addEventListener("click", () => wish("fetch", "Waiting for its turn\u2026", { name: offered }));
own.addEventListener("submit", (event) => {
  event.preventDefault();
  takeFiles();
});
find(".gv-break-off").addEventListener("click", () => {
  asked += 1;
  trigger("stop");
  showBusy(false);
  say("Broken off; the next download goes on where this one stood.");
});
find(".gv-open-adder").addEventListener("click", () => {
  showBrought(window.gramvizOwn ?? []);
  say("");
  dialog.showModal();
});
find(".gv-close").addEventListener("click", () => dialog.close());
document.addEventListener("gv-own", ({ detail }) => showBrought(detail.own));
watch("value", update);
