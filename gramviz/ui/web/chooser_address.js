// The chooser's part of the address: the sample, the checkpoints, their patches and layer, and the tab that is open.

const isShipped = (id) => config.checkpoints.some((one) => one.id === id);

/** The request that a state asks for, as far as this page has what it names; `missing` where it has not. */
function requestIn(from) {
  const asked = { ...config.preset };
  const taken = (name, test) => from.has(name) && test(from.get(name));
  const ids = (from.get("ids") ?? "").split(",").filter(Boolean);
  const there = ids.filter(isShipped);
  if (taken("sample", (id) => config.samples.some((one) => one.id === id))) asked.sample = from.get("sample");
  if (taken("patches", (count) => config.patches.includes(Number(count)))) asked.patches = Number(from.get("patches"));
  if (taken("layer", (layer) => Number.isInteger(Number(layer)) && layer < 0 && layer >= -config.layers)) asked.layer = Number(from.get("layer"));
  if (there.length) asked.ids = there;
  const told = (name, value) => from.has(name) && from.get(name) !== String(value);
  const missing = told("sample", asked.sample) || told("patches", asked.patches) || told("layer", asked.layer) || there.length < ids.length;
  return { asked, missing };
}

/** A picture or checkpoints of one's own are not in a link; in their place stands what it will show. */
function rememberRequest() {
  const { sample, patches, layer } = request, { preset } = config;
  const shipped = request.ids.filter(isShipped);
  if (sample) lastSample = sample;
  const unless = (usual, value) => (value === usual ? null : String(value));
  toAddress({
    sample: unless(preset.sample, lastSample),
    own: sample ? null : "1",
    patches: unless(preset.patches, patches),
    layer: unless(preset.layer, layer),
    ids: unless(preset.ids.join(), shipped.join() || preset.ids.join()),
  });
}

function openAddressed() {
  const { asked, missing } = requestIn(addressed());
  if (missing) say("This page does not have all that the link names; it shows what it has.");
  if (addressed().has("own")) say("This link was made with a picture of one\u2019s own, which stays with its owner; it shows a sample instead.");
  request = { ...request, ...asked };
  rememberRequest();
  if (JSON.stringify(asked) !== JSON.stringify(config.preset)) send(0);
}

onLed((from) => {
  const { asked } = requestIn(from);
  const kept = from.has("sample") ? {} : pictureOf(request); // the visitor's picture stays
  const before = JSON.stringify({ ...request, token: 0 });
  request = { ...request, ...asked, ...kept };
  showRequest();
  if (JSON.stringify({ ...request, token: 0 }) !== before) send(0);
  showTab(from);
});

// ---- tabs ------------------------------------------------------------------------------------------------------

/** Open the tab that a state is on, which is the first unless it names another. */
function showTab(from) {
  tabNamed(from.get("tab") ?? "explore")?.click();
}

/** Open the tab that the address names, and name there whichever is open; the tabs come after the chooser. */
function watchTabs() {
  if (!tabButtons().length) return requestAnimationFrame(watchTabs);
  if (addressed().has("tab")) showTab(addressed());
  new MutationObserver(() => {
    const name = openTab();
    if (name) toAddress({ tab: name === "explore" ? null : name });
  }).observe(document.querySelector(".gv-tabs"), { subtree: true, attributes: true, attributeFilter: ["aria-selected"] });
}

// ---- a link to copy --------------------------------------------------------------------------------------------

async function copyLink() {
  sayAddress();
  const whole = request.sample && request.ids.every(isShipped);
  try {
    await navigator.clipboard.writeText(location.href);
    say(whole ? "The link is copied; it opens what you see." : "The link is copied; what is your own stays with you, so it shows a sample and the checkpoints that everyone has.");
  } catch {
    say("The link could not be copied; take it from the address bar.");
  }
}

// another address in the same tab: everything begins anew
addEventListener("hashchange", () => root.isConnected && location.reload());
