// One map of a checkpoint's spectra, with the numbers of what it shows.

class SpectralMap extends PatchMap {
  constructor(checkpoint) {
    super(headingOf(checkpoint), checkpoint.branch);
    this.checkpoint = checkpoint;
    this.step.textContent = stepText(checkpoint);
    this.canvas.setAttribute("aria-label", "Map of " + checkpointName(checkpoint, false));
    this.reading.title = "Value at the patch under the pointer";
    this.facts = make("dl", "gv-facts");
    this.bars = make("div", "gv-bars");
    this.bars.setAttribute("role", "img");
    this.ends = make("div", "gv-bars-ends");
    this.sentence = make("p", "gv-problem");
    this.measures.replaceWith(this.facts, this.bars, this.ends, this.sentence);
  }

  showMeasures() {} // the facts of what is shown take their place

  forget() {
    super.forget();
    this.data = this.problem = this.painted = null;
    this.showProblem(null);
    this.showFacts([]);
    this.showProfile(null);
    this.marks.replaceChildren();
  }

  /** In place of the map, why there is none. */
  showProblem(problem) {
    this.problem = problem;
    this.sentence.hidden = !problem;
    this.stage.hidden = Boolean(problem);
    setText(this.sentence, problem ?? "");
  }

  /** Pairs of a name and a text, which stands alone where the name is empty. */
  showFacts(facts) {
    const entry = ([name, text]) => (name ? [make("dt", "", name), make("dd", "", text)] : [make("dd", "gv-alone", text)]);
    this.facts.replaceChildren(...facts.flatMap(entry));
  }

  /** Shares of energy by spatial frequency as bars; the first, of the constant mode, in the arm's colour. */
  showProfile(shares, edges) {
    this.bars.hidden = this.ends.hidden = !shares;
    if (!shares) return;
    const highest = Math.max(...shares);
    const spans = Array.from(shares, (share, i) => (i === 0 ? "constant mode" : decimal(edges[i], 2) + " to " + decimal(edges[i + 1], 2) + " cycles a patch") + ": " + decimal(share, 3));
    this.bars.replaceChildren(...spans.map((span, i) => {
      const bar = make("div", i === 0 ? "gv-constant" : "");
      bar.style.height = (highest > 0 ? (100 * shares[i]) / highest : 0) + "%";
      bar.title = span;
      return bar;
    }));
    this.bars.setAttribute("aria-label", "Energy of the vector by spatial frequency. " + spans.join("; "));
    this.ends.replaceChildren(make("span", "", "constant"), make("span", "", decimal(edges[edges.length - 1], 2) + " a patch"));
  }

  /** One of the arrays, by its row where it has several. */
  part(name, row = 0) {
    const { values, shape } = this.data[name], length = shape[shape.length - 1];
    return values.subarray(row * length, (row + 1) * length);
  }

  count(name) {
    return this.data[name].shape[0];
  }
}
