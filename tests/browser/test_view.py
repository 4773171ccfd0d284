"""Scales, colours, difference, and how the page is laid out."""

import numpy as np
import pytest

from gramviz.data.samples import load
from gramviz.ui.colours import diverging, sequential
from tests.browser.visitor import INFO, coloured
from tests.ui.test_colours import luminance

pytestmark = pytest.mark.browser

SHOWN = [key for key, info in INFO.items() if info.shown]


def test_colours_are_those_of_the_scale(visit):
    visitor = visit()
    visitor.click(8, 9)
    scales = {
        "unit": lambda values: (0, 1, sequential()),
        "signed": lambda values: (-1, 1, diverging()),
        "own": lambda values: (values.min(), values.max(), sequential()),
    }
    for name, scale in scales.items():
        visitor.choose("scale", name)
        for key in SHOWN:
            values = visitor.cosines(key)
            assert np.array_equal(visitor.pixels(visitor.map(key)), coloured(values, *scale(values)))


def test_the_colour_bar_has_the_numbers_of_the_scale(visit):
    visitor = visit()
    bar = visitor.explorer.locator(".gv-head .gv-bar")
    seen = {}
    for name in ("unit", "signed", "own"):
        visitor.choose("scale", name)
        seen[name] = bar.locator(".gv-ticks").inner_text().split("\n")
    assert seen["unit"] == ["≤ 0", "0.25", "0.5", "0.75", "1"]
    assert seen["signed"] == ["−1", "−0.5", "0", "0.5", "1"]
    visitor.click(8, 9)
    for key in SHOWN:
        low, high = visitor.map(key).locator(".gv-range").inner_text().replace("−", "-").split(" to ")
        values = visitor.cosines(key)
        assert float(low) == pytest.approx(values.min(), abs=0.0051)
        assert float(high) == pytest.approx(values.max(), abs=0.0051)
    shown = visitor.pixels(bar)
    assert np.array_equal(shown, sequential())


def test_settings_and_pins_outlive_other_pictures_and_resolutions(visit):
    visitor = visit()
    visitor.choose("scale", "signed").choose("pixels", "smooth")
    visitor.click(9, 14)
    visitor.page.locator('.gv-sample[data-id="coffee"]').click()
    visitor.ready()
    visitor.choose("patches", "40").ready()
    state = visitor.state
    assert (state["scale"], state["pixels"]) == ("signed", "smooth")
    assert len(state["pins"]) == 1
    assert state["pins"][0]["x"] == pytest.approx(14.5 / 28)
    rows, columns = state["grid"]
    row, column = int(state["pins"][0]["y"] * rows), int(state["pins"][0]["x"] * columns)
    assert visitor.cosines(SHOWN[0])[row * columns + column] == pytest.approx(1, abs=1e-3)


def test_difference_of_two_checkpoints(visit):
    visitor = visit()
    visitor.click(8, 9)
    visitor.choose("view", "difference")
    visitor.page.select_option('select[name="a"]', "small-trunk-2000")
    visitor.page.select_option('select[name="b"]', "small-plain-8000")
    visitor.drawn()
    difference = np.array(
        visitor.page.evaluate("document.querySelector('.gv-explorer').gramviz.difference()")
    )
    visitor.choose("view", "similarity")
    a, b = visitor.cosines("small-trunk-2000"), visitor.cosines("small-plain-8000")
    assert np.abs(difference - (a - b)).max() < 1e-6
    visitor.choose("view", "difference")
    third = visitor.page.locator(".gv-pair .gv-cell").nth(2)
    assert np.array_equal(visitor.pixels(third), coloured(difference, -1, 1, diverging()))
    visitor.choose("scale", "own")
    reach = np.abs(difference).max()
    assert np.array_equal(visitor.pixels(third), coloured(difference, -reach, reach, diverging()))
    assert third.locator(".gv-ticks").inner_text().split("\n") == [f"−{reach:.2f}", "0", f"{reach:.2f}"]


def test_principal_components_in_their_own_and_in_a_common_basis(visit, engine):
    visitor = visit()
    picture = load("chelsea")
    visitor.choose("view", "colours")
    common = engine.common_colours(picture, SHOWN, 28)
    for key in SHOWN:
        own = next(iter(engine.compare(picture, [key], 28))).colours
        assert visitor.pixels(visitor.map(key)).tobytes() == own
    visitor.choose("basis", "common")
    for key in SHOWN:
        assert visitor.pixels(visitor.map(key)).tobytes() == common[key]
    assert visitor.explorer.locator(".gv-head .gv-bar").is_hidden()


def test_measures_stand_under_each_map(visit, engine):
    visitor = visit()
    for view in engine.compare(load("chelsea"), SHOWN, 28):
        shown = visitor.map(view.checkpoint.id).locator(".gv-measures dd").all_inner_texts()
        keys = ("cls_alignment", "mean_similarity", "effective_rank", "top1_energy")
        wanted = [f"{view.measures[key]:.{1 if key == 'effective_rank' else 2}f}" for key in keys]
        assert shown == wanted


def test_the_photograph_under_the_maps(visit):
    visitor = visit()
    stage = visitor.map(SHOWN[0])
    visible = "node => getComputedStyle(node).visibility"
    opacity = "node => Number(getComputedStyle(node).opacity)"
    assert stage.locator("img").evaluate(visible) == "hidden"
    assert stage.locator("canvas").evaluate(opacity) == 1
    visitor.page.locator('input[name="overlay"]').check()
    visitor.page.locator('input[name="opacity"]').fill("35")
    assert stage.locator("img").evaluate(visible) == "visible"
    visitor.page.wait_for_function(
        "Math.abs(getComputedStyle(document.querySelector('.gv-map canvas')).opacity - 0.35) < 0.01"
    )
    rendering = "node => getComputedStyle(node).imageRendering"
    assert stage.locator("canvas").evaluate(rendering) == "pixelated"
    visitor.choose("pixels", "smooth")
    assert stage.locator("canvas").evaluate(rendering) == "auto"


OVERFLOWING = """() => {
    const wide = document.documentElement.clientWidth;
    const out = [...document.querySelectorAll('.gv *')].filter((node) => {
        const box = node.getBoundingClientRect();
        const hidden = node.closest('.gv-live, .gv-segments input, .gv-scroll > *');
        return box.width > 0 && !hidden && (box.right > wide + 1 || box.left < -1);
    });
    const page = document.documentElement.scrollWidth - wide;
    return { page, out: out.map((node) => node.className || node.tagName) };
}"""


@pytest.mark.parametrize("width", [390, 768, 1024, 1440, 1920])
def test_nothing_overflows(visit, width):
    visitor = visit(viewport={"width": width, "height": 900})
    assert visitor.page.evaluate(OVERFLOWING) == {"page": 0, "out": []}


def box(visitor, key):
    return visitor.map(key).locator(".gv-stage").bounding_box()


def test_wide_pages_have_a_row_for_each_branch(visit):
    visitor = visit()
    trunk, plain = box(visitor, "small-trunk-2000"), box(visitor, "small-plain-4000")
    later, gram = box(visitor, "small-plain-8000"), box(visitor, "small-gram-4000")
    assert plain["y"] == later["y"] < gram["y"]
    assert plain["x"] == gram["x"] < later["x"]
    assert trunk["x"] + trunk["width"] < plain["x"]
    assert trunk["y"] == pytest.approx((plain["y"] + gram["y"]) / 2, abs=1)
    assert all(b["width"] == pytest.approx(trunk["width"], abs=0.1) for b in (plain, later, gram))
    assert visitor.page.locator(".gv-maps .gv-links path").count() == 2 * 5


def test_phones_have_a_row_for_each_step(visit):
    visitor = visit(viewport={"width": 390, "height": 844})
    trunk, plain = box(visitor, "small-trunk-2000"), box(visitor, "small-plain-4000")
    later, gram = box(visitor, "small-plain-8000"), box(visitor, "small-gram-4000")
    assert plain["y"] == gram["y"] < later["y"]
    assert plain["x"] == later["x"] < gram["x"]
    assert trunk["y"] + trunk["height"] < plain["y"]
    assert trunk["x"] == pytest.approx((plain["x"] + gram["x"]) / 2, abs=1)


def test_dark_mode(visit):
    visitor = visit(color_scheme="dark")

    def seen(selector, name):
        script = "([selector, name]) => getComputedStyle(document.querySelector(selector))[name]"
        colour = visitor.page.evaluate(script, [selector, name])  # rgb(1, 2, 3) or rgba(1, 2, 3, 1)
        return luminance(
            np.array([float(part) for part in colour[colour.index("(") + 1 : -1].split(",")][:3])
        )

    background = seen("body", "backgroundColor")
    assert background < 0.02
    for selector in (".gv-heading", ".gv-step", ".gv-caption", ".gv-status", ".gv-row > legend"):
        text = seen(selector, "color")
        assert (text + 0.05) / (background + 0.05) >= 4.5, selector
