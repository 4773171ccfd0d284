"""The spectra tab: what is on the screen against NumPy in float64, by mouse, keyboard and on a phone."""

import csv
import io

import numpy as np
import pytest
from playwright.sync_api import TimeoutError as Timeout

from gramviz.data.samples import load
from gramviz.gram.orders import hilbert_order
from gramviz.ui.colours import diverging, sequential
from gramviz.ui.spectra import MEASURES
from tests.browser.test_view import OVERFLOWING
from tests.browser.visitor import INFO, Visitor, coloured
from tests.ui.fake_engine import features, patch_features
from tests.ui.test_colours import luminance

pytestmark = pytest.mark.browser

CAT = load("chelsea")
PATCHES, ROWS, COLUMNS = 28, 19, 28
SHOWN = [key for key, info in INFO.items() if info.shown]
PART = "document.querySelector('.gv-spectral').gramviz"
PLOTS = "document.querySelectorAll('.gv-spectra .js-plotly-plot .svg-container').length"
HALF = 1e-3  # half floats of entries up to 1


class SpectraTab:
    """A visitor on the spectra tab."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor, self.page = visitor, visitor.page
        self.root = self.page.locator(".gv-spectral")
        self.page.get_by_role("tab", name="Spectra").click()
        self.ready()

    def ready(self) -> "SpectraTab":
        self.page.wait_for_function(f"{PART}.ready()", timeout=30_000)
        return self.drawn()

    def plots(self) -> "SpectraTab":
        self.page.wait_for_function(f"{PLOTS} === 3", timeout=30_000)
        return self.drawn()

    def drawn(self) -> "SpectraTab":
        self.visitor.drawn()
        return self

    @property
    def state(self):
        return self.page.evaluate(f"{PART}.state()")

    def choose(self, name: str, value: str) -> "SpectraTab":
        self.root.locator(f'label:has(input[name="{name}"][value="{value}"])').click()
        return self.drawn()

    def matrix(self):
        """The patches in order, and what is drawn of them."""
        self.page.wait_for_function(f"{PART}.ready()")
        found = self.page.evaluate(f"{PART}.matrix()")
        size = len(found["order"])
        return np.array(found["order"]), np.array(found["values"]).reshape(size, size)

    def values(self, key: str):
        return np.array(self.page.evaluate(f"(id) => {PART}.values(id)", key))

    def map(self, key: str):
        info = INFO[key]
        name = {"trunk": "trunk", "plain": "without Gram", "gram": "with Gram"}[info.branch]
        step = f"{info.step:,}".replace(",", "\u202f")
        return self.root.locator(f'.gv-cell:has(canvas[aria-label="Map of {name}, step {step}"])')

    def over_matrix(self, row: int, column: int) -> "SpectraTab":
        matrix = self.root.locator(".gv-matrix")
        matrix.scroll_into_view_if_needed()
        box, size = matrix.bounding_box(), ROWS * COLUMNS
        self.page.mouse.move(
            box["x"] + (column + 0.5) / size * box["width"], box["y"] + (row + 0.5) / size * box["height"]
        )
        return self.drawn()


@pytest.fixture
def tab(visit):
    return SpectraTab(visit())


def decomposed(key, layer=-1):
    """G in float64 with its eigenvalues, descending, and eigenvectors with a sum >= 0."""
    x = features(CAT, INFO[key], PATCHES, layer=layer)[:-1]
    values, vectors = np.linalg.eigh(x @ x.T)
    vectors = vectors[:, ::-1]
    return x @ x.T, values[::-1], vectors * np.where(vectors.sum(0) < 0, -1, 1)


def assert_vector(tab, key, k, layer=-1):
    """A map shows the k-th eigenvector, in the colours of its own even scale, with its eigenvalue and share."""
    _, values, vectors = decomposed(key, layer)
    shown, wanted = tab.values(key), vectors[:, k - 1]
    if abs(wanted.sum()) < 1e-3:  # the sign of such a vector is rounding's
        wanted = wanted * np.sign(wanted @ shown)
    assert np.abs(shown - wanted).max() < HALF
    reach = np.abs(shown).max()
    pixels = tab.visitor.pixels(tab.map(key))
    assert np.array_equal(pixels, coloured(shown, -reach, reach, diverging()))
    told = tab.map(key).locator(".gv-facts dd").all_inner_texts()
    assert float(told[0]) == pytest.approx(values[k - 1], rel=1e-3)
    assert float(told[1]) == pytest.approx(values[k - 1] / (ROWS * COLUMNS), rel=1e-3)


def test_eigenvectors_by_slider_buttons_and_keys(tab):
    for key in SHOWN:
        assert_vector(tab, key, 1)
    tab.root.get_by_role("button", name="Next eigenvector").click()
    tab.drawn()
    assert_vector(tab, SHOWN[0], 2)
    tab.root.locator(".gv-photo").first.focus()
    tab.visitor.press("]", "]", "[")
    assert tab.state["k"] == 3
    tab.root.locator('input[name="number"]').fill("5")
    tab.drawn()
    assert_vector(tab, SHOWN[-1], 5)
    tab.root.locator('input[name="slider"]').press("ArrowRight")
    assert tab.drawn().state["k"] == 6


def point_of(tab, number):
    """Where on the screen an eigenvalue of the last checkpoint is plotted, once the pointer brings up its label.

    A page that is still being laid out may move the plot away from under it.
    """
    script = """(number) => {
        const plot = document.querySelector('.gv-spectrum .js-plotly-plot');
        plot.scrollIntoView({ block: 'center' });
        const box = plot.querySelector('.svg-container').getBoundingClientRect();
        const { xaxis, yaxis } = plot._fullLayout;
        const named = plot.data.filter((trace) => trace.name === 'with Gram, step 8\u202f000');
        const line = named.find((trace) => trace.hoverinfo !== 'skip' && trace.xaxis === 'x');
        const across = xaxis._offset + xaxis.d2p(number), down = yaxis._offset + yaxis.d2p(line.y[number - 1]);
        return [box.left + across, box.top + down];
    }"""
    for _ in range(10):
        tab.page.mouse.move(0, 0)
        place = tab.page.evaluate(script, number)
        tab.page.mouse.move(*place)
        try:
            tab.page.wait_for_selector(".gv-spectrum .hoverlayer .hovertext", timeout=2000)
        except Timeout:
            continue
        if place == tab.page.evaluate(script, number):
            return place
    raise AssertionError("no eigenvalue could be pointed at")


def test_a_click_on_an_eigenvalue_changes_the_maps(tab):
    tab.plots()
    place = point_of(tab, 3)
    tab.page.mouse.click(*place)
    tab.page.wait_for_function(f"{PART}.state().k === 3")
    tab.drawn()
    for key in SHOWN:
        assert_vector(tab, key, 3)
    marks = tab.page.locator(".gv-spectrum .gv-now:not([hidden])")
    assert marks.count() == 3


def test_lengths_registers_and_groups(tab):
    tab.choose("shown", "length")
    all_lengths = {
        key: patch_features(CAT, INFO[key], PATCHES).token_lengths.numpy().ravel() for key in SHOWN
    }
    longest = max(lengths.max() for lengths in all_lengths.values())
    for key, lengths in all_lengths.items():
        assert np.abs(tab.values(key) - lengths).max() < 1e-5
        pixels = tab.visitor.pixels(tab.map(key))
        assert np.array_equal(pixels, coloured(tab.values(key), 0, np.float32(longest), sequential()))
        outliers = int(tab.map(key).locator(".gv-facts dd").all_inner_texts()[2].split(" of ")[0])
        assert outliers == tab.map(key).locator(".gv-outlier").count() >= 3
    tab.choose("shown", "register").choose("register", "2")
    for key in SHOWN:
        found = patch_features(CAT, INFO[key], PATCHES)
        register = found.registers[1].numpy()
        wanted = found.patches.numpy().reshape(ROWS * COLUMNS, -1) @ register / np.linalg.norm(register)
        assert np.abs(tab.values(key) - wanted).max() < 1e-6
        assert np.array_equal(tab.visitor.pixels(tab.map(key)), coloured(tab.values(key), -1, 1, diverging()))
    tab.choose("shown", "group")
    sizes = [int(part) for part in tab.map(SHOWN[0]).locator(".gv-facts dd").inner_text().split(", ")]
    assert sum(sizes) == ROWS * COLUMNS
    assert sizes == sorted(sizes, reverse=True)
    assert len(np.unique(tab.visitor.pixels(tab.map(SHOWN[0])), axis=0)) == len(sizes)
    tab.root.locator('input[name="beneath"]').check()
    opacity = "getComputedStyle(document.querySelector('.gv-spectral .gv-map canvas')).opacity"
    tab.page.wait_for_function(f"Math.abs({opacity} - 0.6) < 0.01")


def test_the_matrix_in_three_orders_and_the_difference(tab):
    g = {key: decomposed(key)[0] for key in SHOWN}
    a, b = "small-gram-8000", "small-plain-8000"
    orders = {"raster": np.arange(ROWS * COLUMNS), "hilbert": hilbert_order(ROWS, COLUMNS).numpy()}
    for name, wanted in orders.items():
        order, values = tab.choose("order", name).matrix()
        assert np.array_equal(order, wanted)
        assert np.abs(values - g[a][np.ix_(order, order)]).max() < 2 * HALF
    order, values = tab.choose("order", "groups").matrix()
    assert np.array_equal(np.sort(order), orders["raster"])
    pixels = tab.visitor.pixels(tab.root.locator(".gv-matrix"))
    assert np.array_equal(pixels, coloured(values.ravel(), 0, 1, sequential()))
    order, values = tab.choose("which", "difference").matrix()
    assert np.abs(values - (g[a] - g[b])[np.ix_(order, order)]).max() < 4 * HALF
    tab.page.select_option('select[name="one"]', "small-trunk-2000")
    order, values = tab.choose("which", "one").choose("order", "raster").matrix()
    assert np.abs(values - g["small-trunk-2000"]).max() < 2 * HALF


def test_pointing_at_the_matrix_marks_both_patches_without_a_request(tab):
    tab.plots()
    before = len(tab.visitor.requests)
    tab.choose("order", "hilbert").over_matrix(101, 305)
    order, _ = tab.matrix()
    row, column = tab.state["spot"]
    assert (row, column) == (101, 305)
    first, second = order[row], order[column]

    def read():
        entries = tab.root.locator(".gv-pair-reading dd").all_inner_texts()
        return [float(text.replace("\u2212", "-")) for text in entries[:3]], entries[3:]

    g = [decomposed(key)[0][first, second] for key in ("small-gram-8000", "small-plain-8000")]
    numbers, places = read()
    assert numbers == pytest.approx([*g, g[0] - g[1]], abs=2 * HALF)
    assert places == [f"row {i // COLUMNS}, column {i % COLUMNS}" for i in (first, second)]
    photo = tab.root.locator(".gv-pair-photo").bounding_box()
    for mark, index in ((".gv-first", first), (".gv-second", second)):
        box = tab.root.locator(mark).bounding_box()
        assert (box["x"] - photo["x"]) / photo["width"] == pytest.approx(index % COLUMNS / COLUMNS, abs=0.005)
        assert (box["y"] - photo["y"]) / photo["height"] == pytest.approx(index // COLUMNS / ROWS, abs=0.005)
    tab.root.locator(".gv-matrix").focus()
    tab.visitor.press("ArrowDown", "ArrowLeft", "Shift+ArrowRight")
    assert tab.state["spot"] == [102, 314]
    tab.choose("order", "raster").matrix()  # the same two patches, elsewhere in the matrix
    assert tab.state["spot"] == [order[102], order[314]]
    tab.root.locator(".gv-map").first.hover()
    assert tab.visitor.requests[before:] == []


def test_another_layer_is_computed_and_shown_on_every_tab(tab):
    tab.page.select_option('select[name="layer"]', "-3")
    tab.page.wait_for_function(f"{PART}.state().key?.endsWith(':-3')")
    tab.ready()
    for key in SHOWN:
        assert_vector(tab, key, 1, layer=-3)
    tab.page.get_by_role("tab", name="Explore").click()
    tab.visitor.ready()
    tab.visitor.click(8, 9)
    x = features(CAT, INFO[SHOWN[0]], PATCHES, layer=-3)
    assert np.abs(tab.visitor.cosines(SHOWN[0]) - x[:-1] @ x[8 * COLUMNS + 9]).max() < 2 * HALF
    tab.page.get_by_role("tab", name="Training story").click()
    tab.page.wait_for_function("document.querySelector('.gv-player').gramviz.state().key?.endsWith(':-3')")


def test_the_table_is_copied_and_downloaded_at_full_precision(visit, engine):
    visitor = visit()
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab = SpectraTab(visitor)
    table = tab.page.locator(".gv-spectra-table")
    wanted = {view.checkpoint.id: view.spectra for view in engine.spectra(CAT, SHOWN, PATCHES)}
    with tab.page.expect_download() as download:
        table.get_by_role("button", name="download CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
    table.get_by_role("button", name="copy").click()
    tab.page.wait_for_function("document.querySelector('.gv-told').textContent === 'copied'")
    copied = tab.page.evaluate("navigator.clipboard.readText()")
    assert list(csv.DictReader(io.StringIO(copied), delimiter="\t")) == rows
    assert [row["id"] for row in rows] == SHOWN
    for row in rows:
        for key, _, _, _ in MEASURES[:-1]:
            assert float(row[key]) == wanted[row["id"]].measures[key]
        assert int(row["outliers"]) == int(wanted[row["id"]].outliers.sum())
    cells = table.locator("tbody tr").first.locator("td").all_inner_texts()
    assert cells[2] == f"{float(rows[0]['rayleigh']):.1f} of {ROWS * COLUMNS}"
    assert all(abbr.get_attribute("title") for abbr in table.locator("thead abbr").all())


def test_a_broken_checkpoint_says_so_and_the_others_stay(visit, engine):
    engine.damaged.add("small-plain-8000")
    try:
        tab = SpectraTab(visit())
        sentence = "The features hold values that are no numbers."
        assert tab.map("small-plain-8000").locator(".gv-problem").inner_text() == sentence
        assert_vector(tab, "small-gram-8000", 1)
        assert sentence in tab.page.locator(".gv-spectra-table").inner_text()
        tab.choose("which", "difference")
        assert sentence in tab.root.locator(".gv-gram-status").inner_text()
        tab.choose("which", "one").ready()
    finally:
        engine.damaged.clear()


def test_the_server_is_asked_only_while_the_tab_is_open(visit, engine):
    visitor = visit()
    before = len(engine.analysed)
    visitor.choose("patches", "14").ready()
    assert engine.analysed[before:] == []
    tab = SpectraTab(visitor)
    assert len(engine.analysed) == before + len(SHOWN)
    assert tab.page.locator(".gv-checkpoints").is_visible()
    tab.page.get_by_role("tab", name="Training story").click()
    assert tab.page.locator(".gv-checkpoints").is_hidden()
    tab.page.get_by_role("tab", name="Spectra").click()
    tab.ready()
    assert len(engine.analysed) == before + len(SHOWN)


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_overflows(visit, width):
    tab = SpectraTab(visit(viewport={"width": width, "height": 844})).plots()
    assert tab.page.evaluate(OVERFLOWING) == {"page": 0, "out": []}


def test_dark_mode_recolours_figures(visit):
    tab = SpectraTab(visit(color_scheme="dark")).plots()

    def seen(selector, name):
        colour = tab.page.locator(selector).first.evaluate(
            "(node, name) => getComputedStyle(node)[name]", name
        )
        return luminance(np.array([float(c) for c in colour[colour.index("(") + 1 : -1].split(",")][:3]))

    background = seen("body", "backgroundColor")
    for selector, name in (
        (".gv-spectrum .xtick text", "fill"),
        (".gv-facts dt", "color"),
        (".gv-spectra-table thead th", "color"),
    ):
        assert (seen(selector, name) + 0.05) / (background + 0.05) >= 4.5, selector
