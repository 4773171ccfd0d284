"""Every export as a visitor has it: the file opens and holds what the screen showed."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gramviz.data.samples import load
from gramviz.ui.colours import sequential
from tests.browser.visitor import coloured

pytestmark = pytest.mark.browser

SHOWN = [
    f"small-{name}"
    for name in ("trunk-1000", "trunk-2000", "plain-4000", "plain-8000", "gram-4000", "gram-8000")
]


def save(visitor, ware):
    """Open the menu, take a file, and close it: (name, content)."""
    visitor.page.locator(".gv-open-exports").click()
    with visitor.page.expect_download() as download:
        visitor.page.locator(f'[data-ware="{ware}"]').click()
    visitor.page.locator(".gv-exporter .gv-close").click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_numbers_are_those_on_the_screen(visit):
    visitor = visit()
    visitor.click(3, 20)
    visitor.click(10, 4, "Shift")
    visitor.click(2, 2, "Alt")
    onscreen = {key: visitor.cosines(key) for key in SHOWN}
    name, data = save(visitor, "numbers.json")
    assert name == "gramviz-cosines.json"
    told = json.loads(data)
    assert told["query"] == {"positive": [3 * 28 + 20, 10 * 28 + 4], "negative": [2 * 28 + 2]}
    assert [each["checkpoint"]["id"] for each in told["maps"]] == SHOWN
    for each in told["maps"]:
        np.testing.assert_allclose(np.ravel(each["cosines"]), onscreen[each["checkpoint"]["id"]], atol=1e-6)
    _, data = save(visitor, "numbers.npz")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        for key, cosines in zip(arrays["ids"], arrays["cosines"], strict=True):
            np.testing.assert_allclose(cosines.ravel(), onscreen[str(key)], atol=1e-6)
    _, data = save(visitor, "numbers.csv")
    rows = list(csv.DictReader(data.decode().splitlines()[1:]))
    for key in SHOWN:
        mine = [float(row["cosine"]) for row in rows if row["checkpoint"] == key]
        np.testing.assert_allclose(mine, onscreen[key], atol=1e-6)


def test_the_pointer_is_the_query_where_nothing_is_pinned(visit):
    visitor = visit()
    visitor.hover(5, 9)
    _, data = save(visitor, "numbers.json")
    assert json.loads(data)["query"] == {"positive": [5 * 28 + 9], "negative": []}
    visitor.page.locator(".gv-explorer .gv-cls").click()
    _, data = save(visitor, "numbers.json")
    assert json.loads(data)["query"] == {"positive": [19 * 28], "negative": []}


@pytest.mark.parametrize("ware", ["figure", "sheet"])
def test_pictures_have_the_colours_of_the_screen(visit, ware):
    visitor = visit()
    visitor.click(3, 20).drawn()
    wanted = {key: coloured(visitor.cosines(key), 0, 1, sequential()) for key in SHOWN}
    name, data = save(visitor, f"{ware}.png")
    assert name == {"figure": "gramviz-maps.png", "sheet": "gramviz-figure-1.png"}[ware]
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    packed = {tuple(colour) for colour in np.unique(pixels, axis=0).tolist()}
    for key, colours in wanted.items():
        missing = [colour for colour in np.unique(colours, axis=0).tolist() if tuple(colour) not in packed]
        assert len(missing) <= 2, (key, missing)  # float32 on the page may round one the other way
    for kind, start in (("svg", b"<?xml"), ("pdf", b"%PDF")):
        _, data = save(visitor, f"{ware}.{kind}")
        assert data.startswith(start)


@pytest.mark.parametrize(("tab", "name"), [("Training story", "curves"), ("Spectra", "spectra")])
def test_the_figure_is_that_of_the_tab(visit, tab, name):
    visitor = visit()
    visitor.page.get_by_role("tab", name=tab).click()
    if name == "curves":
        visitor.page.wait_for_function("document.querySelector('.gv-player')?.gramviz?.ready()")
    saved, data = save(visitor, "figure.png")
    assert saved == f"gramviz-{name}.png"
    with Image.open(io.BytesIO(data)) as image:
        image.load()


def test_the_figure_of_a_card_is_that_of_the_card_on_screen(visit, address):
    visitor = visit(f"{address}#tab=theory&card=lemma2&lemma2.direction=opposite&lemma2.size=0.5")
    visitor.page.wait_for_function(
        "document.querySelector('#gv-card-lemma2 .gv-card')?.gramviz?.state().settled", timeout=30_000
    )
    numbers = visitor.page.evaluate(
        "document.querySelector('#gv-card-lemma2 .gv-card').gramviz.state().numbers"
    )
    name, data = save(visitor, "figure.svg")
    assert name == "gramviz-theory.svg"
    said = " ".join(re.findall(r"<!-- (.*?) -->", data.decode()))
    assert "direction opposite, size 0.5" in said
    assert f"R after {numbers['R after']:.4g}" in said


def test_the_figure_of_a_fine_tune_is_that_on_screen(visit, address):
    visitor = visit(f"{address}#tab=finetune&plan.steps=5")
    visitor.page.locator(".gv-tuner .gv-start").click()
    state = "document.querySelector('.gv-tuner').gramviz.state()"
    visitor.page.wait_for_function(f"{state}.phase === 'over'", timeout=30_000)
    name, data = save(visitor, "figure.svg")
    assert name == "gramviz-fine-tune.svg"
    said = " ".join(re.findall(r"<!-- (.*?) -->", data.decode()))
    for word in ("Gram teacher", "start", "now", "5 steps", "small-plain-8000"):
        assert word in said


def test_no_fine_tune_no_figure(visit, address):
    visitor = visit(f"{address}#tab=finetune")
    visitor.page.locator(".gv-open-exports").click()
    visitor.page.locator('[data-ware="figure.png"]').click()
    visitor.page.wait_for_function(
        "document.querySelector('.gv-exporter .gv-made').textContent.startsWith('There is nothing of a fine-tune')"
    )


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_the_film_moves(visit, kind):
    visitor = visit()
    visitor.click(3, 20)
    name, data = save(visitor, f"film.{kind}")
    assert name == f"gramviz-training.{kind}"
    with Image.open(io.BytesIO(data)) as film:
        assert film.n_frames > 20


def test_the_page_of_its_own_needs_no_server(visit, browser, tmp_path):
    visitor = visit()
    visitor.choose("patches", "32").ready()
    for key in SHOWN[:2]:
        step = f"{int(key.split('-')[-1]):,}".replace(",", "\u202f")
        visitor.page.get_by_role("checkbox", name=f"trunk, step {step}").uncheck()
    visitor.ready()
    visitor.click(3, 20).drawn()
    onscreen = {key: visitor.cosines(key) for key in SHOWN[2:]}
    name, data = save(visitor, "page.html")
    assert name == "gramviz-maps.html"
    assert len(data) < 5_000_000
    file = tmp_path / name
    file.write_bytes(data)
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    requests, problems = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.goto(file.as_uri())
    cosines = "(id) => document.querySelector('.gv-standalone').gramviz.cosines(id)"
    for key, values in onscreen.items():
        np.testing.assert_array_equal(page.evaluate(cosines, key), values)
    page.locator(".gv-clear").click()
    photo = page.locator(".gv-photo")
    box = photo.bounding_box()
    rows, columns = visitor.state["grid"]
    photo.hover(position={"x": (7 + 0.5) / columns * box["width"], "y": (11 + 0.5) / rows * box["height"]})
    visitor.click(11, 7).drawn()
    page.wait_for_function(
        "([key, wanted]) => document.querySelector('.gv-standalone').gramviz.cosines(key)[5] === wanted",
        arg=[SHOWN[-1], float(visitor.cosines(SHOWN[-1])[5])],
    )
    for key in onscreen:
        np.testing.assert_array_equal(page.evaluate(cosines, key), visitor.cosines(key))
    assert "row 11, column 7" in page.locator(".gv-spot").inner_text()
    assert (
        page.locator(".gv-measures dd").all_inner_texts()[0]
        == visitor.map(SHOWN[2]).locator("dd").first.inner_text()
    )
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert problems == []
    context.close()


def test_the_menu_by_keyboard_and_what_it_says(visit):
    visitor = visit()
    visitor.page.locator(".gv-open-exports").focus()
    visitor.page.keyboard.press("Enter")
    menu = visitor.page.get_by_role("dialog", name="Export what you see")
    assert menu.is_visible()
    names = [button.get_attribute("aria-label") for button in menu.locator("[data-ware]").all()]
    assert len(set(names)) == len(names) == 12
    with visitor.page.expect_download():
        menu.locator('[data-ware="numbers.csv"]').press("Enter")
    visitor.page.wait_for_function(
        "document.querySelector('.gv-exporter .gv-made').textContent.includes(' kB')"
    )
    assert "gramviz-cosines.csv" in visitor.text(".gv-exporter .gv-made")
    visitor.page.keyboard.press("Escape")
    assert menu.is_hidden()


def test_a_refusal_is_told_in_the_menu(visit, engine):
    visitor = visit()
    rows, engine.rows = engine.rows, {}
    try:
        visitor.page.get_by_role("tab", name="Training story").click()
        visitor.page.wait_for_function("document.querySelector('.gv-player')?.gramviz?.ready()")
        visitor.page.locator(".gv-open-exports").click()
        visitor.page.locator('[data-ware="figure.png"]').click()
        visitor.page.wait_for_function(
            "document.querySelector('.gv-exporter .gv-made').textContent.startsWith('Nothing was measured')"
        )
        assert visitor.page.locator('[data-ware="figure.png"]').is_enabled()
    finally:
        engine.rows = rows


def test_the_sample_of_the_caption_is_the_one_that_was_chosen(visit):
    visitor = visit()
    visitor.page.locator('.gv-sample[data-id="coffee"]').click()
    visitor.ready()
    _, data = save(visitor, "numbers.json")
    assert json.loads(data)["picture"]["digest"] == load("coffee").digest
