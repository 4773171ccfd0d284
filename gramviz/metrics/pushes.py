"""How a loss pushes patch features: its gradient, how near that is to one matrix, and what a step on weights does.

Takes networks, heads and targets as functions and tensors; knows nothing of files, crops or training.

Letters: M masked patches, P patches, d feature width, K prototypes, H features with rows h_i, R = p - t residuals,
J_i = dz_i / dh_i the Jacobian of the head's logits z_i at h_i, theta the weights, T temperature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from gramviz.gram.similarity import in_float64, normalize_rows
from gramviz.metrics.residuals import common_share, top_share
from gramviz.metrics.watching import watched_inputs

MOST_JACOBIANS = 32
JACOBIAN_CHUNK = 32  # prototypes at once, which bounds memory at some 32 M hidden numbers

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class HeadPush:
    """The gradient of a cross-entropy over patches, sum_i CE(t_i, softmax(z_i / T)), at the head's input, three ways.

    residuals [M, K]: R. exact [M, d]: by autograd. rows [m]: the patches whose J_i were computed, evenly spread over
    the M. chained [m, d]: J_i^T r_i / T of these, equal to their rows of `exact` by the chain rule. linear [M, d]:
    R W / T with W the mean of these J_i, equation 2 of the post with the head taken for one matrix.
    """

    residuals: Tensor
    exact: Tensor
    rows: Tensor
    chained: Tensor
    linear: Tensor


def head_push(
    head: Callable[[Tensor], Tensor],
    features: Tensor,
    targets: Tensor,
    temperature: float,
    most: int = MOST_JACOBIANS,
) -> HeadPush:
    """What a head [M, d] -> [M, K] whose rows do not mix pushes features to do, with targets [M, K]; in float64.

    most: of how many patches the Jacobian is computed, which is what takes time.
    """
    leaf = features.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        logits = head(leaf)
        loss = -(targets.to(logits) * F.log_softmax(logits / temperature, dim=-1)).sum()
        (exact,) = torch.autograd.grad(loss, leaf)
    # in float64, or a row would not add up to zero and give R a rank that is rounding
    residuals = torch.softmax(in_float64(logits.detach()) / temperature, dim=-1) - in_float64(targets)
    rows = torch.linspace(0, len(features) - 1, min(most, len(features))).round().long()
    jacobians = in_float64(head_jacobians(head, features.detach()[rows]))
    return HeadPush(
        residuals=residuals,
        exact=in_float64(exact),
        rows=rows,
        chained=torch.einsum("mk,mkd->md", residuals[rows], jacobians) / temperature,
        linear=residuals @ jacobians.mean(0) / temperature,
    )


def head_jacobians(head: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    """J_i = dz_i / dh_i of a head whose rows do not mix: [M, d] -> [M, K, d], some prototypes at a time."""
    leaf = features.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        logits = head(leaf)
    chosen = torch.eye(
        logits.shape[1], dtype=logits.dtype, device=logits.device
    )  # row k picks z_k of every patch
    found = [
        torch.autograd.grad(
            logits,
            leaf,
            some[:, None].expand(-1, len(features), -1),
            retain_graph=True,
            is_grads_batched=True,
        )[0]
        for some in chosen.split(JACOBIAN_CHUNK)
    ]
    return torch.cat(found).transpose(0, 1)


@dataclass(frozen=True, eq=False)
class WeightStep:
    """A step of gradient descent on a network's weights, seen at its features H [P, d].

    features: weights -> H. weights: theta. gradient: dL/dtheta. before: H. slope: dH/drate at rate 0, that is
    -(dH/dtheta) dL/dtheta, the first order of what a step changes, per unit of the learning rate.
    """

    features: Callable[[Weights], Tensor]
    weights: Weights
    gradient: Weights
    before: Tensor
    slope: Tensor

    def change(self, rate: float) -> Tensor:
        """Delta H of a true step theta - rate dL/dtheta: [P, d]."""
        with torch.no_grad():
            moved = {name: value - rate * self.gradient[name] for name, value in self.weights.items()}
            return self.features(moved) - self.before


def weight_step(features: Callable[[Weights], Tensor], weights: Weights, push: Tensor) -> WeightStep:
    """The step on weights of a loss that depends on them through H alone, given push = dL/dH [P, d].

    dL/dtheta = (dH/dtheta)^T push, and the slope is -(dH/dtheta)(dH/dtheta)^T push: minus the push itself only if
    this product (the neural tangent kernel) were the identity.
    """
    leaves = {name: value.detach().clone().requires_grad_(True) for name, value in weights.items()}
    given = list(leaves.values())
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # the faster kernels have no second derivative
        before = features(leaves)
        along = push.to(before).clone().requires_grad_(True)
        gradient = torch.autograd.grad(before, given, along, create_graph=True, materialize_grads=True)
        # it is linear in `along`, so that its derivative by that, transposed, is dH/dtheta
        (slope,) = torch.autograd.grad(gradient, along, [each.detach() for each in gradient])
    return WeightStep(
        features=features,
        weights={name: value.detach() for name, value in leaves.items()},
        gradient={name: each.detach() for name, each in zip(leaves, gradient, strict=True)},
        before=before.detach(),
        slope=-slope,
    )


@dataclass(frozen=True, eq=False)
class BlockPush:
    """Patch tokens at the input of a block and the gradient of a loss at them, [V, P, d] each, of V views."""

    tokens: Tensor
    gradient: Tensor


def block_pushes(
    blocks: Sequence[nn.Module], loss: Callable[[], Tensor], views: Sequence[int], prefix: int
) -> list[BlockPush]:
    """How a loss pushes the patch tokens at the input of each block, for some of the views that went through.

    loss: runs the network once on all views and returns a scalar with its graph. prefix: tokens before the patches,
    which are left out. The gradient is the whole derivative, along every way from these tokens to the loss.
    """
    with torch.enable_grad(), watched_inputs(blocks) as seen:
        value = loss()
        tokens = [calls[0] for calls in seen]
        gradients = torch.autograd.grad(value, tokens)
    chosen = list(views)
    return [
        BlockPush(x[chosen, prefix:].detach(), g[chosen, prefix:])
        for x, g in zip(tokens, gradients, strict=True)
    ]


@dataclass(frozen=True)
class Commonness:
    """How near pushes D [P, d] are to one push for all, 1 a^T.

    top: share of the first squared singular value. common: share that 1 a^T explains at best (`common_share`).
    cosine: mean cosine of a patch's push to the mean push. Means over views; all are 1 for one push for all.
    """

    top: float
    common: float
    cosine: float


def commonness(pushes: Tensor) -> Commonness:
    """Of pushes [V, P, d]."""
    d = in_float64(pushes)
    mean = normalize_rows(d.mean(-2, keepdim=True))
    cosines = (normalize_rows(d) * mean).sum(-1)
    return Commonness(float(top_share(d).mean()), float(common_share(d).mean()), float(cosines.mean()))
