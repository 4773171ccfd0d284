// The map of a difference.

/** The map of A minus B; in place of the measures it shows the ends of its own, signed scale. */
class DifferenceMap extends PatchMap {
  constructor() {
    super("A \u2212 B");
    this.node.classList.add("gv-plain");
    this.bar = make("div", "gv-bar", make("canvas"), make("div", "gv-ticks"));
    this.bar.setAttribute("role", "img");
    this.measures.replaceWith(this.bar);
    this.canvas.setAttribute("aria-label", "Difference of the two maps");
    this.reading.title = "Difference under the pointer";
  }

  /** Cosines of `a` less those of `b`, coloured from -reach to reach. */
  draw(a, b, reachOf, table) {
    for (let i = 0; i < this.values.length; i++) this.values[i] = a.values[i] - b.values[i];
    const reach = reachOf(this.values);
    this.paint(-reach, reach, table);
    const ticks = reach === 1 ? ["\u22121", "0", "1"] : [decimal(-reach), "0", decimal(reach)];
    if (ticks.join() === this.ticks) return;
    this.ticks = ticks.join();
    showBar(this.bar, table, ticks);
  }
}
