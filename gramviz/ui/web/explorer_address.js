// The explorer's part of the address: what is pinned, and the settings of the view that differ from the usual ones.

const usual = readSettings();
const SETTINGS = ["click", "view", "scale", "basis", "pixels", "overlay", "opacity"]; // and A and B, lists that are filled later
const PIN = /^(-?)(0?\.\d+|0|1),(0?\.\d+|0|1)$/; // a place as fractions of the picture, with - where it is subtracted
const MOST_PINS = 64;

const short = (fraction) => String(Number(fraction.toFixed(4)));

document.addEventListener("gv-query", ({ detail: { query } }) => {
  const pins = query.pins.map(({ x, y, sign }) => (sign < 0 ? "-" : "") + short(x) + "," + short(y));
  toAddress({ pins: pins.join(";") || null, cls: query.cls ? "1" : null });
});

function pinsInAddress() {
  const found = (addressed().get("pins") ?? "").split(";").map((text) => text.match(PIN)).filter(Boolean);
  return found.slice(0, MOST_PINS).map(([, minus, x, y]) => ({ x: Number(x), y: Number(y), sign: minus ? -1 : 1 }));
}

/** Ask what the address asks; on other tabs as well. */
function askAddressed() {
  const pins = pinsInAddress(), cls = addressed().has("cls");
  if (!pins.length && !cls) return;
  query.adopt({ pins, cls, pointer: pins[0] ?? query.pointer });
  changed();
}

function settingsInAddress() {
  const from = addressed();
  for (const name of SETTINGS) {
    const control = form.elements[name];
    if (!from.has(name)) continue;
    if (control.type === "checkbox") control.checked = from.get(name) === "on";
    else control.value = from.get(name); // what is no choice changes nothing
  }
}

function rememberSettings() {
  const parts = SETTINGS.map((name) => [name, settings[name] === usual[name] ? null : settings[name] ?? null]);
  const pairs = ["a", "b"].map((name) => [name, settings.view === "difference" ? settings[name] : null]);
  toAddress(Object.fromEntries([...parts, ...pairs]));
}
