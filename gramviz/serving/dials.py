"""What can be moved in a fine-tune, and how far. Imports nothing heavy: the command line's --help shows it, too."""

from __future__ import annotations

from gramviz.serving.controls import Choice, Slider

MOST_STEPS = 500
MOST_IMAGES = 64
MOST_BLOCKS = 12

CONTROLS: tuple[Slider | Choice, ...] = (
    Choice(
        "resolution",
        "The Gram teacher sees",
        (("1", "the same crops"), ("2", "the crops at twice the resolution")),
    ),
    Slider("gram", "Gram weight", 0, 20, 0.5, 1),
    Slider("dino", "DINO weight", 0, 2, 0.1, 0),
    Slider("ibot", "iBOT weight", 0, 4, 0.1, 0),
    Slider("koleo", "KoLeo weight", 0, 1, 0.05, 0),
    Choice(
        "trained",
        "What trains",
        (("all", "all weights"), ("blocks", "the last blocks"), ("norms", "norms only")),
    ),
    Slider("blocks", "Last blocks", 1, MOST_BLOCKS, 1, 2),
    Choice(
        "images",
        "Images",
        (("pack", "sample pack"), ("picture", "this picture"), ("own", "own images")),
    ),
    Slider("steps", "Steps", 5, MOST_STEPS, 1, 50),
    Slider("rate", "Learning rate", -5, -2, 0.25, -3, log=True),
    Slider("batch", "Batch", 2, 32, 1, 4),
    Slider("seed", "Seed", 0, 999, 1, 0),
)
