// The fork of a training run: checkpoints placed as in a table, the shared trunk first, then a row for each branch.
// "Row" and "column" are those of the wide layout; on a narrow page the style sheet swaps the two.

/** Group checkpoints by run and give each its place: { run, rows, columns, cells: [{ item, row, span, column }], links }. */
function forkLayout(items, branchOrder) {
  const runs = [...new Set(items.map((item) => item.run))];
  return runs.map((run) => layoutRun(run, items.filter((item) => item.run === run), branchOrder));
}

function layoutRun(run, items, branchOrder) {
  const byStep = (a, b) => a.step - b.step;
  const trunk = items.filter((item) => item.branch === "trunk").sort(byStep);
  const branches = [...new Set(items.map((item) => item.branch).filter((branch) => branch !== "trunk"))];
  branches.sort((a, b) => rankOf(a, branchOrder) - rankOf(b, branchOrder));
  const steps = [...new Set(items.filter((item) => item.branch !== "trunk").map((item) => item.step))].sort((a, b) => a - b);
  const rows = Math.max(1, branches.length);
  const cells = trunk.map((item, index) => ({ item, row: 1, span: rows, column: index + 1 }));
  const links = chain(trunk);
  branches.forEach((branch, index) => {
    const members = items.filter((item) => item.branch === branch).sort(byStep);
    for (const item of members) {
      cells.push({ item, row: index + 1, span: 1, column: trunk.length + steps.indexOf(item.step) + 1 });
    }
    const parent = items.find((item) => item.id === members[0].parent) ?? trunk.at(-1);
    links.push(...chain(parent ? [parent, ...members] : members));
  });
  return { run, rows, columns: trunk.length + steps.length, trunk: trunk.length, branches, cells, links };
}

const rankOf = (branch, order) => (order.indexOf(branch) + 1 || order.length + 1);

const chain = (items) => items.slice(1).map((item, index) => [items[index], item]);

/** The grid of a layout with the node of every checkpoint in its place; `layout.svg` takes the lines. */
function forkGrid(layout, nodeOf) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "gv-links");
  svg.setAttribute("aria-hidden", "true");
  layout.svg = svg;
  const grid = make("div", "gv-fork", svg);
  grid.style.setProperty("--columns", layout.columns);
  grid.style.setProperty("--rows", layout.rows);
  for (const { item, row, span, column } of layout.cells) {
    const node = nodeOf(item);
    node.style.setProperty("--row", row);
    node.style.setProperty("--span", span);
    node.style.setProperty("--column", column);
    grid.append(node);
  }
  return grid;
}

/**
 * Draw the lines of a fork into `svg`, each from the edge of one checkpoint to the facing edge of the next, in the
 * colour of the branch it leads to. `nodeOf(item)` gives the picture of a checkpoint, inside its `.gv-cell`. All lines
 * from one checkpoint turn before the nearest that it leads to, so that none crosses a checkpoint of another branch.
 */
function drawLinks(svg, links, nodeOf, gap) {
  const origin = svg.getBoundingClientRect();
  const downwards = getComputedStyle(svg).getPropertyValue("--flow").trim() === "down";
  const paths = links.flatMap(([from, to]) => {
    const targets = links.filter(([start]) => start === from).map(([, end]) => end);
    const nearest = targets.reduce((a, b) => (b.step < a.step ? b : a));
    const { stem, twig } = (downwards ? elbowDown : elbowAcross)(nodeOf(from), nodeOf(to), nodeOf(nearest), origin, gap);
    return [line(twig, to.branch), line(stem, from.branch)];
  });
  svg.replaceChildren(...paths);
}

function line(shape, branch) {
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", shape);
  path.style.stroke = "var(--arm-" + branch + ")";
  return path;
}

// A line has two straight pieces that meet at the turn: the stem, common to all branches, and the twig.

/** Between pictures that stand side by side. */
function elbowAcross(from, to, nearest, origin, gap) {
  const { x, y } = halfPixels(origin);
  const a = from.getBoundingClientRect(), b = to.getBoundingClientRect();
  const turn = x((a.right + nearest.getBoundingClientRect().left) / 2), start = y((a.top + a.bottom) / 2);
  const stem = "M" + x(a.right + gap) + " " + start + "H" + turn;
  return { stem, twig: "M" + turn + " " + start + "V" + y((b.top + b.bottom) / 2) + "H" + x(b.left - gap) };
}

/** From a cell to one below it. */
function elbowDown(from, to, nearest, origin, gap) {
  const { x, y } = halfPixels(origin);
  const box = (node) => node.closest(".gv-cell").getBoundingClientRect();
  const a = box(from), b = box(to);
  const turn = y((a.bottom + box(nearest).top) / 2), start = x((a.left + a.right) / 2);
  const stem = "M" + start + " " + y(a.bottom + gap) + "V" + turn;
  return { stem, twig: "M" + start + " " + turn + "H" + x((b.left + b.right) / 2) + "V" + y(b.top - gap) };
}

/** Coordinates within the drawing, in the middle of a pixel so that thin lines stay sharp. */
function halfPixels(origin) {
  return { x: (value) => Math.round(value - origin.left) + 0.5, y: (value) => Math.round(value - origin.top) + 0.5 };
}
