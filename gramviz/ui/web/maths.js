// Numbers only: from the stored half floats to cosines. Rows are the patches of one checkpoint, the last row is CLS.

/** Widen IEEE half floats exactly: move the bits into place, then make up for the two exponent biases (2^112). */
function widenHalfFloats(buffer) {
  const half = new Uint16Array(buffer);
  const bits = new Uint32Array(half.length);
  for (let i = 0; i < half.length; i++) bits[i] = ((half[i] & 0x8000) << 16) | ((half[i] & 0x7fff) << 13);
  const values = new Float32Array(bits.buffer);
  for (let i = 0; i < values.length; i++) values[i] *= 2 ** 112;
  return values;
}

/** Mean of the positive rows minus the mean of the negative ones. */
function queryVector(rows, rank, positive, negative) {
  const query = new Float64Array(rank);
  const add = (indices, weight) => {
    for (const index of indices) {
      const start = index * rank;
      for (let k = 0; k < rank; k++) query[k] += weight * rows[start + k];
    }
  };
  if (positive.length) add(positive, 1 / positive.length);
  if (negative.length) add(negative, -1 / negative.length);
  return query;
}

const norm = (vector) => Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0));

/** Cosine of every patch to the query, into `out`: <q, f_j> / |q|, as the rows already have norm 1 (or 0). */
function cosines(rows, rank, query, out) {
  const length = norm(query);
  if (length === 0) return out.fill(0);
  const q = Float64Array.from(query, (x) => x / length);
  const even = rank - (rank % 4);
  for (let j = 0, start = 0; j < out.length; j++, start += rank) {
    // Four sums side by side: the processor need not wait for one addition before the next.
    let a = 0, b = 0, c = 0, d = 0, k = 0;
    for (; k < even; k += 4) {
      const i = start + k;
      a += q[k] * rows[i];
      b += q[k + 1] * rows[i + 1];
      c += q[k + 2] * rows[i + 2];
      d += q[k + 3] * rows[i + 3];
    }
    for (; k < rank; k++) a += q[k] * rows[start + k];
    const cosine = a + b + (c + d);
    out[j] = cosine < -1 ? -1 : cosine > 1 ? 1 : cosine;
  }
  return out;
}

/**
 * How far a cosine may be off when every stored entry <f_i, f_j> is within `error`: the dot product with a query of
 * total weight w is within w * error, and the query's length within w^2 * error / |q|.
 */
function cosineError(error, weight, length) {
  return length === 0 ? 0 : (weight * error * (1 + weight / length)) / length;
}

/** Cosines of every patch to { positive, negative } into `out`; returns how far they may be off. */
function answer({ rows, rank, error }, { positive, negative }, out) {
  const query = queryVector(rows, rank, positive, negative);
  cosines(rows, rank, query, out);
  return cosineError(error, (positive.length > 0) + (negative.length > 0), norm(query));
}

/** Smallest and largest value. */
function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}
