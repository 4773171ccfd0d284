"""The first three principal components of patch features as red, green and blue.

Knows tensors only. One basis may be fitted to the features of several checkpoints, so that their colours
compare; one fitted to each alone shows each at its most colourful. The colours are for the eye: three
components are not the features.

Letters: H [P, d] patch features, P patches, d feature width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gramviz.errors import InputError
from gramviz.gram.similarity import column_products, in_float64

COLOURS = 3
PERCENTILES = (0.01, 0.99)
# A component with less of the total variance than this is float32 rounding; it is shown as even grey.
SMALLEST_SHARE = 1e-10


@dataclass(frozen=True)
class PcaBasis:
    """mean [d], axes [d, 3] (a missing one is zero), projections shown as 0 (low [3]) and as 1 (high [3])."""

    mean: Tensor
    axes: Tensor
    low: Tensor
    high: Tensor


def pca_basis(features: Sequence[Tensor]) -> PcaBasis:
    """Principal axes of the rows of all [P_i, d] together and the 1st and 99th percentile along each.

    An axis has no sign of its own: it is turned so that the longer tail of the projections lies on the bright
    side. This depends on the rows alone, so H and H Q (Q orthogonal) get the same colours. Where rows or
    width give fewer than three components the axes left over are zero.

    Raises InputError if there is nothing to fit, the widths differ, or a value is not finite.
    """
    shapes = [tuple(each.shape) for each in features]
    if not shapes or any(len(shape) != 2 or shape[1] != shapes[0][1] or 0 in shape for shape in shapes):
        raise InputError(f"A colour basis needs features [patches, width] of one width, got {shapes}.")
    rows = in_float64(torch.cat(list(features)))
    mean = rows.mean(0)
    if not bool(mean.isfinite().all()):
        raise InputError("A colour basis cannot be fitted to features that are not finite.")
    centred = rows - mean
    axes = _principal_axes(centred)
    projected = centred @ axes  # [P, 3]
    sign = torch.where((projected * projected * projected).sum(0) < 0, -1.0, 1.0)
    low, high = torch.quantile(projected * sign, projected.new_tensor(PERCENTILES), dim=0)
    parts = (part.float().to(features[0].device) for part in (mean, axes * sign, low, high))
    return PcaBasis(*parts)


def pca_rgb(features: Tensor, basis: PcaBasis) -> Tensor:
    """Colours [P, 3] in 0..1 of features [P, d], clipped beyond the percentiles; 0.5 for a missing axis."""
    projected = (features.float() - basis.mean) @ basis.axes
    span = basis.high - basis.low
    colours = (projected - basis.low) / torch.where(span > 0, span, 1.0)
    return torch.where(span > 0, colours.clamp(0, 1), 0.5)


def _principal_axes(centred: Tensor) -> Tensor:
    """Orthonormal axes [d, 3] of centred rows [P, d] by falling variance; zero where that is rounding."""
    if centred.shape[0] > centred.shape[1]:
        energies, axes = torch.linalg.eigh(column_products(centred))
    else:
        energies, rows = torch.linalg.eigh(centred @ centred.mT)
        axes = F.normalize(centred.mT @ rows, dim=0)
    real = energies > SMALLEST_SHARE * energies.sum()
    axes = torch.where(real, axes, 0.0)[:, -COLOURS:].flip(-1)
    return F.pad(axes, (0, COLOURS - axes.shape[1]))
