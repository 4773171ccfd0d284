"""From pointer, finger and keys to numbers on the screen."""

import numpy as np
import pytest

from gramviz.data.samples import load
from gramviz.vit.images import read_picture
from tests.browser.visitor import INFO, bound, expected, noise, png

pytestmark = pytest.mark.browser

SHOWN = [key for key, info in INFO.items() if info.shown]
CAT = load("chelsea")
PATCHES, ROWS, COLUMNS = 28, 19, 28


def index(row, column, columns=COLUMNS):
    return row * columns + column


def assert_cosines(visitor, picture, patches, positive, negative=()):
    for key in SHOWN:
        wanted = expected(picture, key, patches, positive, negative)
        assert np.abs(visitor.cosines(key) - wanted).max() <= bound(picture, key, patches, positive, negative)


def test_maps_are_there_at_once_and_follow_the_pointer(visit):
    visitor = visit()
    assert visitor.state["grid"] == [ROWS, COLUMNS]
    for row, column in [(0, 0), (7, 11), (ROWS - 1, COLUMNS - 1)]:
        visitor.hover(row, column)
        assert_cosines(visitor, CAT, PATCHES, [index(row, column)])
        assert visitor.text(".gv-spot") == f"row {row}, column {column}"
        assert [visitor.reading(key) for key in SHOWN] == [1.0] * len(SHOWN)


def test_an_uploaded_picture_gives_the_numbers_of_its_features(visit):
    visitor = visit()
    content = png(noise(3))
    visitor.upload(content).ready()
    picture = read_picture(content)
    rows, columns = visitor.state["grid"]
    visitor.click(4, 20)
    visitor.hover(12, 5)
    assert_cosines(visitor, picture, PATCHES, [4 * columns + 20])
    for key in SHOWN:
        wanted = expected(picture, key, PATCHES, [4 * columns + 20])[12 * columns + 5]
        assert abs(visitor.reading(key) - wanted) <= 0.005 + bound(picture, key, PATCHES, [4 * columns + 20])
    assert rows * columns == len(visitor.cosines(SHOWN[0]))


def test_moving_the_pointer_asks_the_server_for_nothing(visit):
    visitor = visit()
    before = len(visitor.requests)
    for column in range(COLUMNS):
        visitor.hover(5, column)
    visitor.click(3, 3)
    visitor.press("c", "Escape")
    assert visitor.requests[before:] == []


def test_every_map_takes_the_pointer_too(visit):
    visitor = visit()
    stage = visitor.map("small-gram-8000").locator(".gv-stage")
    visitor.hover(11, 4, stage)
    assert_cosines(visitor, CAT, PATCHES, [index(11, 4)])
    visitor.click(2, 25, stage=stage)
    visitor.hover(11, 4)
    assert_cosines(visitor, CAT, PATCHES, [index(2, 25)])


def test_clicks_pin_add_and_subtract(visit):
    visitor = visit()
    visitor.click(8, 9)
    visitor.hover(1, 1)
    assert_cosines(visitor, CAT, PATCHES, [index(8, 9)])
    visitor.click(8, 20, "Shift")
    visitor.click(14, 16, "Alt")
    positive, negative = [index(8, 9), index(8, 20)], [index(14, 16)]
    assert_cosines(visitor, CAT, PATCHES, positive, negative)
    assert visitor.text(".gv-query") == "Query: 2 patches minus 1"
    visitor.hover(16, 2)
    wanted = expected(CAT, SHOWN[0], PATCHES, positive, negative)[index(16, 2)]
    assert visitor.reading(SHOWN[0]) == pytest.approx(wanted, abs=0.006)
    visitor.click(8, 20, "Shift")  # a second time: taken away again
    assert_cosines(visitor, CAT, PATCHES, [index(8, 9)], negative)
    visitor.click(3, 3)
    assert_cosines(visitor, CAT, PATCHES, [index(3, 3)])
    visitor.click(3, 3)
    assert visitor.text(".gv-query") == "Query: the pointer"


def test_the_choice_of_what_a_click_does(visit):
    visitor = visit()
    visitor.click(8, 9)
    visitor.choose("click", "add").click(2, 2)
    visitor.choose("click", "subtract").click(5, 5)
    assert_cosines(visitor, CAT, PATCHES, [index(8, 9), index(2, 2)], [index(5, 5)])
    visitor.explorer.locator(".gv-clear").click()
    visitor.drawn()
    assert visitor.state["pins"] == []


def test_keys_move_pin_add_subtract_and_clear(visit):
    visitor = visit()
    visitor.photo.focus()
    visitor.press("ArrowUp", "ArrowLeft", "ArrowLeft")
    start = (ROWS // 2 - 1, COLUMNS // 2 - 2)
    assert_cosines(visitor, CAT, PATCHES, [index(*start)])
    visitor.press("Enter", "ArrowDown", "ArrowDown", "Shift+Enter", "ArrowRight", "Alt+Enter")
    positive = [index(*start), index(start[0] + 2, start[1])]
    negative = [index(start[0] + 2, start[1] + 1)]
    assert_cosines(visitor, CAT, PATCHES, positive, negative)
    visitor.press("Escape")
    assert_cosines(visitor, CAT, PATCHES, negative)
    visitor.press(*["ArrowUp"] * 30, *["ArrowLeft"] * 30)
    assert_cosines(visitor, CAT, PATCHES, [0])


def test_the_class_token_as_query(visit):
    visitor = visit()
    visitor.click(8, 9)
    visitor.press("c")
    assert_cosines(visitor, CAT, PATCHES, [-1])
    button = visitor.explorer.locator(".gv-cls")
    assert button.get_attribute("aria-pressed") == "true"
    assert visitor.text(".gv-query") == "Query: CLS token"
    button.click()
    visitor.drawn()
    assert_cosines(visitor, CAT, PATCHES, [index(8, 9)])


def test_place_is_right_when_zoomed_and_scrolled(visit):
    visitor = visit(viewport={"width": 1100, "height": 500})
    visitor.page.evaluate("document.documentElement.style.zoom = 1.37")
    visitor.page.mouse.wheel(0, 520)
    visitor.page.wait_for_function("window.scrollY >= 520")
    visitor.hover(6, 17)
    assert_cosines(visitor, CAT, PATCHES, [index(6, 17)])


def test_what_is_read_out_is_spoken_after_a_pause(visit):
    visitor = visit()
    visitor.photo.focus()
    visitor.press("Enter", "ArrowRight")
    live = visitor.explorer.locator(".gv-live")
    visitor.page.wait_for_function("document.querySelector('.gv-live').textContent.includes('with Gram')")
    assert "Query: 1 pinned patch; row 9, column 15; trunk step 1\u202f000 " in live.inner_text()


class Finger:
    """Touches as the browser's own input pipeline makes them, so that it may scroll the page by them."""

    def __init__(self, visitor):
        self.visitor = visitor
        self.session = visitor.page.context.new_cdp_session(visitor.page)

    def _send(self, kind, *points):
        touches = [{"x": x, "y": y} for x, y in points]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def drag(self, path):
        self._send("touchStart", path[0])
        for point in path[1:]:
            self._send("touchMove", point)
            self.visitor.drawn()
        self._send("touchEnd")
        self.visitor.drawn()


PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def test_a_finger_on_the_photograph_moves_the_query_and_not_the_page(visit):
    visitor = visit(**PHONE)
    visitor.photo.scroll_into_view_if_needed()
    before = visitor.page.evaluate("window.scrollY")
    Finger(visitor).drag([visitor.spot(3, 3), visitor.spot(6, 6), visitor.spot(12, 9), visitor.spot(15, 20)])
    assert visitor.page.evaluate("window.scrollY") == before
    assert_cosines(visitor, CAT, PATCHES, [index(15, 20)])
    assert len(visitor.state["pins"]) == 1
    visitor.page.touchscreen.tap(*visitor.spot(5, 5))
    visitor.drawn()
    assert_cosines(visitor, CAT, PATCHES, [index(5, 5)])
    assert len(visitor.state["pins"]) == 1


def test_a_finger_on_a_map_scrolls_the_page(visit):
    visitor = visit(**PHONE)
    stage = visitor.map("small-gram-4000").locator(".gv-stage")
    stage.scroll_into_view_if_needed()
    before = visitor.page.evaluate("window.scrollY")
    x, y = visitor.spot(9, 9, stage)
    Finger(visitor).drag([(x, y + 40 * step) for step in range(8)])
    visitor.page.wait_for_function(f"window.scrollY < {before - 50}")
    assert visitor.state["pins"] == []


def test_a_pin_is_there_on_a_tab_that_is_opened_later(visit):
    visitor = visit()
    visitor.click(3, 20)
    visitor.page.get_by_role("tab", name="Training story").click()
    player = "document.querySelector('.gv-player')?.gramviz"
    visitor.page.wait_for_function(f"{player}?.ready()")
    visitor.page.wait_for_function(f"{player}.state().pins.length === 1")
    assert visitor.page.evaluate(f"{player}.state().pins") == visitor.state["pins"]
