// The theory lab's head: which checkpoint, and whether its features of the photograph or the blackboard's are checked.

const root = element.querySelector(".gv-lab-head");
const find = (selector) => root.querySelector(selector);
const form = find("form"), select = find("select");
let checkpoints = [...config.checkpoints, ...(window.gramvizOwn ?? [])]; // with the visitor's own, as far as there are

function option(checkpoint, severalRuns) {
  const name = checkpointName(checkpoint, severalRuns) + (checkpoint.heads ? ", with heads" : "");
  const node = make("option", "", name);
  Object.assign(node, { value: checkpoint.id, selected: checkpoint.id === (props.value?.checkpoint ?? config.chosen.checkpoint) });
  return node;
}

function offerCheckpoints() {
  const runs = [...new Set(checkpoints.map(({ run }) => run))];
  const groups = runs.map((run) => {
    const options = checkpoints.filter((checkpoint) => checkpoint.run === run).map((each) => option(each, false));
    const group = make("optgroup", "", ...options);
    group.label = run;
    return group;
  });
  select.replaceChildren(...(runs.length > 1 ? groups : groups[0].children));
}

/** Say what is checked on, in a sentence. */
function showBasis(source) {
  const heads = "Eq. 2 to 4, and one direction of Lemma 2, need a checkpoint with projection heads.";
  setText(find(".gv-about"), source === "blackboard"
    ? "Four patches with small whole numbers, written out on the cards, to follow by hand. No network is asked."
    : "At most " + config.patches + " patches on the long side, features of the last layer after the final norm, in float64, " +
      "so that every number can be checked. " + heads);
}

/** The head's part of the address. */
function remember({ checkpoint, source }) {
  const shipped = config.checkpoints.some(({ id }) => id === checkpoint);
  toAddress({
    theory: shipped && checkpoint !== config.chosen.checkpoint ? checkpoint : null,
    source: source === config.chosen.source ? null : source,
  });
}

/** Stand as a state says; whether anything is new. */
function stand(from) {
  const before = JSON.stringify([select.value, form.elements.source.value]);
  const there = checkpoints.some(({ id }) => id === from.get("theory"));
  select.value = there ? from.get("theory") : config.chosen.checkpoint;
  form.elements.source.value = from.get("source") ?? config.chosen.source;
  if (!form.elements.source.value) form.elements.source.value = config.chosen.source;
  return JSON.stringify([select.value, form.elements.source.value]) !== before;
}

function changed() {
  const { checkpoint = select.value, source } = Object.fromEntries(new FormData(form));
  select.disabled = source === "blackboard";
  showBasis(source);
  props.value = { checkpoint, source };
  remember(props.value);
  document.dispatchEvent(new CustomEvent("gv-theory"));
}

document.addEventListener("gv-own", ({ detail }) => {
  const before = select.value;
  checkpoints = [...config.checkpoints, ...detail.own];
  offerCheckpoints();
  if (select.value !== before) changed(); // the one that was chosen is gone
});
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", changed);
offerCheckpoints();
showBasis(config.chosen.source);
if (stand(addressed())) changed();
onLed((from) => {
  if (stand(from)) changed();
});

// For tests and for the curious, and what the export menu asks.
root.gramviz = { state: () => ({ ...(props.value ?? config.chosen) }) };
