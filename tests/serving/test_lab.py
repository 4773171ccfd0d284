"""The cards of the theory lab: their controls, the blackboard by hand, and what networks with heads give."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gramviz.data.samples import load
from gramviz.errors import InputError
from gramviz.gram.finding import Finding
from gramviz.gram.telling import told
from gramviz.metrics.pushes import BlockPush
from gramviz.serving import lab, local_step
from gramviz.serving.lab import CARDS, Choice, Material, Slider, blackboard, card, check
from gramviz.serving.material import material_of, neighbour
from gramviz.serving.rehearsal import Training, targets_of, training_of
from gramviz.training.config import LossConfig
from gramviz.training.heads import heads_from
from gramviz.vit.features import extract
from tests.gram.test_lemmas import draw, unit, values
from tests.stores import add_heads, make_store

CPU = torch.device("cpu")
NAMES = ("eq1", "eq2", "eq34", "lemma1", "lemma2", "eq6", "eq7", "prop2")
LOSS = LossConfig(ibot=2.0)


@pytest.fixture(scope="module")
def training(tmp_path_factory) -> Training:
    folder = tmp_path_factory.mktemp("models")
    make_store(folder)
    store = add_heads(folder, "tiny-plain-2000", LOSS)
    heads = heads_from(*store.load_heads("tiny-plain-2000"), CPU)
    network = store.load("tiny-plain-2000", CPU)
    return training_of(network, heads, load("coffee"), (5, 8), [load("coffee"), load("coins"), load("scene")])


@pytest.fixture(scope="module")
def material(training) -> Material:
    h = draw(0, 40, 32, shift=0.5)
    rows = tuple(
        {"arm": arm, "step": step, "seed": seed, "global_common_b1": 0.1 * seed + step / 1e4}
        for arm, steps in (("trunk", (0, 200)), ("plain", (600, 900)), ("gram", (600,)))
        for step in steps
        for seed in (0, 1)
    )
    return Material(
        patches=h,
        cls=draw(1, 32),
        lengths=h.norm(dim=-1),
        grid=(5, 8),
        other=draw(2, 40, 32),
        other_name="tiny-trunk-300",
        training=training,
        with_heads=("tiny-plain-2000",),
        rows=(*rows, {"arm": "baseline:chance"}),
    )


def extremes(one):
    """Values of the controls, one moved to each of its ends or options at a time."""
    found = [{}]
    for control in one.controls:
        if isinstance(control, Choice):
            found += [{control.name: option} for option, _ in control.options]
        else:
            found += [{control.name: control.value_at(end)} for end in (control.low, control.high)]
    return found


def numbers(name, material, **given):
    return values(check(name, material, given))


def test_the_cards_are_those_of_the_post_in_its_order():
    assert tuple(one.name for one in CARDS) == NAMES
    for one in CARDS:
        for control in one.controls:
            assert control.checked(lab.start(control)) == lab.start(control)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["photograph", "blackboard", "one colour", "nothing", "collapsed", "wide"])
def test_every_card_has_a_sentence_and_finite_numbers_at_every_end_of_its_controls(name, kind, material):
    if kind == "photograph":
        chosen = material
    elif kind == "blackboard":
        chosen = blackboard()
    elif kind == "wide":  # d > P
        wide = draw(3, 6, 50)
        chosen = Material(wide, wide[0], wide[:, 0].abs(), (2, 3), other=draw(4, 6, 50), other_name="another")
    elif kind == "collapsed":
        alike = torch.ones(40, 3, dtype=torch.float64)
        chosen = Material(alike, alike[0], alike[:, 0], (5, 8), other=draw(5, 40, 3), other_name="another")
    else:
        fill = 0.0 if kind == "nothing" else 1.0
        flat = torch.full((40, 3), fill, dtype=torch.float64)
        chosen = Material(flat, flat[0], flat[:, 0], (5, 8), other=flat.clone(), other_name="another")
    for given in extremes(card(name)):
        found = check(name, chosen, given)
        assert isinstance(found, Finding)
        values(found)
        assert found.because.endswith(".")
        assert all(chart.about.endswith(".") and "nan" not in chart.about for chart in found.charts)
        assert "nan" not in found.because
        assert "inf" not in found.because.replace("information", "")
        assert "\u2014" not in found.because
        assert all(len(row) <= 4 and len(m.rows) <= 4 for m in found.matrices for row in m.rows)
        assert bool(found.matrices) == (kind == "blackboard" and found.holds is not None)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("lemma3", {}, "no card 'lemma3'; there are eq1, eq2"),
        ("lemma1", {"rank": 2.5}, "rank is '2.5'; it must be a whole number from 1 to 32"),
        ("lemma1", {"rank": 0}, "from 1 to 32"),
        ("lemma1", {"rank": True}, "rank is 'True'"),
        ("lemma1", {"size": float("nan")}, "size is 'nan'; it must be a number from 0.01 to 1"),
        ("lemma2", {"size": float("inf")}, "from 0 to 2"),
        ("lemma2", {"direction": "up"}, "must be one of mean, opposite, random"),
        ("lemma2", {"direction": 1}, "must be one of mean"),
        (
            "lemma2",
            {"direction": 10**5000},
            "direction is 'a number of thousands of digits'; it must be one of",
        ),
        (
            "lemma1",
            {"rank": 10**5000},
            "rank is 'a number of thousands of digits'; it must be a whole number",
        ),
        ("eq2", {"rate": -(10**5000)}, "it must be a number from 0.0001 to 10"),
        ("eq2", {"rate": 20}, "from 0.0001 to 10"),
        ("eq2", {"rate": "1"}, "rate is '1'"),
        ("eq7", {"epsilon": None}, "epsilon is 'None'"),
        ("prop2", {"angle": 1}, "prop2 has no control 'angle'; it has size, steps"),
    ],
)
def test_what_cannot_be_is_named_with_its_range(name, given, message):
    with pytest.raises(InputError, match=message):
        check(name, blackboard(), given)


def test_descent_and_change_begin_where_there_is_something_to_see():
    assert card("prop2").checked({})["steps"] == 6
    assert card("lemma1").checked({})["size"] == pytest.approx(0.1)


def test_sliders_of_logarithms_take_the_number_itself():
    slider = Slider("rate", "Rate", -4, 1, 0.25, -2, log=True)
    assert slider.value_at(-2) == 0.01
    assert slider.checked(1e-4) == 1e-4
    assert slider.checked(10 * (1 + 1e-12)) == pytest.approx(10)
    with pytest.raises(InputError):
        slider.checked(-2)


def test_the_blackboard_by_hand():
    board = blackboard()
    assert board.patches.tolist() == [[2, 0], [2, 1], [0, 1], [1, 2]]
    # mean(h) = (5/4, 1), so R = 4 |mean(h)|^2 = 41/4
    found = numbers("lemma2", board, size=1.0)
    assert found["R before"] == pytest.approx(41 / 4)
    assert found["mean(h) . a"] == pytest.approx(41 / 16)
    assert found["first order"] == pytest.approx(41 / 2)
    assert found["second order"] == pytest.approx(41 / 4)
    assert found["R after"] == pytest.approx(41)  # the mean is doubled
    # R of G: the unit rows are (1, 0), (2, 1) / sqrt 5, (0, 1), (1, 2) / sqrt 5, whose sum is 1 + 3 / sqrt 5 twice
    assert found["R of G before"] == pytest.approx(2 * (1 + 3 / math.sqrt(5)) ** 2 / 4)
    # the opposite at full size sends every patch to h - mean(h), whose mean is 0
    back = numbers("lemma2", board, direction="opposite", size=1.0)
    assert back["R after"] == pytest.approx(0, abs=1e-12)
    # cls = (1, 1): mean(h) . a = |mean(h)| (5/4 + 1) / sqrt 2
    along = numbers("lemma2", board, direction="cls", size=1.0)
    assert along["mean(h) . a"] == pytest.approx(math.sqrt(41) / 4 * 9 / 4 / math.sqrt(2))
    # a step against the mean push (3/4, 1/4) of the last block
    down = check("lemma2", board, {"direction": "gradient"})
    assert down.holds is False
    assert values(down)["cosine of mean(h) and a"] == pytest.approx(
        -(15 / 16 + 1 / 4) / math.sqrt(41 / 16 * 10 / 16)
    )

    # Delta H = [[0, 1], [0, 0], [1, 0], [1, 0]]: singular values sqrt 2 and 1
    lemma = check("lemma1", board, {"rank": 2, "size": 1.0})
    step = [[0, 1], [0, 0], [1, 0], [1, 0]]
    np.testing.assert_allclose(next(m for m in lemma.matrices if m.name == "Delta H").rows, step, atol=1e-14)
    assert values(lemma)["relative size of the step"] == pytest.approx(math.sqrt(3 / 15))
    first = next(m for m in lemma.matrices if m.name == "Delta G, first order").rows
    np.testing.assert_allclose(first, [[0, 1, 3, 4], [1, 0, 2, 2], [3, 2, 0, 1], [4, 2, 1, 2]], atol=1e-13)
    one = numbers("lemma1", board, rank=1)
    assert (one["bound"], one["rank of the first-order change"], one["rank of the exact change"]) == (2, 2, 2)

    # the longest patches are the second and fourth, sqrt 5 long; G has their cosine 4/5
    g = check("eq1", board, {"stretch": 10}).matrices[1].rows
    assert g[1][3] == pytest.approx(4 / 5)
    assert g[0][2] == 0
    assert numbers("eq1", board)["top-1 energy of G"] == pytest.approx(0.7)

    # z of the first patch: (2, 0, -2)
    p = np.exp([2, 0, -2]) / np.exp([2, 0, -2]).sum()
    eq2 = check("eq2", board, {"rate": 0.5})
    assert eq2.holds
    residuals = next(m for m in eq2.matrices if m.name == "R = p - t").rows
    np.testing.assert_allclose(residuals[0], p - [1, 0, 0])
    moved = next(m for m in eq2.matrices if m.name == "Delta H").rows
    np.testing.assert_allclose(moved[0], [-0.5 * ((p[0] - 1) - p[2]), -0.5 * (p[1] - p[2])])

    # pushes (1, 0), (2, 0), (1, 1), (-1, 0): 4 |(3/4, 1/4)|^2 / 8 = 5/16; with +1 instead 13/16
    assert numbers("eq34", board)["common share"] == pytest.approx(5 / 16)
    assert check("eq34", board, {}).holds is False
    assert numbers("eq34", board, block=1)["common share"] == pytest.approx(13 / 16)
    assert check("eq34", board, {"block": 1}).holds is True

    # a half turn takes h to -h
    turn = check("eq6", board, {"map": "rotation", "amount": 1})
    np.testing.assert_allclose(turn.matrices[1].rows, [[-2, 0], [-2, -1], [0, -1], [-1, -2]], atol=1e-14)


def test_what_is_asked_of_the_other_checkpoint_or_of_heads_says_what_is_missing(material):
    bare = Material(
        material.patches,
        material.cls,
        material.lengths,
        material.grid,
        with_heads=("run/1", "run/2", "run/3"),
    )
    for name, given in (("lemma1", {}), ("eq7", {}), ("lemma2", {"direction": "drift"})):
        found = check(name, bare, given)
        assert found.holds is None
        assert "has no other that fits" in found.because
    for name, given in (("eq2", {}), ("eq34", {}), ("lemma2", {"direction": "gradient"})):
        found = check(name, bare, given)
        assert found.holds is None
        assert "no projection heads" in found.because
        assert "run/1, run/2 and run/3 have some" in found.because
    nobody = Material(material.patches, material.cls, material.lengths, material.grid)
    assert check("eq2", nobody, {}).because.endswith("needs.")


def test_outliers_by_length_are_told_before_and_after_the_stretch(material):
    h = torch.ones(40, 3, dtype=torch.float64) * torch.linspace(1, 1.5, 40, dtype=torch.float64)[:, None]
    lengths = torch.cat([torch.linspace(1, 2, 38), torch.tensor([50.0, 60.0])]).double()
    flat = Material(h, h[0], lengths, (5, 8))
    assert numbers("eq1", flat)["outliers by length"] == 0
    assert numbers("eq1", flat, stretch=100)["outliers by length"] == 1
    assert numbers("eq1", flat)["outliers before the final norm"] == 2


def test_directions_of_lemma_2(material):
    mean, size = material.patches.mean(0).numpy(), 0.3
    other, cls = material.other.mean(0).numpy() - mean, material.cls.numpy()
    for name, direction in (("mean", mean), ("opposite", -mean), ("cls", cls), ("drift", other)):
        a = size * np.linalg.norm(mean) * direction / np.linalg.norm(direction)
        found = numbers("lemma2", material, direction=name, size=size)
        assert found["mean(h) . a"] == pytest.approx(mean @ a)
    tokens, gradient = (part[0].double().numpy() for part in pushes_of(material.training)[-1])
    down = -gradient.mean(0)
    a = size * np.linalg.norm(tokens.mean(0)) * down / np.linalg.norm(down)
    found = check("lemma2", material, {"direction": "gradient", "size": size})
    assert values(found)["mean(h) . a"] == pytest.approx(tokens.mean(0) @ a, rel=1e-5)
    assert "go into the last block" in found.because


def pushes_of(training):
    """Tokens and gradients [2, P, d] of every block's input, by plain autograd through tokens that are put in."""
    network, loss, found = copy.deepcopy(training.network), training.heads.loss, []
    count = len(training.crops) // 2
    for block in network.network.blocks:
        kept = []

        def hold(_module, inputs, kept=kept):
            kept.append(inputs[0].detach().requires_grad_(True))
            return (kept[0], *inputs[1:])

        handle = block.register_forward_pre_hook(hold)
        logits = training.heads.dino_head(network(training.crops)[0].cls).view(2, count, -1)
        handle.remove()
        with torch.no_grad():
            flat = logits.detach().flatten(0, 1)
            targets = targets_of(flat, loss).view_as(logits)
        log_p = torch.log_softmax(logits / loss.student_temperature, dim=-1)
        value = -((targets[1] * log_p[0]).sum() + (targets[0] * log_p[1]).sum()) / (2 * count)
        (gradient,) = torch.autograd.grad(value, kept[0])
        rows, prefix = [0, count], network.prefix_tokens
        found.append((kept[0].detach()[rows, prefix:], gradient[rows, prefix:]))
    return found


def test_equation_3_and_4_against_plain_autograd(material):
    expected = pushes_of(material.training)
    found = material.training.global_pushes
    assert len(found) == 2
    for push, (tokens, gradient) in zip(found, expected, strict=True):
        assert isinstance(push, BlockPush)
        torch.testing.assert_close(push.tokens, tokens)
        torch.testing.assert_close(push.gradient, gradient, rtol=1e-3, atol=1e-6)
    for back, block in ((0, 1), (1, 0), (5, 0)):
        got = numbers("eq34", material, block=back)
        shares = []
        for d in expected[block][1].double().numpy():
            s = np.linalg.svd(d, compute_uv=False) ** 2
            mean = d.mean(0)
            common = len(d) * mean @ mean / (d**2).sum()
            cosine = (unit(d) @ mean / np.linalg.norm(mean)).mean()
            shares.append((s[0] / s.sum(), common, cosine))
        top, common, cosine = np.mean(shares, axis=0)
        assert got["top share"] == pytest.approx(top, rel=1e-3)
        assert got["common share"] == pytest.approx(common, rel=1e-3, abs=1e-6)
        assert got["cosine to the mean push"] == pytest.approx(cosine, rel=1e-2, abs=1e-4)
        assert got["common share by chance"] == 1 / 36
        finding = check("eq34", material, {"block": back})
        assert finding.holds == (common >= 0.5)
        assert finding.because.startswith("Claim: one push for all patches. At the input of")
        assert f"block {block} (of 0 to 1)" in finding.because
        assert finding.charts[0].mark == block


def test_along_training_is_the_mean_over_seeds_with_the_trunk_before_each_arm(material):
    chart = check("eq34", material, {}).charts[1]
    drawn = {line.name: line for line in chart.lines}
    assert drawn["without Gram"].x == (0, 200, 600, 900)
    assert drawn["without Gram"].y == pytest.approx((0.05, 0.07, 0.11, 0.14))
    assert drawn["with Gram"].x == (0, 200, 600)
    assert len(check("eq34", material, {"block": 1}).charts) == 1  # it was not measured there


def test_equation_2_against_a_hand_made_step(material):
    training = material.training
    network, heads, mask = copy.deepcopy(training.network).double(), training.heads, training.mask
    image = training.image.double()
    assert mask.shape == (40,)
    assert 1 <= int(mask.sum()) <= 20
    with torch.no_grad():
        teacher = heads.ibot_head(network(image)[0].patches[0, mask].float()).double()
    targets = targets_of(teacher, LOSS)
    network.requires_grad_(True)

    def features():
        return network(image, mask=mask[None], mask_token=heads.mask_token.double())[0].patches[0]

    h = features()
    h.retain_grad()
    logits = heads.ibot_head(h[mask].float()).double()
    log_p = torch.log_softmax(logits / LOSS.student_temperature, dim=-1)
    (-(targets * log_p).sum(1).mean() * LOSS.ibot).backward()
    rate, count = 0.5, int(mask.sum())
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter -= rate * parameter.grad
        change = (features() - h).numpy()
    true, push = change[mask].ravel(), h.grad[mask].numpy().ravel()
    found = check("eq2", material, {"rate": rate})
    got = values(found)
    cosine = -true @ push / np.linalg.norm(true) / np.linalg.norm(push)
    assert got["true step"] == pytest.approx(cosine, rel=1e-3, abs=1e-4)
    scale = -(true @ push) / (push @ push)
    assert got["error at the best scale"] == pytest.approx(
        np.linalg.norm(true + scale * push) / np.linalg.norm(true), rel=1e-3
    )
    assert found.holds == (cosine >= 0.9)
    assert got["size of the step"] == pytest.approx(
        np.linalg.norm(true) / np.linalg.norm(h.detach()[mask].numpy()), rel=1e-3
    )
    elsewhere = (change[~mask] ** 2).sum() / (change**2).sum()
    assert got["moved elsewhere"] == pytest.approx(elsewhere, rel=1e-3)
    assert got["common share of the true step"] == pytest.approx(
        40 * (change.mean(0) ** 2).sum() / (change**2).sum(), rel=1e-3
    )
    s = np.linalg.svd(change, compute_uv=False) ** 2
    assert got["top share of the true step"] == pytest.approx(s[0] / s.sum(), rel=1e-3)
    residuals = (log_p.exp() - targets).detach().numpy()
    assert got["masked patches"] == count
    assert got["bound on the rank"] == min(count, 19)
    assert got["rank of R"] <= min(count, 19)
    s = np.linalg.svd(residuals, compute_uv=False) ** 2
    s = s[s > 1e-14 * s[0]] / s.sum()
    assert got["effective rank of R"] == pytest.approx(np.exp(-(s * np.log(s)).sum()), rel=1e-3)
    assert got["top share of R"] == pytest.approx(s[0], rel=1e-3)
    assert got["common share of R"] == pytest.approx(
        count * (residuals.mean(0) ** 2).sum() / (residuals**2).sum(), rel=1e-3
    )
    assert got["chain rule"] == pytest.approx(1, abs=1e-6)
    assert 0 < got["one W for all"] <= 1


def test_equation_2_says_where_it_holds(material, monkeypatch):
    monkeypatch.setattr(local_step, "NEAR", -1.0)
    found = check("eq2", material, {})
    assert found.holds is True
    assert "moves weights, not patches" not in found.because
    assert found.because.startswith(
        "Claim: a training step moves masked patches along -R W. The formula's step"
    )


def test_the_caption_of_the_rates_is_made_from_the_errors(material):
    chart = check("eq2", material, {}).charts[0]
    for line in chart.lines:
        assert f"{told(min(line.y))} to {told(max(line.y))}" in chart.about
    exact = SimpleNamespace(rate_errors=((0.1, 1e-12, math.inf), (1.0, 2e-12, 0.25)))
    about = local_step._rate_chart(exact, 0.1).about
    assert "formula at its best scale is off by 1e-12 to 2e-12 of the true step" in about
    assert "the first order by 0.25 to 0.25" in about


def test_the_first_order_is_right_at_small_rates_only(material):
    small, large = (numbers("eq2", material, rate=rate)["error of the first order"] for rate in (1e-4, 10.0))
    assert small < 1e-2 < large
    chart = check("eq2", material, {}).charts[0]
    first = next(line for line in chart.lines if line.name == "first order in the weights")
    assert first.x == (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    assert first.y[0] == pytest.approx(small)
    assert first.y[1] / first.y[0] == pytest.approx(10, rel=0.1)


def test_the_run_s_targets():
    logits = draw(5, 7, 4)
    soft = targets_of(logits, LossConfig(targets="softmax", teacher_temperature=0.2)).numpy()
    expected = np.exp(logits.numpy() / 0.2)
    np.testing.assert_allclose(soft, expected / expected.sum(1, keepdims=True))
    even = targets_of(logits, LossConfig(targets="sinkhorn", teacher_temperature=1.0)).numpy()
    np.testing.assert_allclose(even.sum(1), 1)
    np.testing.assert_allclose(even.sum(0), 7 / 4, rtol=0.05)


def test_crops_are_the_picture_first_then_its_companions_each_once(training):
    assert training.crops.shape == (6, 3, 48, 48)
    assert training.image.shape == (1, 3, 40, 64)
    again = training_of(
        training.network, training.heads, load("coffee"), (5, 8), [load("coins"), load("scene")]
    )
    assert torch.equal(again.crops, training.crops)
    assert training.nbytes > 4 * sum(p.numel() for p in training.network.parameters())


def test_material_of_features(tmp_path):
    network = make_store(tmp_path).load("tiny-plain-2000", CPU)
    features = extract(network, load("coffee"), 8)
    made = material_of(features, features, "itself", training=None, with_heads=(), rows=())
    assert made.patches.dtype == torch.float64
    assert made.patches.shape == (made.grid[0] * made.grid[1], 32)
    assert torch.equal(made.patches.reshape(*made.grid, 32).float(), features.patches)
    assert made.nbytes == 8 * (2 * made.patches.numel() + 32 + len(made.patches))
    features.patches[0, 0, 0] = math.nan
    with pytest.raises(InputError, match="not finite"):
        material_of(features, None, "", training=None, with_heads=(), rows=())


def test_the_neighbour_is_the_parent_else_a_child_else_the_nearest(tmp_path):
    import dataclasses

    infos = {info.id: info for info in make_store(tmp_path).all()}
    trunk, later, plain, gram = infos.values()
    plain = dataclasses.replace(plain, parent=later.id)
    run = [trunk, later, plain, gram]
    assert neighbour(plain, run) is later
    assert neighbour(later, run) is plain
    assert neighbour(trunk, run) is later
    assert neighbour(gram, [trunk, gram]) is trunk
    assert neighbour(gram, [gram]) is None
