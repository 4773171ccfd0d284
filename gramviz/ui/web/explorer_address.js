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

function pinsOf(from) {
  const found = (from.get("pins") ?? "").split(";").map((text) => text.match(PIN)).filter(Boolean);
  return found.slice(0, MOST_PINS).map(([, minus, x, y]) => ({ x: Number(x), y: Number(y), sign: minus ? -1 : 1 }));
}

/** Ask what a state asks; on other tabs as well. */
function askAs(from) {
  const pins = pinsOf(from), cls = from.has("cls");
  query.adopt({ pins, cls, pointer: pins[0] ?? query.pointer });
  changed();
}

/** Ask what the address asks, if anything. */
function askAddressed() {
  const from = addressed();
  if (pinsOf(from).length || from.has("cls")) askAs(from);
}

function settleAs(from) {
  for (const name of SETTINGS) setControl(form.elements[name], from.get(name), usual[name]);
  for (const name of ["a", "b"]) if (maps.has(from.get(name))) form.elements[name].value = from.get(name);
}

function rememberSettings() {
  const parts = SETTINGS.map((name) => [name, settings[name] === usual[name] ? null : settings[name] ?? null]);
  const pairs = ["a", "b"].map((name) => [name, settings.view === "difference" ? settings[name] : null]);
  toAddress(Object.fromEntries([...parts, ...pairs]));
}

onLed((from) => {
  settleAs(from);
  applySettings();
  rememberSettings();
  if (shown) askAs(from);
});
