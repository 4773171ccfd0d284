// One map: a picture of the patches of one checkpoint, with its caption.

const MEASURES = [
  ["cls_alignment", "CLS", "CLS-patch alignment: the mean cosine of the patches to the CLS token, 1/P \u03a3 cos(h\u1d62, CLS)", 2],
  ["mean_similarity", "mean", "Mean similarity: the mean of all entries of G = XX\u1d40 off its diagonal", 2],
  ["effective_rank", "rank", "Effective rank: exp(\u2212\u03a3 p log p), where p are the eigenvalues of G over their sum", 1],
  ["top1_energy", "top 1", "Top-1 energy: the largest eigenvalue of G over the sum of all", 2],
];

const NOTHING = "\u2013"; // where a number is still to come
const READING = "The cosine of the query to the patch under the pointer";
const GLOSSARY = [
  ["large", READING + "; rows and columns count from 0"],
  ...MEASURES.map(([, label, meaning]) => [label, meaning]),
  ["G", "The cosines of all pairs of the P patches; X holds their features, each row divided by its length"],
];

class PatchMap {
  constructor(heading, branch) {
    this.canvas = make("canvas");
    this.image = make("img", "gv-image");
    this.image.alt = "";
    this.image.draggable = false;
    this.marks = make("div", "gv-marks");
    this.cursor = make("div", "gv-cursor");
    this.stage = make("div", "gv-stage gv-map", this.image, this.canvas, this.marks, this.cursor);
    this.heading = make("span", "gv-heading", heading);
    this.reading = make("span", "gv-reading");
    this.reading.title = READING;
    this.step = make("span", "gv-step");
    this.range = make("span", "gv-range");
    this.measures = make("dl", "gv-measures");
    const caption = make(
      "figcaption", "gv-legend",
      make("div", "gv-title", this.heading, this.reading),
      make("div", "gv-subtitle", this.step, this.range),
      this.measures,
    );
    this.node = make("figure", "gv-cell", this.stage, caption);
    if (branch) this.node.style.setProperty("--arm", "var(--arm-" + branch + ")");
    this.canvas.setAttribute("role", "img");
    this.rows = this.source = null;
  }

  /** Make room for a grid of patches, forgetting what was shown. */
  resize([rows, columns]) {
    this.canvas.width = columns;
    this.canvas.height = rows;
    this.context = this.canvas.getContext("2d");
    this.pixelImage = this.context.createImageData(columns, rows);
    this.pixels = new Uint32Array(this.pixelImage.data.buffer);
    this.values = new Float32Array(rows * columns);
    this.forget();
  }

  forget() {
    this.rows = this.source = null;
    this.colours = { own: null, common: null };
    this.node.classList.add("gv-waiting");
    this.reading.textContent = NOTHING;
    this.range.textContent = "";
    this.showMeasures({});
  }

  showMeasures(measures) {
    this.shownMeasures = measures;
    const entries = MEASURES.map(([key, label, title, digits]) => {
      const value = key in measures ? decimal(measures[key], digits) : NOTHING;
      const entry = make("div", "", make("dt", "", label), make("dd", "", value));
      entry.title = title;
      return entry;
    });
    this.measures.replaceChildren(...entries);
  }

  /** Take the rows of a checkpoint: (P + 1) x rank, the last one CLS; `error` bounds each stored entry of G. */
  take(rows, rank, error) {
    Object.assign(this, { rows, rank, error });
    this.node.classList.remove("gv-waiting");
  }

  /** Cosines to the query, and how far they may be off. */
  compute(query) {
    this.bound = answer(this, query, this.values);
  }

  paint(low, high, table) {
    paintValues(this.values, low, high, table, this.pixels);
    this.context.putImageData(this.pixelImage, 0, 0);
  }

  paintBytes(bytes) {
    if (bytes) paintBytes(bytes, this.pixels);
    else this.pixels.fill(0);
    this.context.putImageData(this.pixelImage, 0, 0);
  }

  /** Show the same checkpoint as another map, under a heading of its own. */
  follow(source, prefix) {
    this.checkpoint = source.checkpoint;
    this.node.style.setProperty("--arm", "var(--arm-" + source.checkpoint.branch + ")");
    setText(this.heading, prefix + source.heading.textContent);
    setText(this.step, source.step.textContent);
    this.canvas.setAttribute("aria-label", source.canvas.getAttribute("aria-label"));
    if (source.rows === this.rows) return;
    this.forget();
    this.showMeasures(source.shownMeasures);
    if (source.rows) this.take(source.rows, source.rank, source.error);
  }

  spokenName() {
    return this.heading.textContent + " " + this.step.textContent;
  }
}

/** Draw a colour table as a bar with its numbers beneath. */
function showBar(bar, table, ticks) {
  paintBar(bar.querySelector("canvas"), table);
  bar.querySelector(".gv-ticks").replaceChildren(...ticks.map((text) => make("span", "", text)));
  bar.setAttribute("aria-label", "Colour scale from " + ticks.at(0) + " to " + ticks.at(-1));
}
