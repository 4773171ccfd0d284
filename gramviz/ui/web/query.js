// What is asked of the maps: the patch under the pointer, pinned patches with a sign each, or the CLS token.
// Places are kept as fractions of the picture, so that they outlive a change of the resolution.

class Query {
  constructor() {
    this.pointer = { x: 0.5, y: 0.5 };
    this.pins = [];
    this.cls = false;
    this.dragging = false;
  }

  get following() {
    return this.dragging || (!this.cls && this.pins.length === 0);
  }

  /** Replace, add or subtract the patch at a place; a second time at the same patch takes it away again. */
  pin(place, action, grid) {
    const sign = action === "subtract" ? -1 : 1;
    const index = patchAt(place, grid);
    const others = this.pins.filter((pin) => patchAt(pin, grid) !== index);
    const again = this.pins.some((pin) => patchAt(pin, grid) === index && pin.sign === sign);
    const alone = action === "pin";
    if (again && (!alone || this.pins.length === 1)) this.pins = others;
    else this.pins = [...(alone ? [] : others), { ...centreOf(index, grid), sign }];
    this.cls = false;
  }

  /** Take over what another component asks. */
  adopt({ pins, cls, pointer }) {
    Object.assign(this, { pins, cls, pointer });
  }

  clear() {
    this.pins = [];
    this.cls = false;
  }

  /** Row numbers of the factor: { positive, negative }; the row after the last patch is CLS. */
  rows(grid) {
    if (this.following) return { positive: [patchAt(this.pointer, grid)], negative: [] };
    if (this.cls) return { positive: [grid[0] * grid[1]], negative: [] };
    const ofSign = (sign) => this.pins.filter((pin) => pin.sign === sign).map((pin) => patchAt(pin, grid));
    return { positive: ofSign(1), negative: ofSign(-1) };
  }

  /** In words. */
  describe() {
    if (this.following) return "Query: the pointer";
    if (this.cls) return "Query: CLS token";
    const count = (sign) => this.pins.filter((pin) => pin.sign === sign).length;
    const [plus, minus] = [count(1), count(-1)];
    if (minus === 0) return plus === 1 ? "Query: 1 pinned patch" : "Query: mean of " + plus + " patches";
    return "Query: " + (plus || "no") + (plus === 1 ? " patch" : " patches") + " minus " + minus;
  }
}

/** Index of the patch at a place (row-major); places outside count to the nearest edge. */
function patchAt({ x, y }, [rows, columns]) {
  const clamp = (value, count) => Math.min(count - 1, Math.max(0, Math.floor(value * count)));
  return clamp(y, rows) * columns + clamp(x, columns);
}

/** The middle of a patch. */
function centreOf(index, [rows, columns]) {
  return { x: ((index % columns) + 0.5) / columns, y: (Math.floor(index / columns) + 0.5) / rows };
}
