"""The Gram loss and its gradient against numpy loops, autograd of the plain form, by hand, and near zero."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gramviz.errors import InputError
from gramviz.gram.losses import gram_gradient, gram_loss

PROPERTY = settings(deadline=None, max_examples=30, derandomize=True)
seeds = st.integers(0, 10_000)
# P far below d, P up to 2 d and beyond: both forms of the loss and their border; widths over one stripe too.
SHAPES = [(1, 1), (1, 5), (2, 7), (7, 2), (8, 4), (9, 4), (30, 40), (300, 140)]


def random_features(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


def random_rotation(seed, width):
    generator = np.random.default_rng(seed)
    return torch.from_numpy(np.linalg.qr(generator.normal(size=(width, width)))[0])


def numpy_sum(student, teacher):
    """||X X^T - Y Y^T||_F^2 of one image in float64."""
    grams = []
    for features in (student, teacher):
        rows = features.detach().double().numpy()
        lengths = np.sqrt((rows**2).sum(1, keepdims=True))
        x = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
        grams.append(x @ x.T)
    return float(((grams[0] - grams[1]) ** 2).sum())


def plain_sum(student, teacher):
    """The same by torch operations that autograd can follow, one value an image."""
    x = student / student.norm(dim=-1, keepdim=True)
    y = teacher / teacher.norm(dim=-1, keepdim=True)
    return (x @ x.mT - y @ y.mT).square().sum((-2, -1))


def loss_and_gradient(student, teacher, **options):
    student = student.clone().requires_grad_()
    loss = gram_loss(student, teacher, **options)
    (gradient,) = torch.autograd.grad(loss, student)
    return loss.detach(), gradient


def plain_gradient(student, teacher):
    student = student.double().requires_grad_()
    (gradient,) = torch.autograd.grad(plain_sum(student, teacher.double()).sum(), student)
    return gradient


def relative(actual, expected):
    return float((actual.double() - expected).norm() / expected.norm())


def test_by_hand_two_patches():
    student = torch.tensor([[[1.0, 0.0], [0.0, 3.0]]])  # cosine 0
    teacher = torch.tensor([[[2.0, 0.0], [3.0, 4.0]]])  # cosine 0.6
    assert float(gram_loss(student, teacher, reduction="sum")) == pytest.approx(2 * 0.36)
    assert float(gram_loss(student, teacher)) == pytest.approx(2 * 0.36 / 4)
    # dL/dx_1 = 4 * -0.6 x_2, at right angles to x_1, |h_1| = 1; the other way round, |h_2| = 3.
    expected = torch.tensor([[[0.0, -2.4], [-0.8, 0.0]]])
    torch.testing.assert_close(gram_gradient(student, teacher), expected)


def test_by_hand_three_patches_in_one_dimension():
    student = torch.tensor([[[2.0], [5.0], [-1.0]]])
    teacher = torch.tensor([[[1.0], [1.0], [1.0]]])
    assert float(gram_loss(student, teacher, reduction="sum")) == pytest.approx(4 * 2**2)
    assert torch.equal(gram_gradient(student, teacher), torch.zeros(1, 3, 1))


@pytest.mark.parametrize(("patches", "width"), SHAPES)
def test_value_matches_numpy(patches, width):
    student, teacher = random_features(1, 3, patches, width), random_features(2, 3, patches, width)
    sums = [numpy_sum(student[i], teacher[i]) for i in range(3)]
    tolerance = {"rel": 1e-5, "abs": 1e-10}
    assert float(gram_loss(student, teacher, reduction="sum")) == pytest.approx(np.mean(sums), **tolerance)
    assert float(gram_loss(student, teacher)) == pytest.approx(np.mean(sums) / patches**2, **tolerance)


@pytest.mark.parametrize(("patches", "width"), [shape for shape in SHAPES if min(shape) > 1])
def test_gradient_matches_autograd_of_the_plain_form(patches, width):
    student, teacher = random_features(3, 2, patches, width), random_features(4, 2, patches, width)
    expected = plain_gradient(student, teacher)
    assert relative(gram_gradient(student, teacher), expected) < 3e-6
    assert relative(loss_and_gradient(student, teacher, reduction="sum")[1], expected / 2) < 3e-6
    assert relative(loss_and_gradient(student, teacher)[1], expected / (2 * patches**2)) < 3e-6


@pytest.mark.parametrize(("patches", "width"), [(2, 3), (5, 2), (4, 4)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradcheck(patches, width, reduction):
    student, teacher = (random_features(seed, 2, patches, width).double() for seed in (5, 6))
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda h: gram_loss(h, teacher, reduction=reduction), (student,))


def test_upstream_gradient_and_no_gradient_for_the_teacher():
    student, teacher = (
        random_features(7, 1, 6, 3).requires_grad_(),
        random_features(8, 1, 6, 3).requires_grad_(),
    )
    (5 * gram_loss(student, teacher, reduction="sum")).backward()
    torch.testing.assert_close(student.grad, 5 * gram_gradient(student.detach(), teacher.detach()))
    assert teacher.grad is None


def test_inputs_are_left_as_they_are():
    student, teacher = random_features(9, 2, 12, 3).requires_grad_(), random_features(10, 2, 12, 3)
    kept = student.detach().clone(), teacher.clone()
    gram_loss(student, teacher).backward()
    assert torch.equal(student.detach(), kept[0])
    assert torch.equal(teacher, kept[1])


@pytest.mark.parametrize("shape", [(6, 3), (3, 6)])
def test_a_single_image_may_come_without_a_batch(shape):
    student, teacher = random_features(11, *shape), random_features(12, *shape)
    assert torch.equal(gram_loss(student, teacher), gram_loss(student[None], teacher[None]))
    assert torch.equal(gram_gradient(student, teacher), gram_gradient(student[None], teacher[None])[0])


@pytest.mark.parametrize(("patches", "width"), [(5, 4), (12, 4)])
def test_zero_rows_have_cosine_zero_and_no_gradient(patches, width):
    student, teacher = random_features(13, 1, patches, width), random_features(14, 1, patches, width)
    student[0, 1], teacher[0, 1], teacher[0, 2] = 0, 0, 0
    loss, gradient = loss_and_gradient(student, teacher, reduction="sum")
    assert float(loss) == pytest.approx(numpy_sum(student[0], teacher[0]), rel=1e-5)
    assert gradient.isfinite().all()
    assert torch.equal(gradient[0, 1], torch.zeros(width))
    assert gradient[0, 2].norm() > 0


def test_not_a_number_is_not_hidden():
    student, teacher = random_features(15, 1, 6, 2), random_features(16, 1, 6, 2)
    student[0, 3, 1] = math.nan
    assert gram_loss(student, teacher).isnan()


@pytest.mark.parametrize(("patches", "width"), [(12, 16), (60, 16), (200, 64)])
@pytest.mark.parametrize("noise", [1e-2, 1e-3, 3e-4])
@pytest.mark.parametrize("turned", [False, True])
def test_digits_survive_near_zero_loss(patches, width, noise, turned):
    """Down to a mean loss of about 1e-8 the value keeps four digits and the gradient three, turned or not."""
    teacher = random_features(17, 1, patches, width)
    student = teacher + noise * random_features(18, 1, patches, width)
    if turned:
        student = (student.double() @ random_rotation(19, width)).float()
    loss, gradient = loss_and_gradient(student, teacher, reduction="sum")
    expected = numpy_sum(student[0], teacher[0])
    assert expected / patches**2 < 3e-5
    assert float(loss) == pytest.approx(expected, rel=1e-4)
    assert relative(gradient, plain_gradient(student, teacher)) < 1e-3


def test_only_some_images_of_a_batch_may_be_rotated():
    teacher = random_features(20, 3, 40, 8)
    student = random_features(21, 3, 40, 8)
    student[1] = (teacher[1].double() @ random_rotation(22, 8)).float()
    loss, gradient = loss_and_gradient(student, teacher, reduction="sum")
    sums = [numpy_sum(student[i], teacher[i]) for i in range(3)]
    assert float(loss) == pytest.approx(np.mean(sums), rel=1e-5)
    assert relative(gradient, plain_gradient(student, teacher) / 3) < 3e-6
    assert sums[1] < 1e-10


def test_mirror_images_whose_products_cancel_term_by_term():
    """D and S then lie in different directions: every sum of the d x d form is a rounding, the loss 0."""
    student = random_features(26, 1, 30, 2)
    mirrored = student * torch.tensor([1.0, -1.0])
    turned = random_rotation(27, 2).float()
    loss, gradient = loss_and_gradient(student @ turned, mirrored @ turned)
    assert float(loss) == pytest.approx(0, abs=1e-12)
    assert gradient.abs().max() < 1e-7


def test_rounding_never_takes_the_loss_below_zero():
    student = torch.stack([random_features(seed, 30, 3) for seed in range(50)]).double()
    for seed in range(5):
        turned = student @ random_rotation(seed, 3)
        each = torch.stack([gram_loss(one, other) for one, other in zip(student, turned, strict=True)])
        assert each.min() >= 0
        assert each.max() < 1e-15


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_features_lose_nothing(shape):
    features = random_features(23, 2, *shape)
    loss, gradient = loss_and_gradient(features, features.clone())
    assert float(loss) == 0
    assert torch.equal(gradient, torch.zeros(2, *shape))


@PROPERTY
@given(seeds, st.integers(1, 20), st.integers(1, 8), st.floats(0, 2))
def test_loss_is_never_negative_and_blind_to_rotations(seed, patches, width, noise):
    teacher = random_features(seed, 1, patches, width)
    student = teacher + noise * random_features(seed + 1, 1, patches, width)
    turned = (student.double() @ random_rotation(seed, width)).float()
    loss = float(gram_loss(student, teacher))
    assert loss >= 0
    assert float(gram_loss(turned, teacher)) == pytest.approx(loss, rel=1e-4, abs=1e-9)
    assert float(gram_loss(student, turned)) == pytest.approx(0, abs=1e-11)


@PROPERTY
@given(seeds, st.integers(1, 20), st.integers(1, 8))
def test_reordering_both_reorders_the_gradient_and_swapping_keeps_the_loss(seed, patches, width):
    student, teacher = random_features(seed, 1, patches, width), random_features(seed + 1, 1, patches, width)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(patches))
    gradient = gram_gradient(student, teacher)
    moved = gram_gradient(student[:, order], teacher[:, order])
    torch.testing.assert_close(
        moved, gradient[:, order], rtol=1e-4, atol=1e-5 * float(gradient.abs().max()) + 1e-6
    )
    swapped = float(gram_loss(teacher, student))
    assert swapped == pytest.approx(float(gram_loss(student, teacher)), rel=1e-5, abs=1e-12)


@PROPERTY
@given(seeds, st.integers(2, 12), st.integers(2, 6))
def test_gradient_is_tangent_and_falls_with_length(seed, patches, width):
    """The loss does not see lengths: no gradient along a row, and half of it for a row twice as long."""
    student, teacher = random_features(seed, 1, patches, width), random_features(seed + 1, 1, patches, width)
    gradient = gram_gradient(student, teacher)
    radial = (gradient * student).sum(-1)
    assert radial.abs().max() <= 1e-5 * (gradient.norm() * student.norm()).clamp(min=1)
    torch.testing.assert_close(gram_gradient(2 * student, teacher), gradient / 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("patches", [6, 20])
def test_half_precision_is_computed_in_float32_inside_autocast(dtype, patches):
    student, teacher = random_features(24, 2, patches, 4).to(dtype), random_features(25, 2, patches, 4)
    student.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = gram_loss(student, teacher)
    loss.backward()
    assert loss.dtype == torch.float32
    assert student.grad.dtype == dtype
    expected = np.mean([numpy_sum(student[i], teacher[i]) for i in range(2)]) / patches**2
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("student", "teacher"),
    [((2, 3, 4), (2, 3, 5)), ((2, 0, 4), (2, 0, 4)), ((3,), (3,)), ((0, 2, 2), (0, 2, 2))],
)
def test_impossible_features_are_refused(student, teacher):
    for function in (gram_loss, gram_gradient):
        with pytest.raises(InputError, match="one shape"):
            function(torch.ones(student), torch.ones(teacher))


@pytest.mark.parametrize("patches", [6, 20])
def test_the_student_sets_the_precision(patches):
    student, teacher = random_features(28, 1, patches, 4), random_features(29, 1, patches, 4)
    assert torch.equal(gram_loss(student, teacher.double()), gram_loss(student, teacher))
    assert gram_loss(student.double(), teacher).dtype == torch.float64
