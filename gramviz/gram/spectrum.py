"""The spectrum of the Gram matrix and what is read from it: energy shares, effective rank, mean similarity.

Knows tensors only. G [P, P] itself is never formed where a sum over rows or the smaller of X X^T and X^T X
will do.

Letters: H [P, d] patch features, X its rows brought to length 1, G = X X^T, P patches, d feature width.
"""

import torch
from torch import Tensor

from gramviz.errors import InputError
from gramviz.gram.similarity import column_products, cosine_map, in_float64, normalize_rows


def eigenvalues(features: Tensor) -> Tensor:
    """The eigenvalues of G, descending, >= 0, without those that must be 0: [..., P, d] -> [..., min(P, d)].

    X X^T and X^T X share their non-zero eigenvalues, so the smaller is used. Their sum is the trace of G, the
    number of rows that are not zero. In float32 each is right to about 1e-6 of the largest; float64 features
    are worked in float64.

    Raises InputError if there is no patch, no width, or a value that is not finite.
    """
    x = normalize_rows(features if features.dtype == torch.float64 else features.float())
    if x.ndim < 2 or x.numel() == 0 or not bool(x.sum().isfinite()):
        raise InputError(
            f"A spectrum needs finite features [..., patches, width], got {tuple(features.shape)}."
        )
    small = column_products(x) if x.shape[-2] > x.shape[-1] else x @ x.mT
    if small.device.type == "mps":  # which has no eigenvalue solver
        return torch.linalg.eigvalsh(small.cpu()).flip(-1).clamp(min=0).to(small.device)
    return torch.linalg.eigvalsh(small).flip(-1).clamp(min=0)


def singular_energies(rows: Tensor) -> Tensor:
    """Squared singular values of matrices, descending: [..., M, K] -> float64 [..., min(M, K)].

    From the smaller of the two products with its transpose, in float64, so each is right to about 1e-15 of the
    largest.
    """
    a = in_float64(rows)
    small = a.mT @ a if a.shape[-2] > a.shape[-1] else a @ a.mT
    return torch.linalg.eigvalsh(small).flip(-1).clamp(min=0)


def energy_shares(eigvals: Tensor) -> Tensor:
    """Eigenvalues [..., n] divided by their sum: [..., n] in 0..1; all zero stays all zero."""
    total = eigvals.sum(-1, keepdim=True)
    return eigvals / torch.where(total > 0, total, torch.inf)


def energy_share(eigvals: Tensor, k: int) -> Tensor:
    """Share of the first k of descending eigenvalues [..., n] in their sum: [...] in 0..1; 0 if all are zero.

    Raises InputError for k < 1.
    """
    if k < 1:
        raise InputError(f"An energy share is of at least the first eigenvalue, got k = {k}.")
    return energy_shares(eigvals)[..., :k].sum(-1).clamp(max=1)


def effective_rank(eigvals: Tensor) -> Tensor:
    """exp(entropy of the energy shares) of eigenvalues [..., n]: [...] in 1..n; 0 if all are zero.

    Roy and Vetterli, "The effective rank" (EUSIPCO 2007): n equal eigenvalues give n, a single one gives 1.
    """
    shares = energy_shares(eigvals)
    entropy = -torch.special.xlogy(shares, shares).sum(-1)
    return torch.where(shares.sum(-1) > 0, entropy.exp(), 0.0)


def stable_rank(eigvals: Tensor) -> Tensor:
    """||G||_F^2 / ||G||_2^2 of eigenvalues [..., n] of G: [...] in 1..n; 0 if all are zero.

    Rudelson and Vershynin, "Sampling from large matrices" (JACM 2007). That of X itself, tr G / ||G||_2, is but
    the inverse of the first energy share.
    """
    total, largest = eigvals.square().sum(-1), eigvals.amax(-1).square()
    return total / torch.where(total > 0, largest, 1.0)


def rayleigh_along_ones(features: Tensor) -> Tensor:
    """1^T G 1 / P = |sum of X's rows|^2 / P: [..., P, d] -> [...] in 0..P; at P all rows point one way."""
    return normalize_rows(features).sum(-2).square().sum(-1) / features.shape[-2]


def mean_similarity(features: Tensor) -> Tensor:
    """Mean of G off its diagonal, [..., P, d] -> [...] in [-1 / (P - 1), 1].

    In O(P d), as (|sum of X's rows|^2 - tr G) / (P (P - 1)).

    Raises InputError for fewer than two patches, which have no pair.
    """
    patches = features.shape[-2]
    if patches < 2:
        raise InputError(f"Mean similarity is over pairs of patches and needs at least 2, got {patches}.")
    x = normalize_rows(features)
    return (x.sum(-2).square().sum(-1) - x.square().sum((-2, -1))) / (patches * (patches - 1))


def cls_alignment(features: Tensor, cls: Tensor) -> Tensor:
    """Mean cosine of the patches to the CLS feature, [..., P, d] and [..., d] -> [...] in [-1, 1]."""
    return cosine_map(features, cls).mean(-1)


def measures(features: Tensor, cls: Tensor) -> dict[str, float]:
    """The measures that are shown of one picture, of features [P, d] and CLS [d]; P must be at least 2.

    Keys: cls_alignment, mean_similarity, effective_rank and top1_energy (`energy_share` of the first eigenvalue).
    """
    spectrum = eigenvalues(features)
    return {
        "cls_alignment": float(cls_alignment(features, cls)),
        "mean_similarity": float(mean_similarity(features)),
        "effective_rank": float(effective_rank(spectrum)),
        "top1_energy": float(energy_share(spectrum, 1)),
    }
