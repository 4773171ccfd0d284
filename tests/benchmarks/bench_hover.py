"""From the pointer to eight maps: drawn by the page against Python's answer to `gr.Image.select`.

    python -m tests.benchmarks.bench_hover [--moves 200] [--clicks 20]

Eight maps of 32 x 32 patches in both, in one Chromium, in one run. Measured are
  compute and draw   the page's own work for one frame, in JavaScript
  to after paint     from a real pointer event to the first task after the frame that shows it
  select round trip  from a real click on a `gr.Image` to the frame with eight new images from Python, which holds the
                     normalised features and does no more than eight products, a colour table and a resize
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from gramviz.data.samples import load
from gramviz.ui.colours import sequential
from tests.browser.conftest import CHROMIUM_OPTIONS, SYSTEM_CHROMIUM
from tests.browser.visitor import Visitor
from tests.ui.fake_engine import CHECKPOINTS, FakeEngine, features
from tests.ui.live import serving

SAMPLE, PATCHES, RANKS = "scene", 32, (128, 64)
DRAW_AIM_MS, PAINT_AIM_FRAMES = 4.0, 2.0

RENDER_TIMES = """(count) => {
    const explorer = document.querySelector('.gv-explorer').gramviz, photo = document.querySelector('.gv-photo');
    const box = photo.getBoundingClientRect(), times = [];
    for (let i = 0; i < count + 20; i++) {
        const at = { clientX: box.left + Math.random() * box.width, clientY: box.top + Math.random() * box.height };
        photo.dispatchEvent(new PointerEvent('pointermove', { ...at, bubbles: true, pointerType: 'mouse' }));
        const start = performance.now();
        explorer.render();
        if (i >= 20) times.push(performance.now() - start);
    }
    return times;
}"""
FRAME_TIME = """() => new Promise((done) => {
    const times = [];
    const tick = (now) => times.push(now) < 40 ? requestAnimationFrame(tick) : done((times[39] - times[0]) / 39);
    requestAnimationFrame(tick);
})"""
AFTER_PAINT = """
    window.times = [];
    window.afterPaint = (start) => requestAnimationFrame(() => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => window.times.push(performance.now() - start);
        port2.postMessage(0);
    });
"""
WATCH_POINTER = "() => addEventListener('pointermove', (event) => afterPaint(event.timeStamp), true)"
# a round trip ends when all eight images have a new address and are decoded
WATCH_SELECT = """() => addEventListener('pointerdown', async (event) => {
    const images = () => [...document.querySelectorAll('.answer img')];
    const before = images().map((image) => image.src);
    const renewed = () => images().length === 8
        && images().every((image, i) => image.src !== before[i] && image.complete);
    while (!renewed()) await new Promise(requestAnimationFrame);
    afterPaint(event.timeStamp);
}, true)"""


def measure_page(browser: Browser, rank: int, moves: int) -> tuple[list[float], list[float], float]:
    """Milliseconds of compute and draw, milliseconds to after paint, and the length of a frame."""
    engine = FakeEngine(CHECKPOINTS, width=rank)
    with tempfile.TemporaryDirectory() as folder, serving(engine, Path(folder)) as address:
        visitor = Visitor(browser.new_page(viewport={"width": 1440, "height": 1000}), address).open()
        for box in visitor.page.locator('.gv-chooser input[type="checkbox"]').all():
            box.check()
        visitor.page.locator(f'.gv-sample[data-id="{SAMPLE}"]').click()
        visitor.choose("patches", str(PATCHES)).ready()
        assert visitor.page.locator(".gv-tree .gv-map").count() == 8
        draws = visitor.page.evaluate(RENDER_TIMES, moves)
        frame = visitor.page.evaluate(FRAME_TIME)
        visitor.page.evaluate(AFTER_PAINT)
        visitor.page.evaluate(WATCH_POINTER)
        for place in np.random.default_rng(0).integers(0, PATCHES, (moves, 2)):
            visitor.page.mouse.move(*visitor.spot(*place))
            visitor.page.wait_for_timeout(20)
        paints = visitor.page.evaluate("times")
        visitor.page.close()
    return draws, paints, frame


def select_page(rank: int) -> gr.Blocks:
    """What one would write in Python: a click on the picture answers with eight images."""
    picture = load(SAMPLE)
    rows = [features(picture, info, PATCHES, rank)[:-1].astype(np.float32) for info in CHECKPOINTS]
    side = picture.size[0]

    def similar(event: gr.SelectData) -> list[Image.Image]:
        column, row = (min(PATCHES - 1, int(place / side * PATCHES)) for place in event.index)
        images = []
        for x in rows:
            cosines = x @ x[row * PATCHES + column]
            colours = sequential()[np.clip(np.rint(cosines * 255), 0, 255).astype(int)]
            image = Image.fromarray(colours.reshape(PATCHES, PATCHES, 3))
            images.append(image.resize((256, 256), Image.Resampling.NEAREST))
        return images

    with gr.Blocks(analytics_enabled=False) as page:
        source = gr.Image(picture.pixels, elem_id="source", interactive=False, width=400)
        with gr.Row():
            answers = [gr.Image(width=256, elem_classes="answer", min_width=100) for _ in rows]
        source.select(similar, None, answers, show_progress="hidden")
    return page


def distinct_places(count: int) -> NDArray[np.float64]:
    """Fractions of a picture in different patches, so that no two answers are alike, and clear of its buttons."""
    inside = np.random.default_rng(0).permutation(24 * 24)[:count]
    return (np.stack(np.divmod(inside, 24), axis=1) + 4.5) / PATCHES


def measure_select(browser: Browser, rank: int, clicks: int) -> list[float]:
    """Milliseconds from a click to eight new images from Python."""
    page = select_page(rank)
    _, address, _ = page.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, run_history=False, ssr_mode=False
    )
    try:
        visitor = browser.new_page(viewport={"width": 1440, "height": 1000})
        visitor.goto(address)
        image = visitor.locator("#source img")
        image.wait_for()
        visitor.evaluate(AFTER_PAINT)
        visitor.evaluate(WATCH_SELECT)
        times: list[float] = []
        for x, y in distinct_places(clicks + 3):
            box = image.bounding_box()
            assert box is not None
            visitor.evaluate("times.length = 0")
            visitor.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
            visitor.wait_for_function("times.length > 0")
            times.append(visitor.evaluate("times[0]"))
            visitor.wait_for_timeout(200)
        visitor.close()
        return times[3:]
    finally:
        page.close(verbose=False)


def at(times: Sequence[float], share: float) -> float:
    return float(np.quantile(times, share))


def verdict(met: bool) -> str:
    return "met" if met else "MISSED"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--moves", type=int, default=200)
    parser.add_argument("--clicks", type=int, default=20)
    options = parser.parse_args()
    print(
        "| rank | compute and draw ms, p50 / p95 | to after paint ms, p50 / p95 | select ms, p50 / p95 | ratio |"
    )
    print("| --- | --- | --- | --- | --- |")
    with sync_playwright() as playwright:
        path = SYSTEM_CHROMIUM if SYSTEM_CHROMIUM.exists() else None
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
        for rank in RANKS:
            draws, paints, frame = measure_page(browser, rank, options.moves)
            selects = measure_select(browser, rank, options.clicks)
            draw_met = verdict(at(draws, 0.95) <= DRAW_AIM_MS)
            paint_met = verdict(at(paints, 0.95) <= PAINT_AIM_FRAMES * frame)
            ratio = statistics.median(selects) / statistics.median(paints)
            print(
                f"| {rank} | {at(draws, 0.5):.1f} / {at(draws, 0.95):.1f} (aim {DRAW_AIM_MS:g}, {draw_met}) "
                f"| {at(paints, 0.5):.1f} / {at(paints, 0.95):.1f} "
                f"(aim {PAINT_AIM_FRAMES:g} frames of {frame:.1f}, {paint_met}) "
                f"| {at(selects, 0.5):.0f} / {at(selects, 0.95):.0f} | {ratio:.1f}x |",
                flush=True,
            )
        browser.close()


if __name__ == "__main__":
    main()
