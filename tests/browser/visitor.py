"""A visitor with a browser of their own: what they do, and what they then see."""

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import FloatRect, Locator, Page

from gramviz.vit.images import Picture
from tests.ui.fake_engine import CHECKPOINTS, features

Array = NDArray[np.float64]
FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
INFO = {info.id: info for info in CHECKPOINTS}


class Visitor:
    """Drives one page. `requests` holds every address asked for, `problems` every error that the browser told."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.requests: list[str] = []
        self.problems: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        page.on("console", lambda message: self._hear(message.type, message.text))

    def _hear(self, kind: str, text: str) -> None:
        own = "willReadFrequently" in text  # these tests read canvases; the page never does
        if kind in ("error", "warning") and not own:
            self.problems.append(f"console {kind}: {text}")

    def open(self) -> "Visitor":
        self.page.goto(self.address)
        return self.ready()

    def ready(self) -> "Visitor":
        """Wait until every map of the newest request is there."""
        self.page.wait_for_function(
            """() => {
                const explorer = document.querySelector('.gv-explorer')?.gramviz;
                const chooser = document.querySelector('.gv-chooser')?.gramviz;
                if (!explorer?.ready() || !chooser || chooser.waiting()) return false;
                return explorer.state().token === chooser.token();
            }""",
            timeout=20_000,
        )
        return self.drawn()

    def drawn(self) -> "Visitor":
        self.page.evaluate(FRAMES)
        return self

    # ---- acts

    @property
    def explorer(self) -> Locator:
        return self.page.locator(".gv-explorer")

    @property
    def photo(self) -> Locator:
        return self.explorer.locator(".gv-photo")

    def map(self, key: str) -> Locator:
        """The map of a checkpoint, found by its name for screen readers."""
        info = INFO[key]
        name = {"trunk": "trunk", "plain": "without Gram", "gram": "with Gram"}[info.branch]
        step = f"{info.step:,}".replace(",", "\u202f")
        return self.page.locator(f'.gv-tree .gv-cell:has(canvas[aria-label="Map of {name}, step {step}"])')

    def spot(self, row: int, column: int, stage: Locator | None = None) -> tuple[float, float]:
        """Page coordinates of the middle of a patch."""
        box: FloatRect | None = (stage or self.photo).bounding_box()
        assert box is not None
        rows, columns = self.state["grid"]
        across, down = (column + 0.5) / columns, (row + 0.5) / rows
        return box["x"] + across * box["width"], box["y"] + down * box["height"]

    def hover(self, row: int, column: int, stage: Locator | None = None) -> "Visitor":
        self.page.mouse.move(*self.spot(row, column, stage))
        return self.drawn()

    def click(self, row: int, column: int, *keys: str, stage: Locator | None = None) -> "Visitor":
        for key in keys:
            self.page.keyboard.down(key)
        self.page.mouse.click(*self.spot(row, column, stage))
        for key in keys:
            self.page.keyboard.up(key)
        return self.drawn()

    def press(self, *keys: str) -> "Visitor":
        for key in keys:
            self.page.keyboard.press(key)
        return self.drawn()

    def choose(self, name: str, value: str) -> "Visitor":
        """Pick an option of a row of choices, as a mouse does."""
        self.page.locator(f'.gv label:has(input[name="{name}"][value="{value}"])').first.click()
        return self.drawn()

    def upload(self, content: bytes, name: str = "picture.png") -> "Visitor":
        """Choose a file, and wait until the page has asked for its maps."""
        token = "document.querySelector('.gv-chooser').gramviz.token()"
        before = self.page.evaluate(token)
        file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
        self.page.set_input_files(".gv-file", files=[file])  # type: ignore[list-item]
        self.page.wait_for_function(f"{token} > {before}")
        return self

    # ---- sights

    @property
    def state(self) -> dict[str, Any]:
        return self.page.evaluate("document.querySelector('.gv-explorer').gramviz.state()")

    def cosines(self, key: str) -> Array:
        script = "(id) => document.querySelector('.gv-explorer').gramviz.cosines(id)"
        return np.array(self.page.evaluate(script, key))

    def pixels(self, stage: Locator) -> NDArray[np.uint8]:
        """Colours on a map's canvas, a row for each patch: (P, 3)."""
        script = "c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)"
        return np.array(stage.locator("canvas").first.evaluate(script), dtype=np.uint8).reshape(-1, 4)[:, :3]

    def reading(self, key: str) -> float:
        return float(self.map(key).locator(".gv-reading").inner_text().replace("\u2212", "-"))

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.inner_text()

    @property
    def error(self) -> str:
        line = self.explorer.locator(".gv-error")
        line.wait_for(state="visible")
        return line.inner_text()


def expected(
    picture: Picture, key: str, patches: int, positive: Sequence[int], negative: Sequence[int] = ()
) -> Array:
    """Cosines in float64 from the features themselves; index -1 is CLS."""
    x = features(picture, INFO[key], patches)
    query = x[list(positive)].mean(0)
    if negative:
        query = query - x[list(negative)].mean(0)
    return x[:-1] @ query / np.linalg.norm(query)


def bound(
    picture: Picture, key: str, patches: int, positive: Sequence[int], negative: Sequence[int] = ()
) -> float:
    """How far the page's cosines may be off, from the rounding of its half floats."""
    x = features(picture, INFO[key], patches)
    half = x.astype(np.float16).astype(np.float64)
    error = np.abs(x @ x.T - half @ half.T).max()
    query = half[list(positive)].mean(0) - (half[list(negative)].mean(0) if negative else 0)
    weight, length = 1 + bool(negative), float(np.linalg.norm(query))
    return weight * error * (1 + weight / length) / length + 1e-6


def coloured(values: Array, low: float, high: float, table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    steps = [math.floor((value - low) * (255 / (high - low)) + 0.5) for value in values]
    return table[np.clip(steps, 0, 255)]


def png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def noise(seed: int, width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """Smooth random colours (height, width, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
