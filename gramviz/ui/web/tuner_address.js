// The tuner's part of the address: the preset, and what the plan has that the preset has not. Files are in no link.

const PREFIX = "plan.";

function presetIn(from) {
  return config.presets.find(({ name }) => name === from.get("preset")) ?? config.presets[0] ?? null;
}

function planIn(from) {
  const base = presetIn(from)?.plan ?? blankPlan(), asked = { ...base };
  for (const control of config.controls) {
    asked[control.name] = valueIn(control, from.get(PREFIX + control.name), base[control.name]);
  }
  if (config.checkpoints.some(({ id }) => id === from.get(PREFIX + "start"))) asked.start = from.get(PREFIX + "start");
  const teacher = from.get(PREFIX + "teacher");
  if (teacher === "" || config.checkpoints.some(({ id }) => id === teacher)) asked.teacher = teacher;
  if (from.has(PREFIX + "control")) asked.control = from.get(PREFIX + "control") === "on";
  return asked;
}

function standAs(from) {
  preset = presetIn(from);
  plan = planIn(from);
  showPlan();
}

function rememberPlan() {
  const base = preset?.plan ?? blankPlan();
  const isShipped = (id) => id === "" || config.checkpoints.some((one) => one.id === id);
  const said = (name) => {
    const value = plan[name];
    if (value === base[name] || (["start", "teacher"].includes(name) && !isShipped(value))) return null;
    return typeof value === "boolean" ? (value ? "on" : "off") : String(value);
  };
  const entries = Object.keys(base).map((name) => [PREFIX + name, said(name)]);
  toAddress({ ...Object.fromEntries(entries), preset: preset && preset !== config.presets[0] ? preset.name : null });
}

onLed((from) => {
  standAs(from);
});
