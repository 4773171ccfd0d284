// What the page shows of the visitor's picture, and what that answers. A judge gives { right, said } (number of the right
// answer, and a sentence with the numbers), or null while what it needs is not there yet.

const part = (selector) => document.querySelector(selector)?.gramviz;

const meanOf = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The steps of an arm with their measures, once the player has them all. */
function framesOf(branch) {
  return part(".gv-player")?.ready() ? part(".gv-player").frames(branch) : null;
}

const JUDGES = {
  pairs() {
    const grid = part(".gv-explorer").state().grid;
    if (!grid || !part(".gv-explorer").ready()) return null;
    const count = grid[0] * grid[1];
    return { said: "Here P = " + grid[0] + " \u00d7 " + grid[1] + " = " + grouped(count) + ", and P\u00b2 = " + grouped(count * count) + "." };
  },

  mean_similarity() {
    const frames = framesOf("plain"), start = frames?.findLast(({ branch }) => branch === "trunk"), end = frames?.at(-1);
    if (!start || !end) return null;
    const [from, to] = [start, end].map(({ measures }) => measures.mean_similarity);
    const said = "It goes from " + decimal(from, 3) + " at step " + grouped(start.step) + " to " + decimal(to, 3) + " at step " + grouped(end.step) + ".";
    return { right: Math.abs(to - from) <= 0.02 ? 2 : to > from ? 0 : 1, said };
  },

  effective_rank() {
    const [gram, plain] = ["gram", "plain"].map((branch) => framesOf(branch)?.at(-1)?.measures.effective_rank);
    if (gram === undefined || plain === undefined) return null;
    return { right: gram > plain ? 0 : 1, said: decimal(gram, 1) + " with Gram, " + decimal(plain, 1) + " without, at their last steps." };
  },

  pinned_mean() {
    const explorer = part(".gv-explorer");
    if (!explorer.ready() || explorer.state().view !== "difference") return null;
    const { a, b } = explorer.pair();
    const [ofA, ofB] = [a, b].map(meanOf);
    return { right: ofA > ofB ? 0 : 1, said: "Mean cosine to what is pinned: " + decimal(ofA, 3) + " for A, " + decimal(ofB, 3) + " for B." };
  },

  /** What the card found; whether that is a right answer, the question says. */
  card(name) {
    const state = part("#gv-card-" + name + " .gv-card")?.state();
    return state?.settled && state.spoken ? { said: "The card says: " + state.spoken } : null;
  },

  repair() {
    const tuner = part(".gv-tuner"), state = tuner?.state();
    if (!state || !["over", "idle", "asking"].includes(state.phase)) return null;
    const start = tuner.look("start"), now = tuner.look("tuned");
    if (!start || !now || !state.run || state.phase !== "over") return null;
    const [from, to] = [start, now].map(({ measures }) => measures.gram_distance), fallen = 1 - to / from;
    return { right: fallen < 0.1 ? 0 : fallen <= 0.5 ? 1 : 2, said: "From " + from.toPrecision(2) + " to " + to.toPrecision(2) + " in " + now.step + " steps: by " + Math.round(100 * fallen) + " %." };
  },
};

function judged({ judge, right }) {
  const [name, argument] = judge.split(":");
  const found = judge ? (JUDGES[name] ?? EXERCISES[name])(argument) : { said: "" };
  return found && { right: right ?? found.right, said: found.said };
}
