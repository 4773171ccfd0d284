"""The training story: the film of a run on the visitor's picture, its curves, and Figure 1."""

import io
import threading

import numpy as np
import pytest
from PIL import Image

from gramviz.data.samples import load
from gramviz.errors import BusyError
from gramviz.ui.colours import sequential
from gramviz.ui.story import CHAPTERS
from gramviz.vit.images import read_picture
from tests.browser.test_view import OVERFLOWING
from tests.browser.visitor import INFO, Visitor, bound, coloured, expected, noise, png

pytestmark = pytest.mark.browser

CAT = load("chelsea")
PATCHES, COLUMNS = 28, 28
STOPS = [1000, 2000, 4000, 6000, 8000]
SAVED = {
    branch: {info.step: key for key, info in INFO.items() if info.branch in ("trunk", branch)}
    for branch in ("plain", "gram")
}
PLAYER = "document.querySelector('.gv-player').gramviz"
NOW = ".gv-curves .gv-now"
PLOTS = "document.querySelectorAll('.gv-curves .js-plotly-plot .svg-container').length"


class Story:
    """A visitor on the story tab."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor, self.page = visitor, visitor.page
        self.player = self.page.locator(".gv-player")
        self.page.get_by_role("tab", name="Training story").click()
        self.ready()

    def ready(self) -> "Story":
        self.page.wait_for_function(f"{PLAYER}.ready()", timeout=20_000)
        return self.drawn()

    def curves(self) -> "Story":
        self.page.wait_for_function(f"{PLOTS} === {len(CHAPTERS)}", timeout=30_000)
        return self.drawn()

    def drawn(self) -> "Story":
        self.visitor.drawn()
        return self

    @property
    def state(self):
        return self.page.evaluate(f"{PLAYER}.state()")

    def go_to(self, position: float) -> "Story":
        self.page.evaluate(f"{PLAYER}.goTo({position})")
        return self.drawn()

    def cosines(self, branch: str):
        return np.array(self.page.evaluate(f"{PLAYER}.cosines('{branch}')"))

    def map(self, branch: str):
        name = {"plain": "without Gram", "gram": "with Gram"}[branch]
        return self.player.locator(f'.gv-cell:has(canvas[aria-label="Map of {name}"])')

    def pin(self, row: int, column: int) -> "Story":
        self.visitor.page.mouse.click(*self.visitor.spot(row, column, self.player.locator(".gv-photo")))
        return self.drawn()


@pytest.fixture
def story(visit):
    return Story(visit())


def assert_at(story, picture, branch, step, patch):
    """The map of an arm holds the cosines of a step, blended in proportion between two saved ones."""
    before = max(s for s in STOPS if s <= step)
    after = min(s for s in STOPS if s >= step)
    keys = [SAVED[branch][before], SAVED[branch][after]]
    low, high = (expected(picture, key, PATCHES, [patch]) for key in keys)
    mix = (step - before) / (after - before) if after > before else 0.0
    off = max(bound(picture, key, PATCHES, [patch]) for key in keys)
    assert np.abs(story.cosines(branch) - ((1 - mix) * low + mix * high)).max() <= off + 1e-6


def test_every_saved_step_and_what_lies_between(story):
    story.pin(8, 9)
    patch = 8 * COLUMNS + 9
    assert story.state["stops"] == STOPS
    for position, step in ((0, 1000), (1, 2000), (2, 4000), (4, 8000), (1.5, 3000), (3.25, 6500)):
        story.go_to(position)
        for branch in SAVED:
            assert_at(story, CAT, branch, step, patch)


def test_captions_tell_the_step_and_the_numbers_of_this_picture(story, engine):
    views = {view.checkpoint.id: view for view in engine.compare(CAT, list(INFO), PATCHES)}
    told = {0: "step 1\u202f000, shared", 2: "step 4\u202f000", 2.5: "between 4\u202f000 and 6\u202f000"}
    for position, words in told.items():
        story.go_to(position)
        assert story.map("plain").locator(".gv-step").inner_text() == words
        assert story.player.locator(".gv-now-step").inner_text() == words.replace(", shared", "")
        numbers = story.map("plain").locator(".gv-measures dd").all_inner_texts()
        measures = views[SAVED["plain"][STOPS[int(position)]]].measures
        keys = ("cls_alignment", "mean_similarity", "effective_rank", "top1_energy")
        assert numbers == [f"{measures[key]:.{1 if key == 'effective_rank' else 2}f}" for key in keys]
    assert story.map("plain").locator(".gv-range").inner_text() == "numbers of step 4\u202f000"


def test_one_fixed_scale(story):
    story.go_to(2)
    for branch in SAVED:
        shown = story.visitor.pixels(story.map(branch))
        assert np.array_equal(shown, coloured(story.cosines(branch), 0, 1, sequential()))
    ticks = story.player.locator(".gv-ticks").inner_text().split("\n")
    assert ticks == ["\u2264 0", "0.25", "0.5", "0.75", "1"]


def test_after_loading_nothing_is_asked_of_the_server(story):
    story.curves()
    before = len(story.visitor.requests)
    story.pin(3, 4).go_to(0)
    story.page.keyboard.press(" ")
    story.page.wait_for_function(f"{PLAYER}.state().position > 1")
    story.page.keyboard.press(" ")
    story.page.get_by_role("tab", name="Explore").click()
    story.page.get_by_role("tab", name="Training story").click()
    story.drawn()
    assert story.visitor.requests[before:] == []


def test_what_explore_has_loaded_is_not_fetched_again(story):
    factors = [url for url in story.visitor.requests if url.endswith("factor.bin")]
    assert len(factors) == len(set(factors)) == len(INFO)


def test_playing_runs_to_the_end_and_begins_again(story):
    assert story.state["position"] == len(STOPS) - 1
    button = story.player.locator(".gv-play")
    story.player.locator('label:has(input[name="speed"][value="2"])').click()
    button.click()
    assert button.inner_text() == "pause"
    story.page.wait_for_function(f"{PLAYER}.state().position % 1 > 0")
    button.click()
    assert story.state["playing"] is False
    halted = story.state["position"]
    story.drawn().drawn()
    assert story.state["position"] == halted
    story.go_to(3.9)
    button.click()
    story.page.wait_for_function(f"!{PLAYER}.state().playing")
    assert story.state["position"] == len(STOPS) - 1
    assert button.inner_text() == "play"


def test_keys(story):
    slider = story.player.locator(".gv-slider")
    slider.focus()
    for key, position in (("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 4)):
        story.page.keyboard.press(key)
        assert story.state["position"] == position
    story.go_to(1.4)
    story.page.keyboard.press("ArrowLeft")
    assert story.state["position"] == 1
    story.drawn()
    assert slider.get_attribute("aria-valuetext") == "step 2\u202f000"
    story.player.locator(".gv-photo").focus()
    story.page.keyboard.press(" ")
    assert story.state["playing"] is True
    assert story.state["pins"] == []  # Space plays; Enter pins
    story.page.keyboard.press(" ")
    story.page.keyboard.press("Enter")
    assert len(story.state["pins"]) == 1
    story.page.keyboard.press("c")
    assert story.state["cls"] is True


def test_a_stop_can_be_clicked(story):
    story.player.get_by_role("button", name="6\u202f000").click()
    assert story.state["position"] == 3


def test_those_who_want_less_motion_go_from_stop_to_stop(visit):
    story = Story(visit(reduced_motion="reduce")).go_to(0)
    story.player.locator('label:has(input[name="speed"][value="2"])').click()
    seen = story.page.evaluate(
        f"""async () => {{
            const seen = new Set();
            document.querySelector('.gv-play').click();
            while ({PLAYER}.state().playing) {{
                seen.add({PLAYER}.state().position);
                await new Promise(requestAnimationFrame);
            }}
            return [...seen];
        }}"""
    )
    assert seen == [0, 1, 2, 3]


def test_pins_are_shared_between_the_tabs(story):
    story.pin(8, 9)
    story.page.get_by_role("tab", name="Explore").click()
    story.drawn()
    assert story.visitor.state["pins"] == story.state["pins"] != []
    wanted = expected(CAT, "small-gram-8000", PATCHES, [8 * COLUMNS + 9])
    assert np.abs(story.visitor.cosines("small-gram-8000") - wanted).max() < 0.01
    story.visitor.click(2, 2)
    assert story.state["pins"] == story.visitor.state["pins"]


def test_the_chosen_picture_applies_to_every_tab(story):
    content = png(noise(21))
    story.visitor.upload(content)
    picture = read_picture(content)
    key = f"{picture.digest}:28:-1"
    story.page.wait_for_function(f"{PLAYER}.state().key === '{key}'")
    story.ready().pin(5, 6)
    assert_at(story, picture, "plain", 8000, 5 * COLUMNS + 6)
    asked = story.state["asked"]
    story.page.get_by_role("tab", name="Explore").click()
    story.visitor.ready()
    assert story.visitor.state["key"] == key
    story.page.locator('.gv-sample[data-id="coffee"]').click()
    story.visitor.ready()
    assert story.state["asked"] == asked  # a closed tab asks for nothing
    story.page.get_by_role("tab", name="Training story").click()
    story.page.wait_for_function(f"{PLAYER}.state().key === '{load('coffee').digest}:28:-1'")
    story.ready()
    assert story.player.locator(".gv-caption").inner_text().startswith("Cup of coffee")


def test_a_bad_file_leaves_the_film(story):
    story.visitor.upload(b"this is no image")
    line = story.player.locator(".gv-error")
    line.wait_for(state="visible")
    assert story.state["key"] == f"{CAT.digest}:28:-1"
    story.page.get_by_role("tab", name="Explore").click()
    story.visitor.choose("patches", "20").ready()
    story.page.get_by_role("tab", name="Training story").click()
    story.page.wait_for_function(f"{PLAYER}.state().key === '{CAT.digest}:20:-1'")
    story.ready()
    assert line.is_hidden()


BREAK = """() => {
    window.unbroken = window.fetch;
    window.fetch = (address, ...rest) => {
        if (String(address).includes('factor.bin')) return Promise.reject(new Error('lost'));
        return window.unbroken(address, ...rest);
    };
}"""
MEND = "() => { window.fetch = window.unbroken; }"


@pytest.mark.parametrize("way", ["button", "tab"])
@pytest.mark.parametrize("trouble", ["busy", "download"])
def test_after_trouble_there_is_another_try(visit, engine, monkeypatch, trouble, way):
    def busy(*_args, **_named):
        raise BusyError("3 computations are waiting already. Please try again in a moment.")

    visitor = visit()
    page, player = visitor.page, visitor.page.locator(".gv-player")
    with monkeypatch.context() as patched:
        if trouble == "busy":
            patched.setattr(engine, "compare", busy)
        else:
            page.evaluate(BREAK)
        page.get_by_role("tab", name="Training story").click()
        player.locator(".gv-again").wait_for(state="visible")
        told = {"busy": "computations are waiting", "download": "A map could not be loaded"}[trouble]
        assert told in player.locator(".gv-error").inner_text()
        assert player.locator(".gv-make").is_disabled()
        asked = page.evaluate(f"{PLAYER}.state().asked")
        page.set_viewport_size({"width": 1300, "height": 800})  # nothing is asked for by itself
        visitor.drawn()
        assert page.evaluate(f"{PLAYER}.state().asked") == asked
    if trouble == "download":
        page.evaluate(MEND)
    if way == "button":
        player.locator(".gv-again").click()
    else:
        page.get_by_role("tab", name="Explore").click()
        visitor.drawn()
    story = Story(visitor)
    assert story.state["asked"] == asked + 1
    assert player.locator(".gv-error").is_hidden()
    assert player.locator(".gv-again").is_hidden()
    assert player.locator(".gv-make").is_enabled()
    assert_at(story.pin(8, 9), CAT, "plain", 8000, 8 * COLUMNS + 9)


def test_figure_1_waits_for_all_maps(story, engine):
    make = story.player.locator(".gv-make")
    assert make.is_enabled()
    engine.pace = threading.Semaphore(2)
    try:
        story.page.locator('.gv-sample[data-id="rocket"]').click()
        story.page.wait_for_function(f"{PLAYER}.state().key === '{load('rocket').digest}:28:-1'")
        assert make.is_disabled()
        assert make.get_attribute("title") == "Figure 1 can be drawn when all maps are there"
    finally:
        engine.pace.release(100)
        engine.pace = None
    story.ready()
    assert make.is_enabled()


def test_only_explore_offers_its_checkpoints(story):
    checkpoints = story.page.locator(".gv-checkpoints")
    assert checkpoints.is_hidden()
    story.page.get_by_role("tab", name="Explore").click()
    checkpoints.wait_for(state="visible")


def test_curves_come_with_words_and_follow_the_player(story):
    story.curves()
    titles = story.page.locator(".gv-chapter h2").all_inner_texts()
    assert titles == [chapter.title for chapter in CHAPTERS]
    assert story.page.locator(NOW).count() == 3 + 6 + 4 + 8 + 9 + 3  # not in the panels of locality
    script = "lines => lines.map((line) => new DOMMatrix(getComputedStyle(line).transform).m41)"
    left, middle, right = (story.go_to(stop).page.locator(NOW).evaluate_all(script) for stop in (0, 2, 4))
    assert np.allclose(np.subtract(middle, left) / np.subtract(right, left), 3 / 7, atol=0.01)


def test_a_run_without_measurements_has_one_sentence_for_curves(visit, engine, monkeypatch):
    monkeypatch.setattr(engine, "rows", {})
    story = Story(visit())
    story.page.wait_for_function(
        "document.querySelector('.gv-intro')?.innerText.includes('Nothing was measured')"
    )
    assert story.page.locator(".js-plotly-plot").count() == 0
    assert story.page.locator(".gv-chapter:visible").count() == 0


def test_figure_1_can_be_downloaded(story):
    story.pin(8, 9).player.locator(".gv-make").click()
    paper = story.player.locator(".gv-paper")
    assert paper.is_visible()
    label = paper.locator("canvas").get_attribute("aria-label")
    assert label.endswith("at steps 2\u202f000, 4\u202f000, 6\u202f000, 8\u202f000")
    with story.page.expect_download() as download:
        paper.locator(".gv-save").click()
    assert download.value.suggested_filename == "gramviz-figure-1.png"
    picture = Image.open(io.BytesIO(download.value.path().read_bytes())).convert("RGB")
    pixels = np.asarray(picture)
    assert (pixels[0] == 255).all()
    # the last map of the last row: its patches, at their middles, have the colours of the fixed scale
    height = round(320 * CAT.size[1] / CAT.size[0])
    left, top = picture.width - 40 - 320, 40 + 118 + height + 20
    rows = 19
    x = (left + (np.arange(COLUMNS) + 0.5) * 320 / COLUMNS).astype(int)
    y = (top + (np.arange(rows) + 0.5) * height / rows).astype(int)
    story.go_to(4)
    wanted = coloured(story.cosines("gram"), 0, 1, sequential()).reshape(rows, COLUMNS, 3)
    assert np.abs(pixels[np.ix_(y, x)].astype(int) - wanted).max() <= 2
    paper.locator(".gv-close").click()
    assert paper.is_hidden()


@pytest.mark.parametrize("width", [390, 768, 1440, 1920])
def test_nothing_overflows(visit, width):
    story = Story(visit(viewport={"width": width, "height": 900})).curves()
    assert story.page.evaluate(OVERFLOWING) == {"page": 0, "out": []}


def test_touch(visit):
    story = Story(visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True))
    photo = story.player.locator(".gv-photo")
    photo.scroll_into_view_if_needed()
    story.page.touchscreen.tap(*story.visitor.spot(4, 5, photo))
    story.drawn()
    assert len(story.state["pins"]) == 1
    story.go_to(0)
    story.player.locator(".gv-play").tap()
    story.page.wait_for_function(f"{PLAYER}.state().position > 0.5")
