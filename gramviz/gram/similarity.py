"""Cosines between patch features: normalised rows, Gram matrix, maps of a query, a small factor for G.

Knows tensors only; what a row depicts, on which grid it lies and how a map is coloured is settled elsewhere.

Letters: H [P, d] patch features, X its rows brought to length 1, G = X X^T [P, P], P patches, d feature
width, k rank.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gramviz.errors import InputError

# A shorter row counts as zero: its squares leave float32's range and with them goes its direction.
SHORTEST_ROW = 1e-12
STRIPE = 128
INT8_STEPS = 127


def row_lengths(features: Tensor) -> Tensor:
    """Divisors of rows, [..., P, d] -> [..., P, 1]: lengths, infinite for zero rows, which so stay zero."""
    lengths = torch.linalg.vector_norm(features, dim=-1, keepdim=True)
    return torch.where(lengths < SHORTEST_ROW, torch.inf, lengths)


def normalize_rows(features: Tensor) -> Tensor:
    """X: each row of H [..., P, d] divided by its length; same shape.

    A zero row (shorter than 1e-12) stays zero and so has cosine 0 to everything; its gradient is zero too. A
    row that holds a not-a-number keeps it.
    """
    return features / row_lengths(features)


def gram_matrix(features: Tensor) -> Tensor:
    """G = X X^T: cosines of all pairs of rows, [..., P, d] -> [..., P, P]."""
    x = normalize_rows(features)
    return x @ x.mT


def column_products(z: Tensor) -> Tensor:
    """Z^T Z, [..., P, d] -> [..., d, d]; of X, the d x d matrix that shares its non-zero eigenvalues with G.

    By stripes up to the diagonal: what lies beyond is a transpose, which saves up to half the multiplications.
    """
    width = z.shape[-1]
    products = z.new_empty(*z.shape[:-2], width, width)
    for start in range(0, width, STRIPE):
        stop = min(start + STRIPE, width)
        stripe = z[..., :stop].mT @ z[..., start:stop]
        products[..., :stop, start:stop] = stripe
        products[..., start:stop, :start] = stripe[..., :start, :].mT
    return products


def query_vector(features: Tensor, positive: Sequence[int], negative: Sequence[int] = ()) -> Tensor:
    """Mean of the normalised positive rows less the mean of the normalised negative ones, [P, d] -> [d].

    Raises InputError if no positive row is given or an index is not in 0..P-1.
    """
    if not positive:
        raise InputError("A query needs at least one positive patch, got none.")
    patches = features.shape[-2]
    for index in (*positive, *negative):
        if not 0 <= index < patches:
            raise InputError(f"Patch {index} does not exist; the patches are 0 to {patches - 1}.")
    query = normalize_rows(features[list(positive)]).mean(0)
    return query - normalize_rows(features[list(negative)]).mean(0) if negative else query


def region_query(features: Tensor, mask: Tensor) -> Tensor:
    """Mean of the normalised rows where `mask` is true, [P, d] and bool [P] -> [d].

    Raises InputError if the mask has another shape or type, or selects nothing.
    """
    if mask.dtype != torch.bool or mask.shape != features.shape[:-1]:
        raise InputError(
            f"A region is a bool mask of {features.shape[0]} patches, got {mask.dtype} {tuple(mask.shape)}."
        )
    return query_vector(features, mask.nonzero().flatten().tolist())


def cosine_map(features: Tensor, query: Tensor) -> Tensor:
    """Cosines of rows to the query, [..., P, d] and [..., d] -> [..., P] in [-1, 1]; 0 for a zero query."""
    cosines = normalize_rows(features) @ normalize_rows(query.unsqueeze(-2)).mT  # [..., P, 1]
    return cosines.squeeze(-1).clamp(-1, 1)


@dataclass(frozen=True)
class LowRankFactor:
    """rows [P, k] float32 with rows rows^T ~ G; no entry of G is off by more than `error`."""

    rows: Tensor
    error: float


def low_rank_factor(features: Tensor, tolerance: float = 1e-3, max_rank: int | None = None) -> LowRankFactor:
    """The best rank-k stand-in for G (Eckart-Young), k the smallest that keeps all entries in tolerance.

    `max_rank` caps k; the error then says what was lost. The columns are ordered by energy, so any first few
    of them are the best factor of that rank. The residual of a best rank-k is positive semi-definite, hence
    |R_ij| <= sqrt(R_ii R_jj) and its largest entry lies on the diagonal: `error` = max_i R_ii, computed in
    float64, plus what rounding the rows to float32 can do. It bounds the factor itself, not the rounding of
    whoever multiplies it out.

    Raises InputError for a negative tolerance, a max_rank below 1, or features not finite or not [P, d].
    """
    if tolerance < 0 or (max_rank is not None and max_rank < 1):
        raise InputError(f"Tolerance {tolerance} must be >= 0 and the highest rank {max_rank} at least 1.")
    x = normalize_rows(in_float64(features))
    if x.ndim != 2 or x.numel() == 0 or not bool(x.sum().isfinite()):
        raise InputError(f"A factor needs finite features [patches, width], got {tuple(features.shape)}.")
    if x.shape[0] > x.shape[1]:
        rows = (
            x @ torch.linalg.eigh(column_products(x)).eigenvectors
        )  # [P, n], n = min(P, d), energies ascending
    else:
        energies, vectors = torch.linalg.eigh(x @ x.mT)
        rows = vectors * energies.clamp(min=0).sqrt()
    n = rows.shape[1]
    lost = F.pad(rows.square().cumsum(-1).amax(0), (1, 0))  # [n + 1]: max_i R_ii without the j smallest
    k = max(1, n - int((lost[1:] <= tolerance).sum()))
    k = k if max_rank is None else min(k, max_rank)
    kept = rows[:, n - k :].flip(-1)
    stored = kept.float()
    return LowRankFactor(stored.to(features.device), float(lost[n - k]) + _entry_error(kept, stored))


@dataclass(frozen=True)
class QuantizedRows:
    """Rows [P, k] in few bytes: values times scale [k] (1 if None); rows rows^T moved by at most error."""

    values: Tensor
    scale: Tensor | None
    error: float


def quantize_float16(rows: Tensor) -> QuantizedRows:
    """Rows [P, k] rounded to float16, which keeps about three decimals of every component whatever its size.

    Raises InputError if a value is not finite or beyond float16's 65504.
    """
    values = rows.half()
    if not bool(values.isfinite().all()):
        raise InputError(
            f"Rows up to {float(rows.abs().max())} do not fit float16; 65504 is its largest value."
        )
    return QuantizedRows(values, None, _entry_error(rows, values))


def quantize_int8(rows: Tensor) -> QuantizedRows:
    """Rows [P, k] rounded to int8 with one scale a column, the column's largest value = 127.

    A column's scale follows the energies of a low-rank factor, so the small columns are rounded finely and
    the guaranteed error stays near 0.01 for rows of length 1. One scale a row measures alike or up to 2.7
    times better on steep spectra, but only a bound 2 to 6 times wider can be given for it, and it takes P
    scales.

    Raises InputError if a value is not finite.
    """
    if not bool(rows.isfinite().all()):
        raise InputError("Rows that are not finite cannot be stored as int8.")
    largest = rows.abs().amax(0)
    scale = torch.where(largest > 0, largest / INT8_STEPS, 1.0)
    values = (rows / scale).round().clamp(-INT8_STEPS, INT8_STEPS).to(torch.int8)
    return QuantizedRows(values, scale, _entry_error(rows, values * scale))


def dequantize(quantized: QuantizedRows) -> Tensor:
    """The stored rows as float32, [P, k]."""
    values = quantized.values.float()
    return values if quantized.scale is None else values * quantized.scale


def in_float64(values: Tensor) -> Tensor:
    """The values in float64, on their own device, or on the CPU if that (Apple's) has none."""
    return values.cpu().double() if values.device.type == "mps" else values.double()


def _entry_error(rows: Tensor, stored: Tensor) -> float:
    """Bound on the entries of rows rows^T - stored stored^T, from the actual rounding of each row.

    <a_i, a_j> - <b_i, b_j> = <a_i, a_j - b_j> + <a_i - b_i, b_j>, each at most a product of two lengths.
    """
    a, b = in_float64(rows), in_float64(stored)
    moved = (a - b).norm(dim=-1).max()
    return float(moved * (a.norm(dim=-1).max() + b.norm(dim=-1).max()))
