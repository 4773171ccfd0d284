"""Equation 1 and the lemmas: every number against numpy float64, and the verdict where each must fail."""

import math

import numpy as np
import pytest
import torch

from gramviz.gram.directions import eq1, stretched, top_energy
from gramviz.gram.drift import Agreement, numerical_rank
from gramviz.gram.lemmas import lemma1, lemma2


def draw(seed, *shape, shift=0.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape) + shift)


def values(finding):
    assert all(math.isfinite(number.value) for number in finding.numbers)
    for chart in finding.charts:
        for line in chart.lines:
            assert len(line.x) == len(line.y) > 0
            assert np.isfinite([*line.x, *line.y]).all()
            assert not chart.log_y or min(line.y) > 0
    return {number.name: number.value for number in finding.numbers}


def unit(h):
    lengths = np.linalg.norm(h, axis=1, keepdims=True)
    return np.divide(h, lengths, out=np.zeros_like(h), where=lengths > 0)


def share_of_first(gram):
    found = np.linalg.eigvalsh(gram)
    return found[-1] / found.sum()


def lines(finding, index):
    return {line.name: line for line in finding.charts[index].lines}


@pytest.mark.parametrize("stretch", [1e-3, 1, 7.5, 100])
def test_equation_1_against_numpy(stretch):
    h = draw(0, 30, 8)
    found = eq1(h, stretch)
    moved = h.numpy().copy()
    moved[np.linalg.norm(moved, axis=1).argmax()] *= stretch
    gram = unit(moved) @ unit(moved).T
    got = values(found)
    assert found.holds
    assert got["largest change of G"] == pytest.approx(0, abs=1e-14)
    assert got["largest error of the diagonal"] == pytest.approx(0, abs=1e-14)
    assert got["smallest eigenvalue of G"] == pytest.approx(np.linalg.eigvalsh(gram)[0], abs=1e-13)
    assert got["trace of G"] == pytest.approx(30)
    assert got["top-1 energy of G_H"] == pytest.approx(share_of_first(moved @ moved.T))
    assert got["top-1 energy of G"] == pytest.approx(share_of_first(gram))
    drawn = lines(found, 0)
    with_lengths, without = drawn["G_H = H H^T"], drawn["G = X X^T"]
    assert len(with_lengths.x) == 25
    for factor, energy in zip(with_lengths.x, with_lengths.y, strict=True):
        part = stretched(h, factor).numpy()
        assert energy == pytest.approx(share_of_first(part @ part.T))
    assert np.ptp(without.y) < 1e-12
    assert with_lengths.y[-1] > 0.99
    assert found.charts[0].mark == stretch
    assert not found.matrices


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ("UNCHANGED", "an entry of G moves by 0, more than the \u22121 allowed. The diagonal misses 1 by"),
        ("EIGENVALUE_ROUNDING", "an eigenvalue is negative beyond rounding (smallest"),
    ],
)
def test_equation_1_says_which_condition_fails(monkeypatch, limit, sentence):
    fine = eq1(draw(0, 30, 8), 1)
    assert "no eigenvalue is negative beyond rounding (smallest" in fine.because
    assert "no entry of G moves" in fine.because
    monkeypatch.setattr(f"gramviz.gram.directions.{limit}", -1.0)
    found = eq1(draw(0, 30, 8), 1)
    assert found.holds is False
    assert sentence in found.because


def test_a_patch_of_length_zero_breaks_equation_1():
    h = draw(1, 12, 5)
    found = eq1(h, 0)
    got = values(found)
    assert found.holds is False
    assert "One patch has length 0" in found.because
    assert got["largest change of G"] == pytest.approx(1)
    assert got["largest error of the diagonal"] == 1
    assert got["trace of G"] == pytest.approx(11)
    assert got["patches without a direction"] == 1
    assert found.charts[0].mark is None
    h[3] = 0
    h[5] = 0
    assert "2 patches have length 0" in eq1(h, 1).because


@pytest.mark.parametrize(("rank", "size"), [(1, 1.0), (1, 0.01), (3, 0.5), (6, 1.0), (32, 1.0)])
def test_lemma_1_against_numpy(rank, size):
    h, other = draw(2, 40, 10, shift=1), draw(3, 40, 10)
    found = lemma1(h, other, rank, size)
    u, s, v = np.linalg.svd((other - h).numpy(), full_matrices=False)
    r = min(rank, 10)
    step = size * (u[:, :r] * s[:r]) @ v[:r]
    a = h.numpy()
    first = step @ a.T + a @ step.T
    exact = (a + step) @ (a + step).T - a @ a.T
    got = values(found)
    assert found.holds
    assert got["rank of Delta H"] == r
    assert got["bound"] == 2 * r
    assert got["rank of the first-order change"] == np.linalg.matrix_rank(
        first, tol=1e-10 * np.linalg.norm(first)
    )
    assert got["rank of the exact change"] == np.linalg.matrix_rank(exact, tol=1e-9 * np.linalg.norm(exact))
    moved = unit(a + step)
    cosine = moved @ moved.T - unit(a) @ unit(a).T
    assert got["rank of the change of G"] == np.linalg.matrix_rank(cosine, tol=1e-11)
    assert got["second order"] == pytest.approx(np.linalg.norm(step @ step.T) / np.linalg.norm(exact))
    assert got["relative size of the step"] == pytest.approx(np.linalg.norm(step) / np.linalg.norm(a))
    assert found.charts[0].mark == 2 * r
    drawn = lines(found, 0)
    for name, matrix in (("exact", exact), ("first order", first)):
        expected = np.linalg.svd(matrix, compute_uv=False)
        index = np.array(drawn[name].x, dtype=int)[: 2 * r]
        np.testing.assert_allclose(
            drawn[name].y[: 2 * r], expected[index - 1], rtol=1e-7, atol=1e-9 * expected[0]
        )
        assert len(drawn[name].x) <= 2 * r + 6
    assert ("was asked for" in found.because) == (rank > 10)


def test_lemma_1_is_no_statement_about_the_cosine_matrix():
    got = values(lemma1(draw(4, 40, 10, shift=1), draw(5, 40, 10), 1, 1.0))
    assert got["rank of the change of G"] > got["bound"]


def test_what_lies_beyond_the_bound_is_said_as_it_is(monkeypatch):
    h, other = draw(2, 12, 6), draw(3, 12, 6)
    assert lemma1(h, other, 2, 1.0).charts[0].about == "Beyond 2 r = 4 there is rounding only."
    assert "There are 12 singular values, no more than 2 r = 12" in lemma1(h, other, 6, 1.0).charts[0].about
    monkeypatch.setattr("gramviz.gram.lemmas.MARGIN", 0)  # so that rounding counts
    found = lemma1(h, other, 2, 1.0)
    assert found.holds is False
    assert found.charts[0].about == "Beyond 2 r = 4 there is more than rounding."


@pytest.mark.parametrize("width", [64, 400])
def test_a_singular_value_near_the_tolerance_makes_lemma_1_fail_nowhere(width):
    for seed in range(200):
        generator = np.random.default_rng(seed)
        u = np.linalg.qr(generator.normal(size=(6, 6)))[0]
        v = np.linalg.qr(generator.normal(size=(width, 6)))[0]
        tail = generator.uniform(0.2, 1.2) * width * np.finfo(float).eps
        step = np.outer(u[:, 0], v[:, 0]) + tail * np.outer(u[:, 1], v[:, 1])
        h = 1e-6 * generator.normal(size=(6, width)) + np.outer(u[:, 1] + u[:, 2], v[:, 1])
        # so small a step is what is left of other - h only where h is 0, so it is put in by itself
        found = lemma1_of_step(h, step)
        assert found.holds, seed


def lemma1_of_step(h, step):
    """Lemma 1 with Delta H given: of a size that other - H would round away."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("gramviz.gram.lemmas.strongest_part", lambda *_: torch.from_numpy(step))
        return lemma1(torch.from_numpy(h), torch.from_numpy(h + step), 2, 1.0)


def test_a_change_that_cancels_to_first_order_has_rank_0_not_that_of_its_rounding():
    h = draw(6, 30, 8)
    turn = draw(7, 8, 8)
    step = h @ (turn - turn.T)  # antisymmetric: Delta H H^T + H Delta H^T = 0
    got = values(lemma1(h, h + step, 8, 1.0))
    assert got["rank of the first-order change"] == 0
    assert got["second order"] == pytest.approx(1)
    assert numerical_rank(step @ h.mT + h @ step.mT) > 0  # by its own size it is rounding of some rank


def test_two_equal_checkpoints_decide_nothing():
    h = draw(8, 9, 4)
    assert lemma1(h, h.clone(), 2, 1.0).holds is None
    assert lemma1(torch.zeros(9, 4).double(), h, 2, 1.0).holds is True


@pytest.mark.parametrize("size", [0.05, 0.7, 2.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_lemma_2_against_numpy(size, sign):
    h = draw(9, 25, 6, shift=0.5)
    direction = sign * h.mean(0) + 0.3 * draw(10, 6)
    found = lemma2(h, direction, size)
    a, mean, one = h.numpy(), h.mean(0).numpy(), np.ones(25)
    drift = size * np.linalg.norm(mean) * direction.numpy() / np.linalg.norm(direction.numpy())
    moved = a + np.outer(one, drift)
    got = values(found)
    quotient = lambda gram: one @ gram @ one / 25  # noqa: E731
    assert got["mean(h) . a"] == pytest.approx(mean @ drift)
    assert got["cosine of mean(h) and a"] == pytest.approx(
        mean @ drift / np.linalg.norm(mean) / np.linalg.norm(drift)
    )
    assert got["R before"] == pytest.approx(quotient(a @ a.T))
    assert got["R after"] == pytest.approx(quotient(moved @ moved.T))
    assert got["first order"] == pytest.approx(2 * (a @ drift).sum())
    assert got["second order"] == pytest.approx(25 * drift @ drift)
    assert got["R of G before"] == pytest.approx(quotient(unit(a) @ unit(a).T))
    assert got["R of G after"] == pytest.approx(quotient(unit(moved) @ unit(moved).T))
    assert got["top-1 energy before"] == pytest.approx(share_of_first(a @ a.T))
    assert got["top-1 energy after"] == pytest.approx(share_of_first(moved @ moved.T))
    assert found.holds == (mean @ drift > 0) == (sign > 0)
    assert found.because.startswith("Claim: R grows to first order. mean(h) . a = ")
    drawn = lines(found, 0)
    for s, r in zip(drawn["exact"].x, drawn["exact"].y, strict=True):
        part = a + np.outer(one, s / size * drift)
        assert r == pytest.approx(quotient(part @ part.T))
    slope = np.diff(drawn["first order"].y) / np.diff(drawn["first order"].x)
    np.testing.assert_allclose(slope, got["first order"] / size)
    assert found.charts[0].mark == size
    spectra = lines(found, 1)
    np.testing.assert_allclose(spectra["before"].y, np.linalg.eigvalsh(a @ a.T)[::-1][:6], rtol=1e-9)
    np.testing.assert_allclose(
        spectra["after the drift"].y, np.linalg.eigvalsh(moved @ moved.T)[::-1][:6], rtol=1e-9
    )


def test_the_wrong_sign_lowers_r_until_the_second_order_outweighs_it():
    h = draw(11, 25, 6, shift=0.5)
    low, even = (lemma2(h, -h.mean(0), size) for size in (0.1, 2.0))
    assert low.holds is False
    assert even.holds is False
    assert values(low)["R after"] < values(low)["R before"]
    assert "is not positive: to first order R falls" in low.because
    assert "too little to make up for it" in low.because
    assert "just makes up for it" in even.because  # mean(h) becomes -mean(h)
    h[:, 1] = 0  # now orthogonal to the second axis
    across = torch.eye(6, dtype=torch.float64)[1]
    found = lemma2(h, across - 1e-3 * h.mean(0), 1.0)
    assert found.holds is False
    assert values(found)["R after"] > values(found)["R before"]
    assert "outweighs it at this size" in found.because
    orthogonal = lemma2(h, across, 1.0)
    assert orthogonal.holds is False
    assert "to first order R stays" in orthogonal.because


def test_without_a_drift_lemma_2_decides_nothing():
    h = draw(13, 9, 4)
    for found, word in (
        (lemma2(h, h.mean(0), 0.0), "size is 0"),
        (lemma2(h, torch.zeros(4).double(), 0.5), "zero vector"),
        (lemma2(torch.cat([h, -h]), h[0], 0.5), "mean feature is 0"),
    ):
        values(found)
        assert found.holds is None
        assert word in found.because


@pytest.mark.parametrize(
    "h", [torch.zeros(4, 3).double(), torch.ones(5, 3).double(), torch.ones(2, 1).double()]
)
def test_degenerate_features_have_defined_results(h):
    for stretch in (0, 1, 100):
        values(eq1(h, stretch))
    for other in (h, torch.zeros_like(h), h + 1):
        for rank in (1, 32):
            values(lemma1(h, other, rank, 1.0))
    for direction in (h[0], -h[0], torch.zeros_like(h[0])):
        for size in (0, 0.1, 2.0):
            values(lemma2(h, direction, size))
    assert top_energy(torch.zeros(4, 3).double()) == 0


def test_what_the_best_scale_leaves_is_the_sine():
    assert Agreement(0.6, 9.0).best_scale_error == pytest.approx(0.8)
    assert Agreement(1.0 + 1e-16, 0.0).best_scale_error == 0
