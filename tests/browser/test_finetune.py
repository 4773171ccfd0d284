"""The Fine-tune tab in a browser, over the fake engine: run, watch, pin, and what comes out in the other tabs."""

import threading

import pytest

pytestmark = pytest.mark.browser
STATE = "document.querySelector('.gv-tuner').gramviz.state()"


@pytest.fixture
def paced(engine):
    """Steps only as they are released."""
    engine.steps = threading.Semaphore(0)
    yield engine.steps
    engine.steps.release(1000)
    engine.steps = None


def open_tab(visitor):
    page = visitor.page
    page.get_by_role("tab", name="Fine-tune").click()
    page.wait_for_function("document.querySelector('.gv-tuner').clientWidth > 0")
    return page


def start(page):
    page.locator(".gv-tuner .gv-start").click()
    page.wait_for_function("document.querySelector('.gv-tuner').gramviz.look('tuned')")


def until(page, phase):
    page.wait_for_function(f"{STATE}.phase === '{phase}'")


def test_a_run_from_its_start_to_the_other_tabs(visit, engine):
    one, other = visit(), visit()
    page = open_tab(one)
    start(page)
    until(page, "over")
    steps = page.evaluate("document.querySelector('.gv-tuner').gramviz.steps('tuned')")
    assert steps == list(range(1, 51))
    # the map on screen is the one that was sent: 200 - 50 of 255 everywhere but at the watched patch
    cosines = page.evaluate("document.querySelector('.gv-tuner').gramviz.cosines('tuned')")
    assert min(cosines) == pytest.approx(150 / 127.5 - 1)
    assert max(cosines) == pytest.approx(1)
    assert page.locator(".gv-kept-list li").count() == 1
    page.get_by_role("tab", name="Explore").click()
    page.locator(".gv-chooser input[value='yours/1']").wait_for()
    assert page.locator(".gv-chooser input[value='yours/1']").is_checked()
    page.locator(".gv-explorer .gv-heading", has_text="yours, 1st").first.wait_for()
    page.wait_for_function("document.querySelector('.gv-explorer').gramviz.ready()")
    assert page.evaluate("document.querySelector('.gv-explorer').gramviz.cosines('yours/1').length") > 0
    page.get_by_role("tab", name="Theory lab").click()
    page.locator(".gv-lab-head option[value='yours/1']").wait_for(state="attached")
    assert other.page.locator(".gv-chooser input[value='yours/1']").count() == 0


def test_pause_pin_zoom_and_stop_while_it_runs(visit, paced, engine):
    page = open_tab(visit())
    start(page)
    paced.release(3)
    page.wait_for_function("document.querySelector('.gv-tuner').gramviz.steps('tuned').length === 3")
    page.locator(".gv-tuner .gv-pause").click()
    page.wait_for_timeout(300)
    paced.release(1)
    until(page, "paused")
    page.locator(".gv-tuner .gv-pause").click()
    page.wait_for_timeout(300)
    paced.release(1)
    until(page, "running")
    # a part of a chart that was zoomed into stays in sight while updates come
    box = page.locator("[data-chart='distance'] canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 40)
    page.mouse.up()
    zoomed = page.evaluate(f"{STATE}.ranges.distance")
    assert zoomed is not None
    page.locator(".gv-tuner .gv-photo").click(position={"x": 5, "y": 5})
    page.wait_for_function("document.querySelector('.gv-tuner').gramviz.look('tuned').pinned === 0")
    paced.release(2)
    page.wait_for_function("document.querySelector('.gv-tuner').gramviz.steps('tuned').length >= 7")
    assert page.evaluate(f"{STATE}.ranges.distance") == zoomed
    page.locator(".gv-tuner .gv-stop").click()
    page.wait_for_timeout(300)
    paced.release(50)
    until(page, "over")
    assert page.evaluate("document.querySelector('.gv-tuner').gramviz.steps('tuned').length") < 20


def test_what_cannot_run_is_said_before_it_is_asked_for(visit):
    page = open_tab(visit())
    page.locator(".gv-tuner select[name='teacher']").select_option("")
    assert page.locator(".gv-tuner .gv-start").is_disabled()
    assert "Anchored to itself" in page.locator(".gv-tuner .gv-why").inner_text()
    page.locator(".gv-tuner .gv-presets button").first.click()
    assert page.locator(".gv-tuner .gv-start").is_enabled()


def test_it_fits_a_phone(visit):
    page = open_tab(visit(viewport={"width": 390, "height": 844}, has_touch=True))
    start(page)
    until(page, "over")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
