"""gramviz: why patch features go global, and how Gram anchoring keeps them local, on real checkpoints.

The rooms, each knowing only those before it: `errors`, `gram` (mathematics), `vit` (networks and pictures),
`checkpoints`, then `data`, `metrics` and `training`, then `serving` (the engine) and `ui` (the page).
"""

__version__ = "0.1.0"
