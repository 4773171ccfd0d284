"""Equations 6 and 7 and Proposition 2 against numpy, scipy and finite differences, and where they must fail."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm, orthogonal_procrustes
from scipy.spatial.transform import Rotation

from gramviz.gram import anchoring
from gramviz.gram.anchoring import central_differences, eq6, eq7, turned_by
from gramviz.gram.descent import anchor_descent, distance, safe_rate
from gramviz.gram.maps import MAPS, permuted, pulled, rotation, scaled
from gramviz.gram.modes import radial_profile
from gramviz.gram.recovery import change_by_frequency, prop2
from tests.gram.test_lemmas import draw, lines, unit, values


def gram(h):
    x = unit(h.numpy() if isinstance(h, torch.Tensor) else h)
    return x @ x.T


@pytest.mark.parametrize("width", [1, 2, 3, 6, 33, 128])
@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 6, math.pi])
def test_a_rotation_is_orthogonal_and_the_exponential_of_its_generator(width, angle):
    q = rotation(width, angle).numpy()
    np.testing.assert_allclose(q @ q.T, np.eye(width), atol=1e-14)
    generator = (rotation(width, math.pi / 2).numpy() - rotation(width, -math.pi / 2).numpy()) / 2
    np.testing.assert_allclose(generator, -generator.T, atol=1e-13)
    np.testing.assert_allclose(q, expm(angle * generator), atol=1e-12)
    assert np.linalg.det(q) == pytest.approx(1)


def test_in_three_dimensions_it_turns_about_one_axis_by_the_angle():
    assert Rotation.from_matrix(rotation(3, 0.7).numpy()).magnitude() == pytest.approx(0.7)


def test_maps_by_hand():
    h = draw(0, 20, 6)
    for move in MAPS.values():
        torch.testing.assert_close(move(h, 0.0), h, atol=1e-13, rtol=0)
        assert torch.equal(move(h, 0.7), move(h, 0.7))
    factors = (scaled(h, 1.0) / h).numpy()
    np.testing.assert_allclose(factors, np.repeat(factors[:, :1], 6, axis=1))
    assert 0.1 <= factors.min() < 0.5 < 2 < factors.max() <= 10
    moved = permuted(h, 0.5)
    assert int((moved != h).any(1).sum()) == 10
    assert {tuple(row) for row in moved.tolist()} == {tuple(row) for row in h.tolist()}
    assert torch.equal(permuted(h, 0.05), h)  # one patch alone cannot change places
    strongest = np.linalg.svd(h.numpy())[2][0]
    np.testing.assert_allclose(
        pulled(h, 0.5).numpy(), h.numpy() @ (np.eye(6) + 0.5 * np.outer(strongest, strongest))
    )


@pytest.mark.parametrize(
    ("kind", "blind"), [("rotation", True), ("scaling", True), ("permutation", False), ("stretch", False)]
)
@pytest.mark.parametrize("amount", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(30, 8), (6, 9)])
def test_equation_6_against_numpy(kind, blind, amount, shape):
    h = draw(1, *shape, shift=0.5)
    found = eq6(h, kind, amount)
    moved = MAPS[kind](h, amount).numpy()
    change = gram(moved) - gram(h)
    cosines = (unit(moved) * unit(h.numpy())).sum(1).clip(-1, 1)
    got = values(found)
    assert found.holds == (blind or amount == 0)
    assert got["Gram loss, sum"] == pytest.approx((change**2).sum(), rel=1e-9, abs=1e-12)
    assert got["Gram loss, mean"] == pytest.approx((change**2).mean(), rel=1e-9, abs=1e-14)
    assert got["mean turn of a feature"] == pytest.approx(np.degrees(np.arccos(cosines)).mean(), abs=1e-4)
    assert got["largest change of G"] == pytest.approx(abs(change).max(), rel=1e-9, abs=1e-13)
    if kind == "rotation" and shape[1] % 2 == 0:
        assert got["mean turn of a feature"] == pytest.approx(180 * amount)
    if kind == "scaling":
        assert got["mean turn of a feature"] == pytest.approx(0, abs=1e-12)
    losses, turns = lines(found, 0), lines(found, 1)
    assert [line.role for line in found.charts[0].lines] == ["main", "other", "other", "other"]
    assert found.charts[0].lines[0].name == kind
    for name, move in MAPS.items():
        for x, loss, turn in zip(losses[name].x, losses[name].y, turns[name].y, strict=True):
            part = move(h, x)
            assert loss == pytest.approx(((gram(part) - gram(h)) ** 2).mean(), rel=1e-9, abs=1e-14)
            assert turn == pytest.approx(float(turned_by(h, part)))


def test_a_swap_of_fewer_than_two_patches_moves_nothing_and_says_so():
    h = draw(1, 4, 3)
    found = eq6(h, "permutation", 0.25)
    assert found.holds
    assert found.because.startswith("Claim: the loss does not see this map. Features turn by 0 degrees")
    assert "the map moves nothing here" in found.because
    assert "change places are the same" in eq6(torch.ones(4, 3).double(), "permutation", 0.5).because
    assert "features move to other patches" in eq6(h, "permutation", 0.5).because


def test_the_caption_names_the_maps_whose_loss_stays_on_nothing():
    assert eq6(draw(1, 9, 4), "stretch", 0.5).charts[0].about.endswith("every amount: rotation, scaling.")
    # on one axis all features point one way or the other, and a stretch of that axis turns none
    about = eq6(draw(1, 9, 1), "stretch", 0.5).charts[0].about
    assert about.endswith("every amount: rotation, scaling, stretch.")


def test_small_turns_keep_their_digits():
    h = draw(2, 5, 4)
    assert float(turned_by(h, h @ rotation(4, 1e-9).mT)) == pytest.approx(math.degrees(1e-9), rel=1e-5)
    assert float(turned_by(torch.zeros(2, 3).double(), torch.ones(2, 3).double())) == 0


def loss_of(h, target):
    return ((gram(h) - target) ** 2).sum()


@pytest.mark.parametrize("shape", [(9, 5), (5, 9), (24, 3)])
def test_equation_7_against_numpy_and_finite_differences(shape):
    h, other = draw(3, *shape, shift=0.5), draw(4, *shape)
    found = eq7(h, other, 1e-5)
    got = values(found)
    x, target = unit(h.numpy()), gram(other)
    by_x = 4 * (x @ x.T - target) @ x
    lengths = np.linalg.norm(h.numpy(), axis=1, keepdims=True)
    by_h = (by_x - x * (x * by_x).sum(1, keepdims=True)) / lengths
    assert found.holds
    assert got["error with respect to X"] < 1e-14
    assert got["error with respect to H"] < 1e-13
    # an error that is known in advance, a millionth of every entry: of the largest |dL/dx_i| / |h_i|
    with pytest.MonkeyPatch.context() as patched:
        real = anchoring.gram_gradient
        patched.setattr(anchoring, "gram_gradient", lambda a, b: real(a, b) * (1 + 1e-6))
        wrong = values(eq7(h, other, 1e-5))["error with respect to H"]
    assert wrong == pytest.approx(1e-6 * abs(by_h).max() / abs(by_x / lengths).max(), rel=1e-4)
    assert got["radial part"] < 1e-13
    assert got["Gram loss, sum"] == pytest.approx(loss_of(h, target))
    assert got["largest entry"] == pytest.approx(abs(by_h).max())
    assert got["entries that were differenced"] == min(16, shape[0]) * shape[1]
    assert got["error of central differences"] < 1e-8
    for row in range(0, shape[0], 4):
        quick = central_differences(h, torch.from_numpy(target), row, 1e-5).numpy()
        for k in range(shape[1]):
            e = np.zeros(shape)
            e[row, k] = 1e-5
            slow = (loss_of(h.numpy() + e, target) - loss_of(h.numpy() - e, target)) / 2e-5
            assert quick[k] == pytest.approx(slow, abs=1e-6)
            assert quick[k] == pytest.approx(by_h[row, k], abs=1e-6)


def test_the_error_of_differences_is_a_v():
    h, other = draw(5, 20, 6, shift=0.5), draw(6, 20, 6)
    small, best, large = (
        values(eq7(h, other, epsilon))["error of central differences"] for epsilon in (1e-12, 1e-5, 1e-1)
    )
    assert best < 1e-6 < small
    assert best < 1e-6 < large
    drawn = lines(eq7(h, other, 1e-5), 0)["error"]
    curve = dict(zip(drawn.x, drawn.y, strict=True))
    assert len(curve) == 12
    assert curve[1e-2] / curve[1e-3] == pytest.approx(100, rel=0.1)  # epsilon squared


def test_the_curve_of_differences_is_over_few_rows_and_says_how_many(monkeypatch):
    asked, real = [], anchoring.central_differences

    def counting(h, target, row, epsilon):
        asked.append((row, epsilon))
        return real(h, target, row, epsilon)

    monkeypatch.setattr(anchoring, "central_differences", counting)
    found = eq7(draw(5, 20, 6), draw(6, 20, 6), 3e-5)
    assert len({row for row, epsilon in asked if epsilon == 3e-5}) == 16
    assert len([1 for _, epsilon in asked if epsilon != 3e-5]) == 2 * 12
    assert "all entries of 2 of the seeded rows" in found.charts[0].about


def test_a_wrong_formula_would_be_found(monkeypatch):
    real = anchoring.gram_gradient
    monkeypatch.setattr(anchoring, "gram_gradient", lambda a, b: real(a, b) * (1 + 1e-6))
    found = eq7(draw(7, 9, 5), draw(8, 9, 5), 1e-5)
    assert found.holds is False
    assert "above the 1e-9" in found.because


def test_where_the_gradient_is_zero_nothing_is_compared():
    h = draw(9, 9, 5)
    assert eq7(h, h.clone(), 1e-5).holds is None
    assert eq7(h, h @ rotation(5, 0.4), 1e-5).holds is None
    one = torch.ones(6, 3, dtype=torch.float64)  # its gradient is radial, so nothing of it reaches H
    found = eq7(one, draw(10, 6, 3), 1e-5)
    assert found.holds
    assert values(found)["largest entry"] < 1e-12
    h[4] = 0
    found = eq7(h, draw(11, 9, 5), 1e-5)
    assert found.holds
    assert values(found)["entries that were differenced"] == 8 * 5


@pytest.mark.parametrize("steps", [0, 7, 40])
def test_the_descent_never_rises_and_takes_the_gradient_s_way(steps):
    start, target = draw(12, 15, 6, shift=1), draw(13, 15, 6)
    end, losses = anchor_descent(start, target, steps)
    assert len(losses) == steps + 1
    assert (np.diff(losses) <= 0).all()
    assert losses[0] == pytest.approx(loss_of(start, gram(target)))
    assert losses[-1] == pytest.approx(loss_of(end, gram(target)))
    if steps == 0:
        assert torch.equal(end, start)
    if steps == 40:
        assert losses[-1] < 1e-2 * losses[0]


def test_the_first_step_is_the_stated_one():
    start, target = draw(14, 8, 4, shift=1), draw(15, 8, 4)
    x = unit(start.numpy())
    error = x @ x.T - gram(target)
    bound = 8 * np.linalg.norm(x, 2) ** 2 + 4 * np.linalg.norm(error, 2)
    shortest = np.linalg.norm(start.numpy(), axis=1).min()
    assert safe_rate(start, target) == pytest.approx(shortest**2 / bound)
    by_x = 4 * error @ x
    by_h = (by_x - x * (x * by_x).sum(1, keepdims=True)) / np.linalg.norm(
        start.numpy(), axis=1, keepdims=True
    )
    end, _ = anchor_descent(start, target, 1)
    np.testing.assert_allclose(end.numpy(), start.numpy() - safe_rate(start, target) * by_h, rtol=1e-12)


def test_at_the_bottom_the_descent_rests():
    h = draw(16, 8, 4)
    end, losses = anchor_descent(h, h, 50)
    assert len(losses) == 51
    assert max(losses) < 1e-25
    np.testing.assert_allclose(gram(end), gram(h), atol=1e-12)
    assert safe_rate(torch.zeros(3, 2).double(), torch.ones(3, 2).double()) == 0


def test_patches_that_all_point_one_way_rest_far_from_the_target():
    alike = torch.ones(6, 4, dtype=torch.float64)
    end, losses = anchor_descent(alike, draw(25, 6, 4), 20)
    assert losses[-1] == pytest.approx(losses[0], rel=1e-12)
    assert losses[0] > 1
    np.testing.assert_allclose(gram(end), 1, atol=1e-12)
    # here the drift itself collapses them: five patches along one direction, one against it
    h = torch.tensor([[1.0, 1.0, 0.0]]).double() * torch.tensor([1, 2, 1, 3, 1, -0.1]).double()[:, None]
    found = prop2(h, (2, 3), 1.0, 20)
    got = values(found)
    assert found.holds is False
    assert got["loss before"] == pytest.approx(10 * 4)
    assert got["removed"] == pytest.approx(0, abs=1e-9)
    assert "The gradient is 0 to rounding before the loss is: more steps bring nothing back." in found.because
    assert "bring nothing back" not in prop2(draw(19, 20, 8, shift=0.4), (4, 5), 0.5, 60).because


def test_distances_against_scipy():
    a, b = draw(17, 12, 5), draw(18, 12, 5)
    x, y = unit(a.numpy()), unit(b.numpy())
    q, _ = orthogonal_procrustes(x, y)
    assert distance(a, b, turned=True) == pytest.approx(np.linalg.norm(x @ q - y) / np.linalg.norm(y))
    assert distance(a, b, turned=False) == pytest.approx(np.linalg.norm(x - y) / np.linalg.norm(y))
    assert distance(a @ rotation(5, 1.0), a, turned=True) == pytest.approx(0, abs=1e-13)
    assert distance(a, torch.zeros_like(a), turned=True) == 0


@pytest.mark.parametrize(("size", "steps"), [(0.5, 60), (2.0, 30), (0.5, 0)])
def test_proposition_2_against_numpy(size, steps):
    h = draw(19, 20, 8, shift=0.4)
    found = prop2(h, (4, 5), size, steps)
    got = values(found)
    start = ((h + size * h.mean(0)) @ rotation(8, math.pi / 6)).numpy()
    end = anchor_descent(torch.from_numpy(start), h, steps)[0].numpy()
    before, after = gram(start) - gram(h), gram(end) - gram(h)
    assert got["loss before"] == pytest.approx((before**2).sum())
    assert got["loss after"] == pytest.approx((after**2).sum(), rel=1e-6)
    assert got["removed"] == pytest.approx(1 - (after**2).sum() / (before**2).sum())
    for name, part in (("before the drift", h), ("after the drift", start), ("after the steps", end)):
        assert got[f"R of G {name}"] == pytest.approx(gram(part).sum() / 20)
    for when, part in (("before", start), ("after", end)):
        x, y = unit(part), unit(h.numpy())
        q, _ = orthogonal_procrustes(x, y)
        near = np.linalg.norm(x @ q - y) / np.linalg.norm(y)
        assert got[f"distance {when}, best rotation"] == pytest.approx(near, abs=1e-12)
        assert got[f"distance {when}, as it is"] == pytest.approx(np.linalg.norm(x - y) / np.linalg.norm(y))
    assert got["distance of the rotation alone"] == pytest.approx(2 * math.sin(math.radians(15)))
    assert found.holds == (steps > 0)
    vectors = np.linalg.eigh(gram(h))[1][:, ::-1][:, :10]
    along = lines(found, 1)["left"]
    assert along.x == tuple(range(1, 9))  # of rank 8
    for k, left in zip(along.x, along.y, strict=True):
        v = vectors[:, int(k) - 1]
        assert left == pytest.approx(((after @ v) ** 2).sum() / ((before @ v) ** 2).sum(), rel=1e-3)
    rings = [change_by_frequency(torch.from_numpy(change), (4, 5)).numpy() for change in (before, after)]
    by_ring = lines(found, 0)["left"]
    there = rings[0] > 1e-12 * rings[0].sum()
    np.testing.assert_allclose(by_ring.y, rings[1][there] / rings[0][there], rtol=1e-3)
    assert by_ring.x[0] == 0
    assert found.charts[0].kind == found.charts[1].kind == "bar"
    drawn = lines(found, 2)["loss"]
    assert drawn.x == tuple(range(steps + 1))
    assert drawn.y[0] == pytest.approx((before**2).sum())
    assert found.charts[2].mark == steps


def test_the_change_by_frequency_adds_up_and_lies_where_it_was_put():
    change = draw(20, 12, 12).numpy()
    by_ring = change_by_frequency(torch.from_numpy(change), (3, 4)).numpy()
    assert by_ring.sum() == pytest.approx((change**2).sum())
    common = np.ones((12, 12))  # the constant mode alone
    np.testing.assert_allclose(
        change_by_frequency(torch.from_numpy(common), (3, 4)).numpy()[1:], 0, atol=1e-25
    )
    rows = np.cos(np.pi / 3 * (np.arange(3) + 0.5))  # one cosine down the picture
    wave = np.outer(np.repeat(rows, 4), draw(21, 12).numpy())
    edges, _ = radial_profile(torch.ones(3, 4))
    place = int(np.searchsorted(edges.numpy()[1:], 1 / 6 * (1 - 1e-12)))
    shares = change_by_frequency(torch.from_numpy(wave), (3, 4)).numpy()
    assert shares[place] == pytest.approx((wave**2).sum())


def test_no_drift_leaves_nothing_to_remove():
    found = prop2(draw(22, 12, 6), (3, 4), 0.0, 10)
    assert found.holds
    assert "Nothing has to be removed" in found.because
    assert "removed" not in values(found)
    assert not found.charts
    nearly = torch.ones(12, 6, dtype=torch.float64) + 1e-6 * draw(
        24, 12, 6
    )  # one colour, and float32's rounding
    assert "Nothing has to be removed" in prop2(nearly, (3, 4), 0.5, 10).because


@pytest.mark.parametrize(
    "h", [torch.zeros(4, 3).double(), torch.ones(6, 3).double(), torch.ones(4, 1).double()]
)
def test_degenerate_features_have_defined_results(h):
    for kind in MAPS:
        for amount in (0.0, 1.0):
            values(eq6(h, kind, amount))
    for other in (h, torch.zeros_like(h), draw(23, *h.shape)):
        for epsilon in (1e-12, 1e-1):
            values(eq7(h, other, epsilon))
    for size in (0.0, 2.0):
        for steps in (0, 5):
            values(prop2(h, (2, len(h) // 2), size, steps))
