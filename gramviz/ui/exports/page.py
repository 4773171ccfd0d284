"""Maps as one HTML file that answers the pointer without a server: photograph, numbers and scripts are inside.

It is the page's own code on the page's own numbers, so it shows the same. The file asks no host for anything, and by
its Content-Security-Policy could not.
"""

import base64
import html
import json
from typing import Any

from gramviz.ui.colours import as_hex, diverging, sequential
from gramviz.ui.curves import heading_of, step_of
from gramviz.ui.exports.maps import MapSet
from gramviz.ui.exports.painted import Appearance, bar
from gramviz.ui.theme import arm_variables
from gramviz.ui.web import read_web
from gramviz.vit.images import to_jpeg

SCRIPTS = (
    "text.js",
    "maths.js",
    "colours.js",
    "stage.js",
    "query.js",
    "map.js",
    "marks.js",
    "standalone.js",
    "input.js",
    "standalone_begin.js",
)
STYLES = ("base.css", "maps.css", "standalone.css")
PHOTO_SIDE = 768  # pixels
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
THEME = """:root { color-scheme: light dark; --body-background-fill: light-dark(#ffffff, #101214);
--body-text-color: light-dark(#15181b, #e8eaec); --body-text-color-subdued: light-dark(#5a6068, #a3a9b1);
--border-color-primary: light-dark(#d5d9dd, #363b41); --background-fill-secondary: light-dark(#f3f4f5, #1b1e22); }
body { margin: 0; background: var(--body-background-fill); }
"""


def as_html(maps: MapSet, seen: Appearance) -> bytes:
    """The file, in UTF-8. It opens on the query and the scale of the page; of a difference it shows the two sides.

    It has about 2.7 bytes for each patch and rank of each map, and a photograph of at most 768 pixels a side: less
    than 5 MB for four maps of 32 x 32 patches of features as wide as a ViT-S has them, 384.
    """
    rows, columns = maps.grid
    scale = bar(Appearance(scale=seen.scale))
    assert scale is not None, "similarity always has a scale"
    chosen = [
        view for view in maps.views if seen.view != "difference" or view.checkpoint.id in (seen.a, seen.b)
    ]
    width, height = maps.picture.size
    config: dict[str, Any] = {
        "arms": {},
        "grid": [rows, columns],
        "aspect": width / height,
        "photograph": f"data:image/jpeg;base64,{_text(to_jpeg(maps.picture, PHOTO_SIDE))}",
        "caption": maps.caption,
        "settings": f"As exported. {maps.settings()}",
        "query": {"positive": list(maps.query.positive), "negative": list(maps.query.negative)},
        "table": as_hex(diverging() if seen.scale == "signed" else sequential()),
        "range": {"unit": [0, 1], "signed": [-1, 1], "own": None}[seen.scale],
        "ticks": list(scale.ticks),
        "maps": [
            {
                "id": view.checkpoint.id,
                "branch": view.checkpoint.branch,
                "title": heading_of(view.checkpoint, several_runs=len(maps.runs) > 1),
                "note": step_of(view.checkpoint),
                "rank": view.rank,
                "error": view.error,
                "measures": view.measures,
                "factor": _text(view.factor),
            }
            for view in chosen
        ],
    }
    # "<" would let a text end the script it stands in
    constants = json.dumps(config, ensure_ascii=False).replace("<", "\\u003c")
    scripts = "\n".join(read_web(name) for name in SCRIPTS)
    styles = "\n".join(read_web(name) for name in STYLES)
    title = html.escape(f"gramviz: {maps.caption.split('.')[0]}" if maps.caption else "gramviz")
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{THEME}{arm_variables()}main {{\n{styles}}}\n</style>\n</head>\n"
        f"<body>\n<main>\n{read_web('standalone.html')}</main>\n"
        f"<script>\nconst config = {constants};\n{scripts}</script>\n</body>\n</html>\n"
    )
    return page.encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
