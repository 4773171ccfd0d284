// The table of measures, to be read, copied and downloaded. Python sends the numbers at full precision.

const root = element.querySelector(".gv-spectra-table");
const find = (selector) => root.querySelector(selector);
const IDENTITY = ["id", "run", "branch", "step", "patches"];
const TOLD = 3000; // milliseconds that a message stays

let rows = [];

function update() {
  rows = (props.value && JSON.parse(JSON.stringify(props.value)).rows) || [];
  root.hidden = rows.length === 0;
  const severalRuns = new Set(rows.map(({ run }) => run)).size > 1;
  find("tbody").replaceChildren(...rows.map((row) => tableRow(row, severalRuns)));
}

function tableRow(row, severalRuns) {
  const name = make("th", "", checkpointName(row, severalRuns));
  name.scope = "row";
  name.style.setProperty("--arm", "var(--arm-" + row.branch + ")");
  return make("tr", "", name, ...(row.problem ? [problemCell(row.problem)] : config.columns.map((column) => cell(row, column))));
}

function problemCell(sentence) {
  const node = make("td", "gv-problem", sentence);
  node.colSpan = config.columns.length;
  return node;
}

/** A number, and after it the most that it could be. */
function cell(row, { key, digits }) {
  const of = key === "rayleigh" || key === "outliers" ? [make("span", "gv-of", " of " + row.patches)] : [];
  return make("td", "", decimal(row[key], digits), ...of);
}

function heading({ label, title }) {
  const short = make("abbr", "", label);
  short.title = title;
  const node = make("th", "", short);
  node.scope = "col";
  return node;
}

/** The table as text, a line a row, with every digit of the numbers; what is missing stays empty. */
function asText(separator) {
  const keys = [...IDENTITY, ...config.columns.map(({ key }) => key), "problem"];
  const quoted = (value) => (/[",\t\n]/.test(value) ? '"' + value.replaceAll('"', '""') + '"' : value);
  const line = (cells) => cells.map((value) => quoted(String(value ?? ""))).join(separator);
  return [keys, ...rows.map((row) => keys.map((key) => row[key]))].map(line).join("\n") + "\n";
}

// ---- copying and downloading -----------------------------------------------------------------------------------

let told = 0;

function tell(sentence) {
  clearTimeout(told);
  setText(find(".gv-told"), sentence);
  told = setTimeout(() => setText(find(".gv-told"), ""), TOLD);
}

/** Where the page may not use the clipboard, as without HTTPS, a selected text can still be copied. */
function copySelected(text) {
  const area = make("textarea");
  area.value = text;
  area.style.position = "fixed";
  area.style.opacity = 0;
  root.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("not allowed");
}

find(".gv-copy").addEventListener("click", async () => {
  const text = asText("\t");
  try {
    if (navigator.clipboard?.writeText) await navigator.clipboard.writeText(text).catch(() => copySelected(text));
    else copySelected(text);
    tell("copied");
  } catch {
    tell("This browser does not let the page copy; please download the table.");
  }
});

find(".gv-csv").addEventListener("click", () => {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([asText(",")], { type: "text/csv" }));
  link.download = "gramviz-spectra.csv";
  link.click();
  URL.revokeObjectURL(link.href);
});

const corner = make("th", "", "checkpoint");
corner.scope = "col";
find("thead").replaceChildren(make("tr", "", corner, ...config.columns.map(heading)));
watch("value", update);
update();

// For tests and for the curious: the table as it is copied.
root.gramviz = { text: asText };
