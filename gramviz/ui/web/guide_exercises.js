// Whether an exercise is solved, from the state that the page is in. A judge gives { right, said } (whether, and a
// sentence with the numbers), or null while what it needs is not there yet.

const TENTH = 0.1, NEAREST = 5, ENERGY = 0.9, LEAST_DRIFT = 0.2, LEAST_TURN = 30, UNMOVED = 1e-10;
const LAST_STEPS = 10, LEAST_REPAIR = 0.5, MOST_HARM = 0.05;

/** Cosines of a row, a patch's or that of CLS, to all patches. */
const rowOf = ({ rows, rank }, i, count) => cosines(rows, rank, queryVector(rows, rank, [i], []), new Float64Array(count));

/** The explorer once it has all maps, with the one pinned patch; { said } where there is not exactly one. */
function pinnedOn(explorer) {
  if (!explorer?.ready()) return null;
  const { pins, cls, grid } = explorer.state();
  if (cls || pins.length !== 1 || pins[0].sign < 0) return { said: "Pin exactly one patch." };
  return { index: patchAt(pins[0], grid), count: grid[0] * grid[1] };
}

/** How many of the values are higher than the one at `index`. */
const above = (values, index) => values.filter((value) => value > values[index]).length;

const EXERCISES = {
  most_changed() {
    const explorer = part(".gv-explorer"), pinned = pinnedOn(explorer);
    if (!pinned || pinned.said) return pinned && { right: false, ...pinned };
    const [from, to] = [explorer.rows(config.ids.trunk), explorer.rows(config.ids.plain)];
    if (!from || !to) return { right: false, said: "The maps of this exercise are not on the page; press \u201cshow again\u201d." };
    const { index, count } = pinned;
    const changes = Array.from({ length: count }, (_, i) => {
      const before = rowOf(from, i, count), after = rowOf(to, i, count);
      return meanOf(after.map((cosine, j) => Math.abs(cosine - before[j])));
    });
    const rank = above(changes, index);
    const said = "Its mean change is " + decimal(changes[index], 3) + ", number " + (rank + 1) + " of " + count + "; the highest is " + decimal(Math.max(...changes), 3) + ".";
    return { right: rank < Math.ceil(TENTH * count), said };
  },

  nearest_to_cls() {
    const explorer = part(".gv-explorer"), pinned = pinnedOn(explorer);
    if (!pinned || pinned.said) return pinned && { right: false, ...pinned };
    const map = explorer.rows(config.ids.plain);
    if (!map) return { right: false, said: "The map of this exercise is not on the page; press \u201cshow again\u201d." };
    const toCls = rowOf(map, pinned.count, pinned.count), rank = above(toCls, pinned.index);
    return { right: rank < NEAREST, said: "Its cosine to CLS is " + decimal(toCls[pinned.index], 3) + ", number " + (rank + 1) + " of " + pinned.count + "; the highest is " + decimal(Math.max(...toCls), 3) + "." };
  },

  energy() {
    const spectral = part(".gv-spectral");
    if (!spectral?.ready()) return null;
    const shares = spectral.shares(config.ids.plain), { k } = spectral.state();
    if (!shares) return { right: false, said: "The checkpoint of this exercise is not on the page; press \u201cshow again\u201d." };
    const sumTo = (count) => shares.slice(0, count).reduce((sum, share) => sum + share, 0);
    const said = "The first " + k + " have " + decimal(100 * sumTo(k), 1) + " %" + (k > 1 ? ", the first " + (k - 1) + " have " + decimal(100 * sumTo(k - 1), 1) + " %." : ".");
    return { right: sumTo(k) >= ENERGY && sumTo(k - 1) < ENERGY, said };
  },

  peak() {
    const frames = framesOf("plain"), state = part(".gv-player")?.state();
    if (!frames?.length) return null;
    const here = frames.find(({ step }) => step === state.stops[state.position]);
    if (!here) return { right: false, said: "Stand at a saved step of the arm without Gram." };
    const values = frames.map(({ measures }) => measures.mean_similarity), mine = here.measures.mean_similarity;
    const higher = values.filter((value) => value > mine).length;
    return { right: higher === 0, said: "It is " + decimal(mine, 3) + " here; " + (higher ? higher + (higher === 1 ? " saved step has" : " saved steps have") + " more." : "no saved step has more.") };
  },

  lowers() {
    const state = cardState("lemma2");
    if (!state) return null;
    const before = state.numbers["R before"], after = state.numbers["R after"];
    if (state.values.size < LEAST_DRIFT) return { right: false, said: "The size is " + state.values.size + "; at least " + LEAST_DRIFT + " is asked for." };
    return { right: after < before, said: "R goes from " + before.toPrecision(3) + " to " + after.toPrecision(3) + "." };
  },

  unseen() {
    const state = cardState("eq6");
    if (!state) return null;
    const turn = state.numbers["mean turn of a feature"], change = state.numbers["largest change of G"];
    return { right: turn >= LEAST_TURN && change <= UNMOVED, said: "Features turn by " + decimal(turn, 0) + " degrees; the largest change of G is " + (change <= UNMOVED ? "0 to rounding" : change.toPrecision(2)) + "." };
  },

  anchor() {
    const tuner = part(".gv-tuner"), state = tuner?.state();
    if (!state) return null;
    if (["asking", "waiting", "running", "paused"].includes(state.phase)) return null;
    const looks = ["tuned", "control"].map((arm) => tuner.look(arm));
    const losses = ["tuned", "control"].map((arm) => tuner.rows(arm).slice(-LAST_STEPS).map(({ dino }) => dino).filter((loss) => loss !== null));
    if (state.phase !== "over" || !state.run || looks.includes(null) || losses.some((found) => !found.length)) {
      return { right: false, said: "Run it to its end with the DINO loss on, beside a control with Gram weight 0." };
    }
    const distance = looks[0].measures.gram_distance / looks[1].measures.gram_distance, harm = meanOf(losses[0]) / meanOf(losses[1]) - 1;
    const said = "The Gram distance is " + decimal(distance) + " of the control\u2019s, the DINO loss " + (harm < 0 ? "lower" : "higher") + " by " + decimal(Math.abs(100 * harm), 1) + " %.";
    return { right: distance <= LEAST_REPAIR && harm <= MOST_HARM, said };
  },
};

function cardState(name) {
  const state = part("#gv-card-" + name + " .gv-card")?.state();
  return state?.settled && state.numbers ? state : null;
}
