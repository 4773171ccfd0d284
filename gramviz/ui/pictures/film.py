"""The maps of a run along training as one moving picture: GIF or animated WebP.

It moves as the page's player does: a stay at each saved step, and between two of them their cosines blended in
proportion. Knows maps and nothing of the page.
"""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gramviz.errors import InputError
from gramviz.serving.views import View
from gramviz.ui.colours import sequential
from gramviz.ui.curves import TRUNK, look
from gramviz.ui.exports.maps import Array, MapSet
from gramviz.ui.exports.painted import coloured
from gramviz.ui.pictures.files import FAINT, INK, SOFT

FORMATS = ("gif", "webp")
WIDTH = 1080  # pixels
EDGE, GAP = 20, 16
HEAD, FOOT = 64, 58  # pixels: names above the maps; the line of steps beneath
STAY, MOVE = 900, 60  # milliseconds: at a saved step, and for each picture between two
BETWEEN = 6  # pictures between two saved steps

Frame = tuple[float, int]  # step, milliseconds


def film(maps: MapSet, kind: str = "gif") -> bytes:
    """The photograph beside a map an arm, moving from the first saved step to the last, over and over, as bytes.

    kind: "gif" or "webp". Raises InputError for another kind, for several runs, or where there are not two steps.
    """
    if kind not in FORMATS:
        raise InputError(f"A film of kind {kind!r} cannot be written; possible are {', '.join(FORMATS)}.")
    if len(maps.runs) > 1:
        raise InputError(f"A film is of one run, not of {', '.join(maps.runs)}.")
    stops = sorted({view.checkpoint.step for view in maps.views})
    if len(stops) < 2:
        raise InputError("A film needs at least two saved steps.")
    times = list(frames_of(stops))
    images = list(_drawn(maps, stops, [step for step, _ in times]))
    target = io.BytesIO()
    options: dict[str, Any] = {
        "save_all": True,
        "append_images": images[1:],
        "duration": [stay for _, stay in times],
        "loop": 0,
    }
    if kind == "gif":
        palette = _palette(images[0])
        first, *options["append_images"] = [
            image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images
        ]
        first.save(target, "GIF", **options)
    else:
        images[0].save(target, "WEBP", quality=85, method=2, **options)
    return target.getvalue()


def frames_of(stops: Sequence[int]) -> Iterator[Frame]:
    """Where the film stands, and for how long: at every saved step, and between each two of them."""
    for start, end in zip(stops, [*stops[1:], None], strict=True):
        yield float(start), STAY
        if end is not None:
            for index in range(1, BETWEEN + 1):
                yield start + (end - start) * index / (BETWEEN + 1), MOVE


def tracks_of(maps: MapSet) -> dict[str, list[View]]:
    """The views of each arm by step, those of the trunk first; the trunk alone where there is no arm."""
    by_arm: dict[str, list[View]] = {}
    for view in sorted(maps.views, key=lambda view: view.checkpoint.step):
        by_arm.setdefault(view.checkpoint.branch, []).append(view)
    trunk = by_arm.pop(TRUNK, [])
    order = dict.fromkeys(view.checkpoint.branch for view in maps.views if view.checkpoint.branch != TRUNK)
    return {arm: [*trunk, *by_arm[arm]] for arm in order} if order else {TRUNK: trunk}


def blended(steps: Sequence[int], cosines: Array, step: float) -> Array:
    """Cosines [S, rows, columns] at a step: those of a saved one, of two in proportion, or of the nearest end."""
    place = float(np.interp(step, steps, np.arange(len(steps))))
    lower = int(place)
    upper = min(lower + 1, len(steps) - 1)
    found: Array = cosines[lower] + (place - lower) * (cosines[upper] - cosines[lower])
    return found


def _drawn(maps: MapSet, stops: Sequence[int], steps: Sequence[float]) -> Iterator[Image.Image]:
    tracks = tracks_of(maps)
    count = len(tracks) + 1
    side = (WIDTH - 2 * EDGE - (count - 1) * GAP) // count
    tall = round(side * maps.picture.size[1] / maps.picture.size[0])
    large, plain = ImageFont.load_default(24), ImageFont.load_default(18)
    ground = Image.new("RGB", (WIDTH, HEAD + tall + FOOT), "white")
    pen = ImageDraw.Draw(ground)
    photograph = Image.fromarray(maps.picture.pixels).resize((side, tall), Image.Resampling.LANCZOS)
    ground.paste(photograph, (EDGE, HEAD))
    _mark(pen, maps, (EDGE, HEAD, side, tall))
    pen.text((EDGE, 12), "query", INK, large)
    lefts = {arm: EDGE + (side + GAP) * place for place, arm in enumerate(tracks, 1)}
    stacks = {arm: np.stack([maps.cosines(view) for view in views]) for arm, views in tracks.items()}
    saved = {arm: [view.checkpoint.step for view in views] for arm, views in tracks.items()}
    for arm, left in lefts.items():
        pen.text((left, 12), look(arm).label, look(arm).colour, large)
    for step in steps:
        image = ground.copy()
        pen = ImageDraw.Draw(image)
        for arm, left in lefts.items():
            pixels = coloured(blended(saved[arm], stacks[arm], step), 0, 1, sequential())
            tile = Image.fromarray(pixels).resize((side, tall), Image.Resampling.NEAREST)
            image.paste(tile, (left, HEAD))
        _timeline(pen, stops, step, HEAD + tall + 14, plain)
        yield image


def _palette(image: Image.Image) -> Image.Image:
    """256 colours for all pictures of the film: every second of the maps' table, and the rest the photograph's own.

    One palette, undithered, so that what stands still is the same in all of them and costs no bytes.
    """
    table = sequential()[::2]
    rest = np.array(
        image.quantize(256 - len(table), dither=Image.Dither.NONE).getpalette(), dtype=np.uint8
    ).reshape(-1, 3)
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([table, rest[: 256 - len(table)]]).tobytes())
    return palette


def _mark(pen: ImageDraw.ImageDraw, maps: MapSet, box: tuple[int, int, int, int]) -> None:
    rows, columns = maps.grid
    left, top, width, height = box
    for index in maps.query.named:
        if index < rows * columns:
            row, column = divmod(index, columns)
            x, y = left + column * width / columns, top + row * height / rows
            ends = (x, y, x + width / columns, y + height / rows)
            pen.rectangle(ends, outline="black", width=4)
            pen.rectangle((ends[0] + 1, ends[1] + 1, ends[2] - 1, ends[3] - 1), outline="white", width=2)


def _timeline(pen: ImageDraw.ImageDraw, stops: Sequence[int], step: float, top: int, font: Any) -> None:
    """The saved steps at even distances, and where the film stands."""
    right = WIDTH - EDGE
    places = np.linspace(EDGE + 8, right - 8, len(stops))
    pen.line((places[0], top, places[-1], top), fill=FAINT, width=3)
    for place, stop in zip(places, stops, strict=True):
        pen.ellipse((place - 4, top - 4, place + 4, top + 4), fill=FAINT)
        anchor = "la" if place == places[0] else "ra" if place == places[-1] else "ma"
        pen.text((place, top + 12), f"step {stop:,}".replace(",", " "), SOFT, font, anchor)
    here = float(np.interp(step, stops, places))
    pen.ellipse((here - 8, top - 8, here + 8, top + 8), fill=INK)
