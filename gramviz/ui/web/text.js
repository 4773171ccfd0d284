// Small helpers for elements and for numbers as text.

/** An element with a class and children (strings or elements). */
function make(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

/** Set the text of an element, touching the page only where it differs. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A number with a fixed count of decimals and a true minus sign. */
function decimal(value, digits = 2) {
  const text = Math.abs(value).toFixed(digits);
  return (value < 0 && Number(text) !== 0 ? "\u2212" : "") + text;
}

/** A whole number in groups of three, parted by narrow spaces. */
function grouped(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** An error bound rounded up to one digit, so that what is shown still holds. */
function boundText(value) {
  if (value <= 0) return "0";
  const unit = 10 ** Math.floor(Math.log10(value));
  const digits = Math.max(0, -Math.floor(Math.log10(value)));
  return (Math.ceil(value / unit - 1e-9) * unit).toFixed(digits);
}

/** What a checkpoint is called in a list: its branch and step, and its run where there are several. */
function checkpointName(checkpoint, severalRuns) {
  if (isModel(checkpoint)) return checkpoint.run;
  const name = armLabel(checkpoint.branch) + ", step " + grouped(checkpoint.step);
  return severalRuns ? checkpoint.run + ": " + name : name;
}

/** A network that is no step of a run goes by its own name. */
const isModel = ({ branch }) => branch === "model";
const headingOf = (checkpoint) => (isModel(checkpoint) ? checkpoint.run : armLabel(checkpoint.branch));
const stepText = (checkpoint) => (isModel(checkpoint) ? "" : "step " + grouped(checkpoint.step));

const armLabel = (branch) => (config.arms[branch] || { label: branch }).label;
