"""`gramviz serve` as on a ZeroGPU Space, over the real package `spaces`: only the GPU itself is left out, and a slice
is one step.

Serves on the port that is its only argument. SPACES_ZERO_GPU and the address of a device API are in its environment.
"""

import sys


def main() -> int:
    """Serve until the end."""
    import gradio  # noqa: F401  # whole before `spaces`, as the page has it
    import spaces.zero.torch as lent

    def nothing(*_: object, **__: object) -> None:
        """Stands for the first touch of the GPU, and for moving networks to it."""

    lent.init = lent.move = nothing

    from gramviz.__main__ import main as gramviz
    from gramviz.serving import zero_finetune

    zero_finetune.SLICE = 0.0

    return gramviz(["serve", "--port", sys.argv[1]])


if __name__ == "__main__":
    sys.exit(main())
