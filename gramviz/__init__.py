"""gramviz: why patch features go global, and how Gram anchoring keeps them local, on real checkpoints.

The rooms, each knowing only those before it: `errors`, `gram` (mathematics), `vit` (networks and pictures),
`checkpoints`, then `data`, `metrics` and `training`, then `serving` (the engine) and `ui` (the page).

For programs there are a dozen names; each is imported when it is first used, so that `import gramviz` costs nothing.

>>> import gramviz
>>> engine = gramviz.Engine.from_settings(gramviz.Settings(device="cpu"))
>>> picture = gramviz.load_sample("coffee")
>>> ids = engine.default_ids()[:2]
>>> views = tuple(engine.compare(picture, ids, patches=14))
>>> views[0].grid
(9, 14)
>>> sorted(views[0].measures)
['cls_alignment', 'effective_rank', 'mean_similarity', 'top1_energy']

The maps of one patch, as numbers and as files:

>>> maps = gramviz.MapSet(picture, "A cup of coffee.", views, gramviz.Query((4 * 14 + 7,)))
>>> cosines = maps.cosines(views[0])
>>> cosines.shape, bool(abs(cosines[4, 7] - 1) < 1e-3)
((9, 14), True)
>>> gramviz.maps_picture(maps, gramviz.Appearance(), kind="svg")[:5]
b'<?xml'
>>> len(gramviz.maps_page(maps, gramviz.Appearance())) < 5_000_000
True

Features, and the mathematics on them (any tensor [P, d] will do):

>>> features = engine.features(picture, ids[0], patches=14).patches.flatten(0, 1)
>>> gram = gramviz.gram_matrix(features)
>>> tuple(gram.shape), abs(float(gram.trace()) - 126) < 1e-2
((126, 126), True)
>>> values = gramviz.eigenvalues(features)
>>> 1 <= float(gramviz.effective_rank(values)) <= 126
True
>>> float(gramviz.gram_loss(features[None], features[None])) < 1e-9
True
>>> engine.close()
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Engine": "gramviz.serving.engine",
    "Settings": "gramviz.serving.settings",
    "CheckpointStore": "gramviz.checkpoints.manifest",
    "read_picture": "gramviz.vit.images",
    "load_sample": "gramviz.data.samples:load",
    "Query": "gramviz.ui.exports.maps",
    "MapSet": "gramviz.ui.exports.maps",
    "Appearance": "gramviz.ui.exports.painted",
    "maps_picture": "gramviz.ui.pictures.maps",
    "maps_page": "gramviz.ui.exports.page:as_html",
    "gram_matrix": "gramviz.gram.similarity",
    "gram_loss": "gramviz.gram.losses",
    "eigenvalues": "gramviz.gram.spectrum",
    "effective_rank": "gramviz.gram.spectrum",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """A public name, from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"gramviz has no {name!r}; it has {', '.join(_HOMES)}")
    module, _, own = _HOMES[name].partition(":")
    return getattr(import_module(module), own or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
