"""The spectrum of one picture's Gram matrix and all that an analyst reads from it, in float64.

Knows features only: no network, no picture. G itself is never formed: what is shown of it comes from the smaller of
X X^T and X^T X, from sums over rows and from transforms of the grid.

Letters: P patches on a grid [h, w], d feature width, R registers, H [P, d] features, X their rows at length 1,
G = X X^T.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gramviz.errors import InputError
from gramviz.gram.locality import similarity_by_distance
from gramviz.gram.modes import frequencies, frequency_energy, radial_profile, transform
from gramviz.gram.orders import cluster_patches
from gramviz.gram.reference import marchenko_pastur
from gramviz.gram.similarity import column_products, normalize_rows
from gramviz.metrics.geometry import outliers, scalars
from gramviz.vit.features import PatchFeatures

MOST_VECTORS = 128
CLUSTERS = 6
SEED = 0
ROUNDING = 1e-10  # an eigenvalue below this share of the largest has no vector that could be trusted
ALIKE = 5e-3  # of a grey picture, mean similarity came this close to 1 with every network that was tried


@dataclass(frozen=True, eq=False)
class Spectra:
    """What one checkpoint's features of one picture look like to an analyst.

    grid: (rows, columns), P patches in all. width: d.
    eigenvalues: [n] float64, descending, n = min(P, d); reference: [n] float64, the same of random features.
    vectors: [P, k] float32, the first eigenvectors as unit columns with a sum >= 0, k at most n and 128, without
    those whose eigenvalue is rounding. vector_frequency: [k] mean spatial frequency of each in cycles a patch,
    weighted by its energy in each mode; vector_profile: [k, bins] the share of its energy in each bin of `edges`.
    energy: [h, w] float64, energy of G in each mode of the grid, with tr G as its sum. edges [bins + 1] and profile
    [bins]: the same by radial frequency, as `gram.modes.radial_profile` has it.
    distance: [m] rounded distances in patches at which there are pairs; by_distance: [m] their mean cosine.
    lengths: [P] of the patch tokens before the final norm; outliers: [P] bool, which of them are too long.
    register_lengths: [R] the same of the registers; register_cosines: [R, P] of each to each patch.
    clusters: [P] int64, group of each patch by spectral clustering of G, 0 the largest; cluster_order: [P] int64, the
    patches group by group.
    measures: cls_alignment, mean_similarity, rayleigh, top1_energy, top3_energy, top10_energy, effective_rank,
    stable_rank, as `metrics.geometry` defines them. notes: a sentence on each thing that is degenerate.
    """

    grid: tuple[int, int]
    width: int
    eigenvalues: Tensor
    reference: Tensor
    vectors: Tensor
    vector_frequency: Tensor
    vector_profile: Tensor
    energy: Tensor
    edges: Tensor
    profile: Tensor
    distance: Tensor
    by_distance: Tensor
    lengths: Tensor
    outliers: Tensor
    register_lengths: Tensor
    register_cosines: Tensor
    clusters: Tensor
    cluster_order: Tensor
    measures: dict[str, float]
    notes: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        values = (getattr(self, field.name) for field in fields(self))
        return sum(value.numel() * value.element_size() for value in values if isinstance(value, Tensor))


def spectra_of(features: PatchFeatures) -> Spectra:
    """Everything that `Spectra` holds. Raises InputError for features that are not finite, or of one patch only."""
    _check(features)
    rows, columns, width = features.patches.shape
    patches, cls = features.patches.double(), features.cls.double()
    flat = patches.flatten(0, 1)
    x = normalize_rows(flat)
    eigvals, vectors = spectrum(x)
    energy = frequency_energy(patches)
    edges, profile = radial_profile(energy)
    vector_energy = transform(vectors.view(rows, columns, -1)).square().permute(2, 0, 1)  # [k, h, w]
    distance, by_distance = similarity_by_distance(patches)
    clusters = cluster_patches(flat, CLUSTERS, SEED)
    measures = {name: float(value) for name, value in scalars(flat, cls, eigvals).items()}
    lengths = features.token_lengths.flatten().float()
    return Spectra(
        grid=(rows, columns),
        width=width,
        eigenvalues=eigvals,
        reference=marchenko_pastur(rows * columns, width),
        vectors=vectors.float(),
        vector_frequency=(vector_energy * frequencies(rows, columns)).sum((1, 2)),
        vector_profile=radial_profile(vector_energy)[1],
        energy=energy,
        edges=edges,
        profile=profile,
        distance=distance,
        by_distance=by_distance,
        lengths=lengths,
        outliers=outliers(lengths),
        register_lengths=features.register_lengths.float(),
        register_cosines=(normalize_rows(features.registers.double()) @ x.mT).float(),
        clusters=clusters,
        cluster_order=clusters.argsort(stable=True),
        measures=measures,
        notes=_notes(features, x, clusters, measures["mean_similarity"], vectors.shape[1]),
    )


def spectrum(x: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues of G = X X^T, descending, and its first eigenvectors: [P, d] float64 -> [n], [P, k].

    With more patches than width they are X v / sqrt(lambda) of the vectors v of X^T X, n = min(P, d). k as in
    `Spectra`; the sign of a vector is such that its entries do not sum to less than 0.
    """
    patches, width = x.shape
    values, small = torch.linalg.eigh(column_products(x) if patches > width else x @ x.mT)
    values = values.flip(0).clamp(min=0)
    real = int((values > ROUNDING * values[0]).sum())
    first = small.flip(1)[:, : min(real, MOST_VECTORS)]
    vectors = x @ first if patches > width else first
    vectors = vectors / vectors.norm(dim=0)
    return values, vectors * torch.where(vectors.sum(0) < 0, -1.0, 1.0)


def _check(features: PatchFeatures) -> None:
    tensors = (
        features.patches,
        features.cls,
        features.registers,
        features.token_lengths,
        features.register_lengths,
    )
    wrong = sum(int((~tensor.isfinite()).sum()) for tensor in tensors)
    if wrong:
        raise InputError(
            f"{wrong:,} value{'' if wrong == 1 else 's'} of these features {_is(wrong)} not finite "
            "(NaN or infinite), so there is no spectrum of them."
        )
    rows, columns = features.patches.shape[:2]
    if rows * columns < 2:
        raise InputError(f"A spectrum needs at least 2 patches, got {rows} x {columns}.")


def _notes(
    features: PatchFeatures, x: Tensor, clusters: Tensor, similarity: float, vectors: int
) -> tuple[str, ...]:
    rows, columns, width = features.patches.shape
    empty = int((x.square().sum(1) == 0).sum())
    groups = int(clusters.max()) + 1
    most = min(rows * columns, width, MOST_VECTORS)
    one = empty == 1
    found = {
        f"All patches point nearly the same way (mean cosine {similarity:.4f}), as on a picture of one colour: "
        "beside the first eigenvalue, all that is shown tells of tiny differences.": similarity > 1 - ALIKE,
        f"{empty} of {rows * columns} patches {'has' if one else 'have'} length 0 and so no direction: "
        f"{'its' if one else 'their'} cosines count as 0.": empty,
        f"Only {vectors} of the first {most} eigenvalues {_is(vectors)} more than rounding ({ROUNDING:g} of the "
        "largest); the others have no eigenvector to show.": 2 * vectors < most,
        f"The patches differ in too few ways for {CLUSTERS} groups: there {_is(groups)} {groups}.": groups
        < CLUSTERS,
        "The grid is a single line of patches: frequency and distance are measured along it.": (
            min(rows, columns) == 1
        ),
        "This network has no CLS token: the mean patch stands in for it.": features.cls_is_mean,
    }
    return tuple(sentence for sentence, true in found.items() if true)


def _is(number: int) -> str:
    return "is" if number == 1 else "are"
