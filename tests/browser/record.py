"""Records README's moving picture from the real page: `python -m tests.browser.record` writes docs/at-work.webp.

The page is served here over the shipped checkpoints, driven by a browser, and photographed as it moves.
"""

import io
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from gramviz.serving.engine import Engine
from gramviz.serving.settings import Settings
from tests.browser.conftest import CHROMIUM_OPTIONS, SYSTEM_CHROMIUM
from tests.browser.visitor import Visitor
from tests.ui.live import serving

TARGET = Path(__file__).resolve().parents[2] / "docs" / "at-work.webp"
WIDTH, HEIGHT = 1360, 850  # of the page
SHOWN = 1000  # pixels: width of the picture
EVERY = 110  # milliseconds between two pictures

ARROW = """() => {
  const arrow = document.createElement('div');
  arrow.style.cssText = 'position:fixed;left:0;top:0;z-index:99;pointer-events:none';
  arrow.innerHTML = '<svg width="26" height="34" viewBox="0 0 26 34" fill="#fff" stroke="#000" stroke-width="2">'
    + '<path d="M2 2v26l7-6 5 10 5-2-5-10h9z"/></svg>';
  document.body.append(arrow);
  const follow = ({ clientX: x, clientY: y }) => (arrow.style.transform = `translate(${x}px,${y}px)`);
  document.addEventListener('pointermove', follow);
}"""
CHOSEN = ("trunk/200", "plain/1000", "plain/2000", "plain/4000", "gram/1000", "gram/2000", "gram/4000")
STATE = "sample=astronaut&hide=checkpoints,layer,link&ids=" + ",".join(
    f"caltech-d128/{one}" for one in CHOSEN
)


def scenes(page: Page, visitor: Visitor) -> Iterator[None]:
    """What a visitor does; a picture is taken at every yield."""
    box = visitor.photo.bounding_box()
    assert box is not None
    left, top, width, height = (box[name] for name in ("x", "y", "width", "height"))

    def over(x: float, y: float) -> None:
        page.mouse.move(left + x * width, top + y * height)

    for index in range(30):  # over the suit, the face, the wall behind and the helmet
        angle = 2 * math.pi * index / 29
        over(0.52 + 0.3 * math.cos(angle), 0.5 + 0.32 * math.sin(angle))
        yield
    over(0.6, 0.3)
    page.mouse.down()
    page.mouse.up()
    for _ in range(10):
        yield
    page.get_by_role("tab", name="Training story").click()
    page.wait_for_function("document.querySelector('.gv-player')?.gramviz?.ready()", timeout=120_000)
    page.evaluate("document.querySelector('.gv-player').gramviz.goTo(0)")
    yield
    page.locator(".gv-play").click()
    page.evaluate("scrollTo(0, 0)")
    state = "document.querySelector('.gv-player').gramviz.state()"
    while page.evaluate(f"{state}.playing"):
        page.wait_for_timeout(EVERY // 2)
        yield
    for _ in range(14):
        yield


def record(target: Path) -> None:
    """Write the picture."""
    engine = Engine.from_settings(Settings(device="cpu"))
    path = SYSTEM_CHROMIUM if SYSTEM_CHROMIUM.exists() else None
    pictures = []
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(engine, Path(folder)) as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        visitor = Visitor(page, f"{address}#{STATE}").open()
        page.evaluate(ARROW)
        for _ in scenes(page, visitor):
            visitor.drawn()
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            pictures.append(picture.resize((SHOWN, SHOWN * HEIGHT // WIDTH), Image.Resampling.LANCZOS))
        browser.close()
    engine.close()
    target.parent.mkdir(exist_ok=True)
    options = {"duration": EVERY, "loop": 0, "quality": 60, "method": 6}
    pictures[0].save(target, "WEBP", save_all=True, append_images=pictures[1:], **options)
    print(f"{target}: {len(pictures)} pictures, {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    record(TARGET)
