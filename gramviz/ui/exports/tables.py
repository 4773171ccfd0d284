"""Maps as numbers: CSV for a spreadsheet, JSON for a script, NPZ for numpy.

All three hold the same cosines, in full float64, and name the settings they were made with.
"""

import csv
import io
import json
from typing import Any

import numpy as np

from gramviz import __version__
from gramviz.ui.exports.maps import MapSet, factor_of

FORMATS = ("csv", "json", "npz")
SCHEMA = "gramviz-maps-1"  # of the JSON and the NPZ; another number means that a field changed its meaning


def as_csv(maps: MapSet) -> bytes:
    """A line for each patch of each checkpoint: id, run, arm, step, row, column, cosine; UTF-8.

    Settings stand above in lines that begin with #, which numpy and pandas (`comment="#"`) skip.
    """
    text = io.StringIO()
    text.write(f"# gramviz {__version__}. {maps.settings()}\n")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(("checkpoint", "run", "arm", "step", "row", "column", "cosine"))
    for view in maps.views:
        info = view.checkpoint
        for (row, column), cosine in np.ndenumerate(maps.cosines(view)):
            lines.writerow((info.id, info.run, info.branch, info.step, row, column, repr(float(cosine))))
    return text.getvalue().encode()


def as_json(maps: MapSet) -> bytes:
    """{schema, gramviz, settings, picture, query, grid, layer, maps: [{checkpoint, measures, bound, cosines}]}.

    cosines: rows of columns. measures: of the whole G, as on the page. query: patches by number, row by row from 0.
    """
    width, height = maps.picture.size
    told: dict[str, Any] = {
        "schema": SCHEMA,
        "gramviz": __version__,
        "settings": maps.settings(),
        "picture": {"digest": maps.picture.digest, "caption": maps.caption, "width": width, "height": height},
        "query": {"positive": list(maps.query.positive), "negative": list(maps.query.negative)},
        "grid": list(maps.grid),
        "layer": maps.layer,
        "maps": [
            {
                "checkpoint": {
                    "id": view.checkpoint.id,
                    "run": view.checkpoint.run,
                    "arm": view.checkpoint.branch,
                    "step": view.checkpoint.step,
                    "sha256": view.checkpoint.sha256,
                    "licence": view.checkpoint.licence,
                },
                "measures": view.measures,
                "bound": maps.bound(view),
                "cosines": maps.cosines(view).tolist(),
            }
            for view in maps.views
        ],
    }
    return json.dumps(told, ensure_ascii=False, indent=1).encode()


def as_npz(maps: MapSet) -> bytes:
    """Arrays that `numpy.load` opens without pickle: cosines [C, rows, columns], ids [C], steps [C], arms [C],
    measures [C, M] with measure_names [M], query_positive, query_negative, settings, schema, and for each checkpoint
    factor_<i> [P + 1, rank]: the product of two of its rows is their cosine, the last row CLS.
    """
    names = sorted(maps.views[0].measures)
    infos = [view.checkpoint for view in maps.views]
    target = io.BytesIO()
    np.savez_compressed(
        target,
        allow_pickle=False,
        cosines=np.stack([maps.cosines(view) for view in maps.views]),
        ids=np.array([info.id for info in infos]),
        arms=np.array([info.branch for info in infos]),
        steps=np.array([info.step for info in infos]),
        measures=np.array([[view.measures[name] for name in names] for view in maps.views]),
        measure_names=np.array(names),
        query_positive=np.array(maps.query.positive, dtype=np.int64),
        query_negative=np.array(maps.query.negative, dtype=np.int64),
        settings=np.array(maps.settings()),
        schema=np.array(SCHEMA),
        **{f"factor_{i}": factor_of(view).astype("<f2") for i, view in enumerate(maps.views)},
    )
    return target.getvalue()
