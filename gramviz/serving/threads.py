"""How many threads torch computes with on a CPU: all of them in networks, one for small matrices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Elements of features. Threads that meet after every step of an eigenvalue solver cost more than they bring:
# measured on two cores, a view of 784 patches of width 128 took 8 ms on one thread and 22 ms on two.
SMALL = 2**19


@contextmanager
def threads_for(elements: int) -> Iterator[None]:
    """One thread while what is inside works on features of few elements; else as many as there are."""
    before = torch.get_num_threads()
    if elements > SMALL or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
