// G from the rows of a factor: numbers only, in pieces that leave the page its frames.

const LARGEST = 1024; // patches of a matrix; of more, evenly chosen ones
const TILE = 4; // patches side by side in the innermost loop

/** G of some patches: each cosine once for both of its places, two rows and four columns at a time. */
class GramTask {
  /** rows: a factor, `rank` numbers a patch; patches: which of them, in rising order. */
  constructor(rows, rank, patches) {
    this.size = patches.length;
    this.rank = rank;
    this.stride = Math.ceil(this.size / TILE) * TILE;
    this.rows = new Float32Array(this.stride * rank); // the last tile is filled up with zeros
    patches.forEach((patch, i) => this.rows.set(rows.subarray(patch * rank, (patch + 1) * rank), i * rank));
    this.values = new Float32Array(this.stride * this.stride);
    this.next = 0;
  }

  get done() {
    return this.next >= this.stride;
  }

  /** Go on until a time of `performance.now()`. */
  work(until) {
    for (; !this.done && performance.now() < until; this.next += 2) {
      for (let j = this.next - (this.next % TILE); j < this.stride; j += TILE) this.tile(this.next, j);
    }
  }

  tile(i, j) {
    const { rows, rank, values, stride } = this;
    const p = i * rank, q = p + rank, s = j * rank, t = s + rank, u = t + rank, v = u + rank;
    // eight sums side by side: each number that is fetched is used two or four times
    let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
    for (let k = 0; k < rank; k++) {
      const a = rows[p + k], b = rows[q + k], c = rows[s + k], d = rows[t + k], e = rows[u + k], f = rows[v + k];
      a0 += a * c; a1 += a * d; a2 += a * e; a3 += a * f;
      b0 += b * c; b1 += b * d; b2 += b * e; b3 += b * f;
    }
    const above = i * stride + j, below = j * stride + i;
    values[above] = values[below] = a0;
    values[above + 1] = values[below + stride] = a1;
    values[above + 2] = values[below + 2 * stride] = a2;
    values[above + 3] = values[below + 3 * stride] = a3;
    values[above + stride] = values[below + 1] = b0;
    values[above + stride + 1] = values[below + stride + 1] = b1;
    values[above + stride + 2] = values[below + 2 * stride + 1] = b2;
    values[above + stride + 3] = values[below + 3 * stride + 1] = b3;
  }
}

/** Every s-th patch of an order, s the smallest that leaves at most `LARGEST`. */
function thinned(order) {
  const step = Math.ceil(order.length / LARGEST);
  return step === 1 ? Array.from(order) : Array.from(order).filter((_, index) => index % step === 0);
}

/** Bring values into an order: out[i, j] = values[places[i], places[j]], less those of another matrix where there is one. */
function arranged({ values, stride }, other, places) {
  const size = places.length, out = new Float32Array(size * size);
  for (let i = 0, o = 0; i < size; i++) {
    const start = places[i] * stride;
    if (other) for (let j = 0; j < size; j++, o++) out[o] = values[start + places[j]] - other.values[start + places[j]];
    else for (let j = 0; j < size; j++, o++) out[o] = values[start + places[j]];
  }
  return out;
}

/** One entry of G, at the full rank of the factor. */
function cosineOf({ rows, rank }, first, second) {
  let sum = 0;
  for (let k = 0; k < rank; k++) sum += rows[first * rank + k] * rows[second * rank + k];
  return Math.min(1, Math.max(-1, sum));
}
