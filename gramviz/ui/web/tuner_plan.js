// The plan: presets, the two checkpoints, and a knob for every setting; what cannot be is said before it is asked for.

const form = find(".gv-plan");
const FIRST = ["images", "gram", "steps"]; // knobs that are always in sight
const DISTIL = ["dino", "ibot", "koleo"];
let checkpoints = config.checkpoints;
let plan = config.presets.length ? { ...config.presets[0].plan } : blankPlan();
let ran = null; // the plan of the newest fine-tune
let preset = config.presets[0] ?? null;

function blankPlan() {
  const values = Object.fromEntries(config.controls.map((control) => [control.name, startOf(control)]));
  return { ...values, start: checkpoints[0]?.id ?? "", teacher: "", control: false };
}

const infoOf = (id) => checkpoints.find((checkpoint) => checkpoint.id === id);

function showPlan() {
  const knobs = config.controls.map((control) => standingAt(control, plan[control.name]));
  offerKnobs(find(".gv-first"), knobs.filter(({ name }) => FIRST.includes(name)), changed);
  offerKnobs(find(".gv-rest"), knobs.filter(({ name }) => !FIRST.includes(name)), changed);
  form.elements.control.checked = plan.control;
  showCheckpoints();
  showPresets();
  settle();
}

function showPresets() {
  const buttons = config.presets.map((each) => {
    const button = make("button", "gv-button", each.title);
    button.type = "button";
    button.setAttribute("aria-pressed", each === preset);
    button.addEventListener("click", () => {
      preset = each;
      plan = { ...each.plan };
      showPlan();
    });
    return button;
  });
  find(".gv-presets").replaceChildren(...buttons);
  find(".gv-begin").hidden = !buttons.length;
}

function showCheckpoints() {
  const start = infoOf(plan.start);
  form.elements.start.replaceChildren(...groupedOptions(checkpoints, plan.start));
  const fitting = checkpoints.filter((checkpoint) => checkpoint.network === start?.network && checkpoint.id !== plan.start);
  form.elements.teacher.replaceChildren(new Option("the start itself", "", false, plan.teacher === ""), ...groupedOptions(fitting, plan.teacher));
  if (plan.teacher && !fitting.some(({ id }) => id === plan.teacher)) plan.teacher = form.elements.teacher.value = "";
}

/** Options in a group for each run. */
function groupedOptions(list, chosen) {
  return [...new Set(list.map(({ run: name }) => name))].map((name) => {
    const group = make("optgroup", "", ...list.filter((each) => each.run === name).map((each) => (
      new Option(checkpointName(each, false) + (each.heads ? ", with heads" : ""), each.id, false, each.id === chosen)
    )));
    group.label = name;
    return group;
  });
}

function changed(name, value) {
  plan[name] = value;
  settle();
}

form.addEventListener("input", ({ target }) => {
  if (target.name === "control") plan.control = target.checked;
  else if (target.name === "teacher") plan.teacher = target.value;
  else if (target.name === "start") {
    plan.start = target.value;
    showCheckpoints();
  } else return; // a knob, which says so itself
  settle();
});

/** Why this plan cannot run, in a sentence; "" where it can. */
function objection() {
  const start = infoOf(plan.start);
  const distils = DISTIL.some((name) => plan[name] > 0);
  if (!start) return "Choose the checkpoint to start from.";
  if (distils && !start.heads) return "DINO, iBOT and KoLeo need projection heads, which this start does not have; choose one \u201cwith heads\u201d or set the three to 0.";
  if (!distils && plan.gram === 0) return "Every weight is 0, so nothing would be trained.";
  if (!distils && plan.teacher === "" && plan.resolution === "1") return "Anchored to itself nothing would change: choose another Gram teacher, or let it see twice the resolution.";
  if (plan.control && (!distils || plan.gram === 0)) return "A control arm without Gram needs DINO, iBOT or KoLeo, and a Gram weight to differ by.";
  if (plan.images === "own" && files.length === 0) return "Choose images of your own, or other images.";
  return "";
}

/** Show what follows from the plan. */
function settle() {
  const start = infoOf(plan.start), why = objection();
  for (const name of DISTIL) knobOf(name)?.classList.toggle("gv-off", !start?.heads);
  knobOf("blocks")?.classList.toggle("gv-off", plan.trained !== "blocks");
  find(".gv-files").hidden = plan.images !== "own";
  setText(find(".gv-why"), why);
  find(".gv-start").disabled = Boolean(why);
  const different = preset ? Object.keys(preset.plan).filter((name) => preset.plan[name] !== plan[name]) : [];
  setText(find(".gv-about"), preset ? preset.sentence + (different.length ? " Changed: " + different.join(", ") + "." : "") : "");
  setText(find(".gv-changed"), "");
  rememberPlan();
}

const knobOf = (name) => form.querySelector('.gv-knobs [name="' + name + '"]')?.closest(".gv-knob, .gv-options");

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (objection()) return;
  asked += 1;
  ran = { ...plan };
  shown = run = null;
  showError(null);
  enter("asking");
  showStatus();
  trigger("stop");
  trigger("input", { token: asked, plan, place: [pinned.x, pinned.y], files: plan.images === "own" ? files : [] });
});
