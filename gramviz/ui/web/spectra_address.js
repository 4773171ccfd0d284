// The spectra's part of the address: what the maps show, and how the Gram matrix is drawn.

const usualMaps = readSettings();
const usualMatrix = Object.fromEntries(new FormData(gramForm));
const NUMBERED = { k: "number", register: "register" }; // known only when the spectra are there
let awaited = addressed(); // a state whose numbers are still to be settled

function settleMapsAs(from) {
  for (const name of ["shown", "beneath", "strength"]) setControl(form.elements[name], from.get(name), usualMaps[name]);
  for (const name of ["which", "order"]) setControl(gramForm.elements[name], from.get(name), usualMatrix[name]);
  awaited = from;
  settleNumbers();
}

/** Choose what a state names by number or from a list, once all spectra are there. */
function settleNumbers() {
  if (!awaited || !isComplete()) return;
  const from = awaited;
  awaited = null;
  const k = Math.round(Number(from.get("k") ?? 1)) || 1;
  slider.value = numberBox.value = Math.min(Number(slider.max), Math.max(1, k));
  const register = form.querySelector('input[name="register"][value="' + (Number(from.get("register")) || 1) + '"]');
  if (register) register.checked = true;
  for (const name of ["one", "two"]) if (maps.has(from.get(name))) gramForm.elements[name].value = from.get(name);
  applySettings();
  drawMatrix();
}

function rememberSpectra() {
  if (awaited || !shown) return;
  const matrixNow = Object.fromEntries(new FormData(gramForm));
  const unless = (usual, value) => (value === undefined || String(value) === String(usual) ? null : String(value));
  const shared = { shown: unless("vector", settings.shown), k: unless(1, settings.k), register: unless(1, settings.register) };
  const beneath = { beneath: unless(usualMaps.beneath, settings.beneath), strength: settings.beneath ? unless(usualMaps.strength, settings.strength) : null };
  const matrix = { which: unless(usualMatrix.which, matrixNow.which), order: unless(usualMatrix.order, matrixNow.order) };
  const lists = Object.fromEntries(["one", "two"].map((name) => [name, unless(presetPair()[name], matrixNow[name])]));
  toAddress({ ...shared, ...beneath, ...matrix, ...lists });
}

gramForm.addEventListener("input", rememberSpectra);
onLed((from) => {
  settleMapsAs(from);
  applySettings();
  drawMatrix();
  rememberSpectra();
});
