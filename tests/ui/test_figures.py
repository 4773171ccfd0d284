"""Figures: every drawn number is a row's, every panel is named, and what was not measured is not drawn."""

import json

import numpy as np
import pytest

from gramviz.ui.figures.story import figure
from gramviz.ui.story import CHAPTERS
from gramviz.ui.theme import ARMS
from tests.ui.rows import ARM_STEPS, FORK, made_rows

ROWS = made_rows()
BY_KEY = {chapter.key: chapter for chapter in CHAPTERS}
LOSSES = BY_KEY["losses"]


def lines(made, name):
    """The lines of an arm, a panel each."""
    return [trace for trace in made.data if trace.name == name]


def titles(made):
    return [a.text for a in made.layout.annotations if a.yref == "paper"]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.key)
@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_every_panel_has_a_title_and_named_axes(chapter, columns):
    made = figure(ROWS, chapter, columns)
    axes = [axis for axis in made.select_xaxes() if axis.title.text]
    assert len(titles(made)) == len(axes) >= 3
    assert {axis.title.text for axis in axes} in ({"step"}, {"distance on the grid, patches"})
    named = [axis for axis in made.select_yaxes() if axis.title.text]
    assert len(named) == len(axes) or chapter.key in ("crossing", "locality")
    assert named
    across = {round(axis.domain[0], 3) for axis in axes}
    assert len(across) <= columns
    assert "NaN" not in made.to_json()


def test_lines_are_means_and_bands_are_lowest_to_highest():
    made = figure(ROWS, LOSSES, 3)
    first = lines(made, ARMS["gram"].label)[0]
    table = np.array(
        [
            [r["heldout_ibot"] for r in ROWS if (r["arm"], r.get("step")) == ("gram", step)]
            for step in ARM_STEPS
        ]
    )
    assert first.x == (FORK, *ARM_STEPS)
    assert np.allclose(first.y[1:], table.mean(1), atol=1e-12)
    band = made.data[list(made.data).index(first) - 1]
    assert band.fill == "toself"
    half = len(band.x) // 2
    assert np.array_equal(band.y[1:half], table.max(1))
    assert np.array_equal(band.y[half:][::-1][1:], table.min(1))


def test_the_crossing_is_the_change_since_the_fork_in_points():
    made = figure(ROWS, BY_KEY["crossing"], 3)
    assert titles(made) == [ARMS[arm].label for arm in ("plain", "gram", "gram_hires")]
    drawn = next(trace for trace in made.data if (trace.name or "").startswith("near AUC"))
    fork, last = (
        [r["near_auc"] for r in ROWS if (r["arm"], r.get("step")) == at]
        for at in (("trunk", 200), ("plain", 4000))
    )
    assert dict(zip(drawn.x, drawn.y, strict=True))[FORK] == 0
    assert drawn.y[-1] == pytest.approx(100 * np.mean(np.subtract(last, fork)))


def test_the_fork_is_marked_in_every_panel():
    for key in ("crossing", "losses", "drift"):
        made = figure(ROWS, BY_KEY[key], 3)
        starts = [shape for shape in made.layout.shapes if shape.x0 == shape.x1]
        assert len(starts) == len(titles(made))
        assert {shape.x0 for shape in starts} == {FORK}
        assert [a.text for a in made.layout.annotations].count("arms part") == 1


def test_controls_are_thin_and_begin_where_they_part():
    made = figure(ROWS, LOSSES, 3)
    assert lines(made, "repair")[0].x == (2000, 3000, 4000)
    assert lines(made, "weight 5")[0].x == (FORK, *ARM_STEPS)
    assert lines(made, "repair")[0].line.width < lines(made, ARMS["gram"].label)[0].line.width
    assert sum(bool(trace.showlegend) for trace in made.data) == len({t.name for t in made.data if t.name})


def test_baselines_are_levels_of_their_panels():
    made = figure(ROWS, BY_KEY["quality"], 3)
    levels = [(shape.y0, shape.yref) for shape in made.layout.shapes if shape.y0 == shape.y1]
    assert levels == [(0.733, "y"), (0.709, "y2"), (0.723, "y2")]
    assert titles(made)[0].endswith(">proximity alone 0.61</span>")  # far below the curves
    assert titles(made)[2:5:2] == ["k-NN, Caltech-101 (chance 0.01)", "segmentation, scenes (chance 0.10)"]


def test_locality_is_drawn_against_distance_without_what_was_not_had():
    made = figure(ROWS, BY_KEY["locality"], 3)
    assert titles(made) == ["step 200", "step 2\u202f000", "step 4\u202f000"]
    plain = lines(made, ARMS["plain"].label)[-1]
    table = np.array([r["locality"][:15] for r in ROWS if (r["arm"], r.get("step")) == ("plain", 4000)])
    assert plain.x == tuple(range(1, 16))
    assert np.allclose(plain.y, table.mean(0))


def test_what_was_not_measured_is_not_drawn():
    bare = [{k: v for k, v in r.items() if k != "heldout_ibot"} for r in ROWS]
    assert titles(figure(bare, LOSSES, 3)) == ["DINO loss", "Gram loss to the fork"]
    identity = ("run", "seed", "arm", "step")
    nothing = [{k: r[k] for k in identity if k in r} for r in ROWS]
    assert [figure(nothing, chapter, 3) for chapter in CHAPTERS] == [None] * len(CHAPTERS)


@pytest.mark.parametrize("kept", [("trunk",), ("plain",), ("gram", "gram_late"), ("trunk", "plain")])
def test_missing_arms_leave_the_others(kept):
    rows = [r for r in ROWS if r["arm"] in kept]
    for chapter in CHAPTERS:
        made = figure(rows, chapter, 3)
        assert made is None or json.loads(made.to_json())["layout"]["meta"]["axis"]


def test_one_seed_has_no_band():
    made = figure(made_rows(seeds=(7,)), LOSSES, 3)
    assert not [trace for trace in made.data if trace.fill]
    assert "one seed" in lines(made, ARMS["plain"].label)[0].hovertemplate


def test_a_level_far_from_the_curves_stands_in_the_title():
    rows = [r for r in ROWS if not str(r["arm"]).startswith("baseline:")]
    for value, drawn in ((0.75, True), (0.2, False)):
        made = figure([*rows, {"arm": "baseline:colour", "near_auc": value}], BY_KEY["quality"], 3)
        lines_there = [note.text for note in made.layout.annotations if note.text == "colour alone"]
        assert bool(lines_there) == drawn
        assert any(f"colour alone {value:.2f}" in title for title in titles(made)) != drawn
