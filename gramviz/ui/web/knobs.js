// A card's controls: sliders with their number beside them, and choices. A slider of logarithms stands at exponents of
// ten and tells the power. Labels are HTML. A choice begins with `chosen`, or with its first option.

const ROUND = 3; // digits of a power of ten that lies between two whole exponents

/** Fill a form with controls; `changed(name, value)` is called when one is moved. */
function offerKnobs(form, controls, changed) {
  form.replaceChildren(...controls.map((control) => (control.options ? choiceKnob(control, changed) : sliderKnob(control, changed))));
}

const startOf = (control) => (control.options ? control.options[0][0] : valueAt(control, control.start));

function choiceKnob({ name, label, options, chosen }, changed) {
  const labels = options.map(([value, text]) => {
    const radio = make("input");
    Object.assign(radio, { type: "radio", name, value, checked: value === (chosen ?? options[0][0]) });
    radio.addEventListener("input", () => changed(name, value));
    return make("label", "", radio, make("span", "", text));
  });
  const title = make("legend", "gv-label");
  title.innerHTML = label;
  return make("fieldset", "gv-options", title, make("div", "gv-segments", ...labels));
}

function sliderKnob(control, changed) {
  const slider = make("input"), field = make("input", "gv-value");
  const { name, label, low, high, step } = control;
  Object.assign(slider, { type: "range", name, min: low, max: high, step, value: control.start });
  Object.assign(field, { type: "text", inputMode: "decimal", autocomplete: "off" });
  const title = make("span", "gv-label");
  title.innerHTML = label;
  slider.setAttribute("aria-label", title.textContent);
  field.setAttribute("aria-label", title.textContent + ", as a number");
  let value = startOf(control);

  function show() {
    field.value = plain(control, value);
    slider.setAttribute("aria-valuetext", field.value);
  }

  slider.addEventListener("input", () => {
    value = valueAt(control, Number(slider.value));
    show();
    changed(name, value);
  });
  field.addEventListener("change", () => {
    const typed = read(control, field.value);
    if (typed !== null && typed !== value) {
      value = typed;
      slider.value = control.log ? Math.log10(value) : value;
      changed(name, value);
    }
    show();
  });
  show();
  const ends = make("div", "gv-ends", end(control, low), end(control, high));
  return make("div", "gv-knob", title, slider, field, ends);
}

/** A control that stands at a value at first. */
function standingAt(control, value) {
  return control.options ? { ...control, chosen: value } : { ...control, start: control.log ? Math.log10(value) : value };
}

/** A control's value as text says it; its usual one where the text is none. */
function valueIn(control, text, usual = startOf(control)) {
  if (text === null) return usual;
  if (control.options) return control.options.some(([value]) => value === text) ? text : usual;
  return read(control, text) ?? usual;
}

/** The value for which a slider stands at a position. */
function valueAt(control, position) {
  return control.log ? Number((10 ** position).toPrecision(ROUND)) : position;
}

/** What was typed, brought into the control's range; null where it is no number. */
function read(control, text) {
  const number = Number(text.trim().replace("\u2212", "-").replace(",", "."));
  if (!text.trim() || !Number.isFinite(number)) return null;
  const low = valueAt(control, control.low), high = valueAt(control, control.high);
  const within = Math.min(high, Math.max(low, number));
  return !control.log && Number.isInteger(control.step) ? Math.round(within) : within;
}

/** A value as it can be typed: 0.25, 30 or 1e-5. */
function plain(control, value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e4)) return value.toExponential().replace("e+", "e");
  return String(Number(value.toPrecision(6)));
}

/** An end of a slider: a number, or a power of ten. */
function end(control, position) {
  if (!control.log || Math.abs(position) < 3 || !Number.isInteger(position)) return make("span", "", plain(control, valueAt(control, position)).replace("-", "\u2212"));
  return make("span", "", "10", make("sup", "", String(position).replace("-", "\u2212")));
}
