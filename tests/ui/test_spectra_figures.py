"""Figures of spectra: every drawn number is one of NumPy's in float64, and what was not measured is not drawn."""

from itertools import pairwise

import numpy as np
import pytest

from gramviz.data.samples import load
from gramviz.ui.figures.spectra import (
    bin_edges,
    counts,
    drawn,
    eigenvalues,
    first_in_bin,
    where_energy_lives,
)
from gramviz.ui.figures.training import along_training, spectrum_along
from gramviz.ui.theme import ARMS
from tests.ui.fake_engine import CHECKPOINTS, WIDTH, FakeEngine, features
from tests.ui.rows import ARM_STEPS, FORK, TRUNK_STEPS, made_rows

PICTURE, PATCHES = load("coffee"), 14
IDS = ["small-trunk-2000", "small-plain-4000", "small-plain-8000", "small-gram-8000"]
INFO = {info.id: info for info in CHECKPOINTS}
NAMES = {
    "small-trunk-2000": "trunk, step 2\u202f000",
    "small-plain-4000": "without Gram, step 4\u202f000",
    "small-plain-8000": "without Gram, step 8\u202f000",
    "small-gram-8000": "with Gram, step 8\u202f000",
}
ROWS = made_rows()


@pytest.fixture(scope="module")
def found():
    return [(view.checkpoint, view.spectra) for view in FakeEngine().spectra(PICTURE, IDS, PATCHES)]


def oracle(key):
    """Eigenvalues of G in float64, descending."""
    x = features(PICTURE, INFO[key], PATCHES)[:-1]
    return np.linalg.eigvalsh(x @ x.T)[::-1][: min(x.shape)]


def trace(made, name, axis):
    """The line of a name in a panel, that of all points."""
    return next(t for t in made.data if t.name == name and t.xaxis == axis and t.hoverinfo != "skip")


def test_eigenvalues_are_those_of_numpy(found):
    made = eigenvalues(found, 4)
    for key, name in NAMES.items():
        wanted = oracle(key)
        for axis in ("x", "x2"):
            line = trace(made, name, axis)
            assert list(line.x) == list(range(1, len(wanted) + 1))
            assert np.allclose(line.y, wanted, rtol=0, atol=1e-9)
        assert np.allclose(trace(made, name, "x3").y, np.cumsum(wanted) / wanted.sum(), rtol=0, atol=1e-12)
    assert [made.layout[name].type for name in ("xaxis", "xaxis2", "xaxis3", "xaxis4")] == [
        "log",
        "linear",
        "log",
        "log",
    ]
    assert made.layout.yaxis.type == "log"
    assert made.layout.meta["numbers"] == ["xaxis", "xaxis2", "xaxis3"]


def test_marks_are_points_of_the_line(found):
    made = eigenvalues(found, 4)
    marks = [t for t in made.data if t.mode == "markers" and t.xaxis == "x2"]
    assert len(marks) == len(IDS)
    for points in marks:
        line = trace(made, points.name, "x2")
        assert list(points.y) == [line.y[number - 1] for number in points.x]
        assert points.x[0] == 1


def test_counts_are_a_histogram_and_a_bin_leads_to_its_largest_eigenvalue(found):
    made = eigenvalues(found, 4)
    name = NAMES["small-plain-8000"]
    line, values = trace(made, name, "x4"), oracle("small-plain-8000")
    assert sum(line.y) == len(values)
    edges = bin_edges([s.eigenvalues.numpy() for _, s in found] + [found[0][1].reference.numpy()])
    inside = [int(((values >= low) & (values < high)).sum()) for low, high in pairwise(edges)]
    assert list(line.y)[1:-1] == inside[1:-1]
    for bin_, number in enumerate(line.customdata):
        if line.y[bin_] and 0 < bin_ < len(inside) - 1:
            assert edges[bin_] <= values[number - 1] <= edges[bin_ + 1]


def test_what_is_too_small_for_the_bins_is_counted_in_the_first():
    values = np.array([10.0, 1.0, 1e-9, 0.0])
    edges = bin_edges([values])
    assert (edges[0], edges[-1]) == (pytest.approx(1), pytest.approx(10))
    assert counts(values, edges)[0] == 3
    assert counts(values, edges).sum() == 4
    assert first_in_bin(values, edges).tolist() == [2] * (len(edges) - 2) + [1]


def test_the_reference_is_drawn_once_and_faint(found):
    made = eigenvalues(found, 2)
    lines = [t for t in made.data if t.name == f"random features, d = {WIDTH}"]
    assert len(lines) == 4
    assert list(trace(made, lines[0].name, "x").y) == found[0][1].reference.tolist()
    assert {t.line.dash for t in lines} == {"dot"}
    assert max(t.line.width for t in lines) < 2


def test_steps_of_one_arm_are_told_apart(found):
    looks = {each.info.id: each for each in drawn(found)}
    early, late = looks["small-plain-4000"], looks["small-plain-8000"]
    assert late.look.colour.upper() == ARMS["plain"].colour
    assert early.look.colour != late.look.colour
    assert early.mark < late.mark
    assert looks["small-gram-8000"].look.dash == ARMS["gram"].dash
    assert len({each.look.label for each in looks.values()}) == len(IDS)


def test_every_panel_has_a_title_and_named_axes(found):
    for made in (eigenvalues(found, 4), where_energy_lives(found, 2), along_training(ROWS, 4)):
        titles = [note.text for note in made.layout.annotations]
        assert len(titles) in (4, 2, 3)
        assert all(axis.title.text for axis in made.select_xaxes())
        assert any(axis.title.text for axis in made.select_yaxes())
        assert "NaN" not in made.to_json()


def test_energy_by_frequency_and_cosine_by_distance(found):
    made = where_energy_lives(found, 2)
    for (info, _), name in zip(found, NAMES.values(), strict=True):
        x = features(PICTURE, info, PATCHES)[:-1]
        rows, columns = found[0][1].grid
        g = x @ x.T
        y, column = np.indices((rows, columns)).reshape(2, -1)
        distance = np.rint(np.hypot(y[:, None] - y, column[:, None] - column)).astype(int)
        line = trace(made, name, "x2")
        wanted = [g[distance == d].mean() for d in line.x]
        assert np.allclose(line.y, wanted, rtol=0, atol=1e-9)
        energy = trace(made, name, "x")
        assert (energy.x[0], energy.x[1]) == (0, None)
        ones = np.ones(len(x))
        assert energy.y[0] == pytest.approx(ones @ g @ ones / len(x) / len(x), abs=1e-9)
        assert sum(share for share in energy.y if share) == pytest.approx(1, abs=1e-9)


def test_the_spectrum_along_training_is_a_mean_over_seeds_with_the_trunk_before():
    table = spectrum_along(ROWS, "gram")
    assert tuple(table) == (*TRUNK_STEPS, *ARM_STEPS)
    for arm, step in (("trunk", FORK), ("gram", 4000)):
        seeds = [row["spectrum"] for row in ROWS if (row["arm"], row.get("step")) == (arm, step)]
        assert np.allclose(table[step], np.mean(seeds, axis=0), rtol=0, atol=1e-12)


def test_the_heat_map_is_logarithmic_with_a_column_a_step():
    made = along_training(ROWS, 4)
    assert [note.text for note in made.layout.annotations] == [
        ARMS[a].label for a in ("plain", "gram", "gram_hires")
    ]
    table = spectrum_along(ROWS, "plain")
    shown = made.data[0]
    assert list(shown.x) == [
        "0",
        "100",
        "200",
        "400",
        "600",
        "1\u202f000",
        "1\u202f500",
        "2\u202f000",
        "3\u202f000",
        "4\u202f000",
    ]
    shares = np.array(list(table.values())).T
    assert np.allclose(np.array(shown.z, dtype=float), np.log10(shares), atol=1e-12)
    assert np.allclose(np.array(shown.customdata), shares)
    assert len({(t.zmin, t.zmax) for t in made.data}) == 1
    assert made.layout.xaxis.type == "category"


def test_what_was_not_measured_is_not_drawn():
    bare = [{k: v for k, v in row.items() if k != "spectrum"} for row in ROWS]
    assert along_training(bare, 4) is None
    assert along_training([], 2) is None
    assert eigenvalues([], 4) is None
    assert where_energy_lives([], 4) is None
    gone = [{**row, "spectrum": [None] * 32} if row["arm"] == "gram" else row for row in ROWS]
    assert len(along_training(gone, 4).data) == 2
