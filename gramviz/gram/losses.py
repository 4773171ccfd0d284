"""The losses of DINO, iBOT, KoLeo and Gram anchoring, as functions of tensors.

Knows formulas only: no network, no schedule, no state. A centre belongs to the caller, who passes it in and
keeps what comes back. Everything is computed in float32 (float64 for float64 input), inside autocast too,
because the Gram loss squares differences of cosines.

Letters: B images, P patches, d feature width, K prototypes, N or M rows, S student views, T teacher views.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from gramviz.errors import InputError
from gramviz.gram.similarity import column_products, in_float64, normalize_rows, row_lengths

# Up to P = 2 d the P x P form is the faster one (2 P^2 d against 5 P d^2 multiplications, larger arrays).
DIRECT_UP_TO = 2
# The factor form is repeated in float64 where its sums cancel to less than this share of what they add up.
CANCELLATION = 1e-3
KOLEO_EPSILON = 1e-8


def gram_loss(student: Tensor, teacher: Tensor, *, reduction: Literal["mean", "sum"] = "mean") -> Tensor:
    """Squared difference of the cosine Gram matrices of student and teacher, [B, P, d] each; a scalar >= 0.

    With X and Y the row-normalised features this is ||X X^T - Y Y^T||_F^2, averaged over images ("sum",
    DINOv3's equation) or over images and the P^2 entries ("mean", what DINOv3's code trains with). The
    teacher gets no gradient. O(P d min(P, d)) time; O(min(P, d)^2) memory an image, beside a few arrays of
    the inputs' size.

    Measured on float32 features against float64 (P 36 to 1024, d 128 and 384, student = teacher plus noise,
    also rotated): at a mean loss of 1e-3 / 1e-6 / 1e-8 the value is off by at most 1e-6 / 1e-5 / 6e-5 of
    itself and the gradient by 1e-6 / 5e-5 / 5e-4, which is the rounding of X and Y themselves. The plain P x
    P form in float32 does no better; ||X^T X||^2 + ||Y^T Y||^2 - 2 ||X^T Y||^2 has no digit left at 1e-8.

    Raises InputError if the shapes differ or hold nothing.
    """
    _check_shapes(student, teacher)
    patches, width = student.shape[-2:]
    with _full_precision(student):
        sums: Tensor = _GramFrobenius.apply(
            student.reshape(-1, patches, width), teacher.detach().reshape(-1, patches, width)
        )
        return sums.mean() / patches**2 if reduction == "mean" else sums.mean()


def gram_gradient(student: Tensor, teacher: Tensor) -> Tensor:
    """Gradient of ||X X^T - Y Y^T||_F^2 with respect to the raw student features, [..., P, d] like them.

    dL/dX = 4 (X X^T - Y Y^T) X and, through the normalisation, dL/dh_i = (I - x_i x_i^T) (dL/dx_i) / |h_i|. A
    zero row has no direction to turn and gets zero. Each image stands alone: no mean over the leading
    dimensions. Raises InputError as gram_loss does.
    """
    _check_shapes(student, teacher)
    with torch.no_grad(), _full_precision(student):
        shape = (-1, *student.shape[-2:])
        _, gradient = _frobenius(student.reshape(shape), teacher.reshape(shape), with_gradient=True)
        assert gradient is not None
        return gradient.reshape(student.shape)


def _check_shapes(student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape or student.ndim < 2 or student.numel() == 0:
        raise InputError(
            f"The Gram loss compares features [images, patches, width] of one shape, "
            f"got student {tuple(student.shape)} and teacher {tuple(teacher.shape)}."
        )


class _GramFrobenius(torch.autograd.Function):
    """[B, P, d] twice -> Frobenius sums [B]; the gradient is made on the way and is all that is kept."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        value, gradient = _frobenius(student, teacher, with_gradient=ctx.needs_input_grad[0])
        if gradient is not None:
            ctx.save_for_backward(gradient)
        ctx.student_dtype = student.dtype
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * upstream[0][:, None, None]).to(ctx.student_dtype), None


def _frobenius(student: Tensor, teacher: Tensor, *, with_gradient: bool) -> tuple[Tensor, Tensor | None]:
    """Frobenius sums [B] and, if asked for, their gradients [B, P, d] by the raw student features.

    Both forms work on D = X - Y and S = X + Y: X X^T - Y Y^T = (D S^T + S D^T) / 2 is as small as D from the
    start, where two Gram matrices, or the norms of X^T X, Y^T Y and X^T Y, are large numbers to be
    subtracted.
    """
    raw = _working(student)
    lengths = row_lengths(raw)  # [B, P, 1]
    x, y = raw / lengths, normalize_rows(teacher.to(raw.dtype))
    difference, total = x - y, y.add_(x)
    if x.shape[1] <= DIRECT_UP_TO * x.shape[2]:
        value, along_x = _direct_form(x, difference, total, with_gradient)
    else:
        value, along_x = _factor_form(difference, total, with_gradient)
    if along_x is None:
        return value, None
    radial = (x * along_x).sum(-1, keepdim=True)
    return value, along_x.addcmul_(x, radial, value=-1).div_(lengths)


def _direct_form(
    x: Tensor, difference: Tensor, total: Tensor, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Value [B] and gradient along X by one P x P product, which is then added to its own transpose."""
    half = difference @ total.mT  # [B, P, P]
    twice = half + half.mT
    value = twice.square().sum((-2, -1)) / 4
    return value, (twice @ x).mul_(2) if with_gradient else None


def _factor_form(difference: Tensor, total: Tensor, with_gradient: bool) -> tuple[Tensor, Tensor | None]:
    """Value [B] and gradient along X by d x d products, in float64 where float32 would not do.

    Nothing is lost as X nears Y. What can still cancel is a turn or a mirror image, X ~ Y Q with Q
    orthogonal: there D is large and the loss is not.
    """
    value, gradient, scale = _factor_products(difference, total, with_gradient)
    lost = value < CANCELLATION * scale
    if value.dtype != torch.float64 and bool(lost.any()):
        exact, exact_gradient, _ = _factor_products(
            in_float64(difference[lost]), in_float64(total[lost]), with_gradient
        )
        value[lost] = exact.to(value)
        if gradient is not None and exact_gradient is not None:
            gradient[lost] = exact_gradient.to(gradient)
    return value.clamp_(min=0), gradient


def _factor_products(d: Tensor, s: Tensor, with_gradient: bool) -> tuple[Tensor, Tensor | None, Tensor]:
    """||D S^T + S D^T||^2 / 4 = (<D^T D, S^T S> + <M, M^T>) / 2, M = D^T S; gradient along X; rounding scale.

    The scale ||D^T D|| ||S^T S|| bounds both inner products and so, times a few 1e-8, their rounding, which
    may take the value below zero. The gradient 4 (X X^T - Y Y^T) X = 2 (D S^T X + S D^T X) follows from the
    same products by X = (S + D) / 2.
    """
    dd, ss, ds = column_products(d), column_products(s), d.mT @ s  # [B, d, d] each
    value = ((dd * ss).sum((-2, -1)) + (ds * ds.mT).sum((-2, -1))) / 2
    scale = torch.linalg.matrix_norm(dd) * torch.linalg.matrix_norm(ss)
    if not with_gradient:
        return value, None, scale
    gradient = d @ ss.add_(ds.mT)
    return value, gradient.baddbmm_(s, ds.add_(dd)), scale


def softmax_center(teacher_logits: Tensor, center: Tensor, temperature: float) -> Tensor:
    """DINO's targets softmax((logits - center) / temperature): [N, K] and [K] -> [N, K], rows sum to 1."""
    return torch.softmax((_working(teacher_logits) - _working(center)) / temperature, dim=-1)


def update_center(center: Tensor, teacher_logits: Tensor, momentum: float) -> Tensor:
    """New centre [K]: momentum * center + (1 - momentum) * mean of the logits [N, K]; the old one stays."""
    return momentum * _working(center) + (1 - momentum) * _working(teacher_logits).mean(0)


def sinkhorn_knopp(teacher_logits: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Targets of SwAV and DINOv2: exp(logits / temperature) scaled in turn to equal column and row sums.

    [N, K] -> [N, K]; rows sum to 1, prototypes (columns) to about N / K, nearer with more iterations. Done on
    logarithms, since the exponentials overflow, or leave empty rows, once logits / temperature differ by more
    than about 88.
    """
    log_q = _working(teacher_logits) / temperature
    for _ in range(iterations):
        log_q = log_q - torch.logsumexp(log_q, dim=0, keepdim=True)
        log_q = log_q - torch.logsumexp(log_q, dim=1, keepdim=True)
    return log_q.exp()


def dino_loss(
    student_logits: Tensor, teacher_targets: Tensor, student_temperature: float, *, skip_same: bool
) -> Tensor:
    """Mean cross-entropy over the pairs (student view s, teacher view t) and the images, a scalar.

    student_logits [S, B, K], teacher_targets [T, B, K]. With skip_same the pairs s == t are left out: the
    first T student views are the teacher's own. Raises InputError if no pair is left or the shapes do not
    fit.
    """
    if student_logits.shape[1:] != teacher_targets.shape[1:]:
        raise InputError(
            f"DINO compares views with equal [images, prototypes], got student logits "
            f"{tuple(student_logits.shape)} and teacher targets {tuple(teacher_targets.shape)}."
        )
    views, targets, images = len(student_logits), len(teacher_targets), student_logits.shape[1]
    pairs = views * targets - (min(views, targets) if skip_same else 0)
    if pairs == 0:
        raise InputError(f"{views} student and {targets} teacher views leave no pair of different views.")
    with _full_precision(student_logits):
        log_p = F.log_softmax(_working(student_logits) / student_temperature, dim=-1)
        agreement = log_p.flatten(1) @ _working(teacher_targets).flatten(1).T  # [S, T]
        total = agreement.sum() - (agreement.diagonal().sum() if skip_same else 0)
        return -total / (pairs * images)


def ibot_loss(
    student_logits: Tensor, teacher_targets: Tensor, student_temperature: float, weights: Tensor
) -> Tensor:
    """Weighted sum of the cross-entropies of M masked patches, sum_i w_i CE_i, a scalar.

    student_logits and teacher_targets [M, K], weights [M]. With weights 1 / (masked patches in that view *
    views) this is iBOT's mean of the views' means. No masked patch gives 0.
    """
    log_p = F.log_softmax(_working(student_logits) / student_temperature, dim=-1)
    return -((_working(teacher_targets) * log_p).sum(-1) * weights).sum()


def koleo_loss(features: Tensor) -> Tensor:
    """Kozachenko-Leonenko spread as in DINOv2: -mean log distance to the nearest neighbour, a scalar.

    features [B, d], one view of B images, normalised here. A feature equal to its neighbour counts -log(1e-8),
    about 18.4, and has no direction to be pushed in. Raises InputError for fewer than two features.
    """
    if len(features) < 2:
        raise InputError(f"KoLeo needs at least 2 features to find neighbours, got {len(features)}.")
    with _full_precision(features):
        x = normalize_rows(_working(features))
        with torch.no_grad():
            nearest = (x @ x.T).fill_diagonal_(-2).argmax(1)
        distances = torch.linalg.vector_norm(x - x[nearest], dim=-1)  # whose gradient at 0 is 0
        return -torch.log(distances + KOLEO_EPSILON).mean()


def _working(values: Tensor) -> Tensor:
    """float64 as it is, everything else as float32."""
    return values if values.dtype == torch.float64 else values.float()


def _full_precision(like: Tensor) -> torch.autocast:
    """The block under it computes in its tensors' own type, whatever autocast stands around it."""
    return torch.autocast(device_type=like.device.type, enabled=False)
