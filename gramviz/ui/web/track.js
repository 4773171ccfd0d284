// One arm of a run as a map that can stand at any step, also between two saved ones.

class Track extends PatchMap {
  constructor(branch) {
    super(armLabel(branch), branch);
    this.branch = branch;
    this.frames = []; // by step: { step, branch, rows, rank, error, measures }
    this.canvas.setAttribute("aria-label", "Map of " + armLabel(branch));
  }

  resize(grid) {
    super.resize(grid);
    this.second = new Float32Array(this.values.length);
    this.frames = [];
  }

  /** Add a checkpoint of the arm, or of the trunk before it. */
  add(frame) {
    this.frames = [...this.frames, frame].sort((a, b) => a.step - b.step);
  }

  frameAt(step) {
    return this.frames.find((frame) => frame.step === step);
  }

  /** Stand at a step: on a saved one, between two, or at an end. */
  moveTo(step) {
    const { frames } = this;
    const after = frames.findIndex((frame) => frame.step > step);
    this.lower = frames[after < 0 ? frames.length - 1 : Math.max(0, after - 1)];
    this.upper = after > 0 ? frames[after] : this.lower;
    const span = this.upper.step - this.lower.step;
    this.mix = span ? (step - this.lower.step) / span : 0;
    this.take(this.lower.rows, this.lower.rank, this.lower.error);
    setText(this.step, this.describe(step));
    setText(this.range, this.mix ? "numbers of step " + grouped(this.lower.step) : "");
    if (this.shownMeasures !== this.lower.measures) this.showMeasures(this.lower.measures);
  }

  describe(step) {
    const { lower, upper, mix } = this;
    if (mix) return "between " + grouped(lower.step) + " and " + grouped(upper.step);
    if (step > lower.step) return "step " + grouped(lower.step) + ", its last";
    return "step " + grouped(lower.step) + (lower.branch === "trunk" ? ", shared" : "");
  }

  /** Cosines to the query; those of two saved steps are blended in proportion. */
  compute(query) {
    super.compute(query);
    if (!this.mix) return;
    this.bound = Math.max(this.bound, answer(this.upper, query, this.second));
    for (let i = 0; i < this.values.length; i++) this.values[i] += this.mix * (this.second[i] - this.values[i]);
  }
}

/** Branches that have a track, in the order of the arms: all but the trunk, or the trunk where it is alone. */
function trackBranches(checkpoints, branchOrder) {
  const there = new Set(checkpoints.map(({ branch }) => branch));
  const own = branchOrder.filter((branch) => branch !== "trunk" && there.has(branch));
  return own.length ? own : ["trunk"];
}
