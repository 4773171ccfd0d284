"""A fine-tune in slices, each in a process of its own that goes on from where the one before it stood.

What goes either way is numpy arrays and plain values: a tensor would travel by a file that ends with its process.
Wishes reach a slice as files in a folder that both know. A slice can be made on a CPU by a new interpreter, too.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gramviz.errors import BusyError
from gramviz.serving.settings import choose_device
from gramviz.serving.watching import Sight, watched
from gramviz.training.finetune import Ended, FinetuneJob, Saved, finetune

STOP, REST, END = "stop", "rest", "end"  # what is wished of a slice: the file of that name is there


def sliced(
    packed: dict[str, Any], saved: Any, wishes: str, seconds: float, device: str = "auto"
) -> Generator[Any, None, None]:
    """Events of a job, as `as_arrays` gives them, for `seconds` and the step at work; where more is to do then, a
    Saved is the last.

    packed: what `packed_job` gives; saved: a Saved to go on from, or None. wishes: a folder in which STOP (end with
    what there is), REST (a Saved, and an end) or END (just end) may appear as files.
    """
    until, wished = time.monotonic() + seconds, Path(wishes)
    job = FinetuneJob(**as_tensors(packed))
    # A state is several copies of the network: none is made but the one to go on from.
    job = replace(job, save_steps=job.config.steps)

    def over() -> bool:
        return time.monotonic() >= until or (wished / REST).exists()

    stopped = (wished / STOP).exists
    for event in finetune(job, choose_device(device), as_tensors(saved), stopped, saving=over):
        if (wished / END).exists():
            return
        if isinstance(event, Saved):
            yield as_arrays(event)
            return
        for one in watched(event):
            yield as_arrays(one)


def anew(packed: dict[str, Any], saved: Any, wishes: str, threads: int) -> Generator[Any, None, None]:
    """`sliced` to the end, or to a wished rest, on a CPU in a new interpreter: it knows nothing of what this one has
    made of torch. Raises what the slice raised, and BusyError where its process was lost.
    """
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_send, args=(there, packed, saved, wishes, threads), daemon=True)
    process.start()
    there.close()
    try:
        while (item := here.recv()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    except EOFError:
        raise BusyError("The process of this fine-tune was lost; please start it again.") from None
    finally:
        here.close()
        process.kill()
        process.join()


def _send(to: Any, packed: dict[str, Any], saved: Any, wishes: str, threads: int) -> None:
    """In the new interpreter: everything, then None."""
    torch.set_num_threads(threads)
    try:
        for item in sliced(packed, saved, wishes, float("inf"), "cpu"):
            to.send(item)
        to.send(None)
    except BrokenPipeError:
        pass  # nobody reads any more
    except Exception as error:
        to.send(error)


def packed_job(job: FinetuneJob) -> dict[str, Any]:
    """The job's fields, as they travel."""
    return {one.name: as_arrays(getattr(job, one.name)) for one in dataclasses.fields(job)}


def as_arrays(value: Any) -> Any:
    """The same with numpy arrays for tensors, in dictionaries and in the fields of events too."""
    if isinstance(value, Tensor):
        return (value.float() if value.dtype == torch.bfloat16 else value).detach().cpu().numpy()
    return _within(value, as_arrays)


def as_tensors(value: Any) -> Any:
    """What `as_arrays` made, back; the arrays of a Sight stay as they are."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    return value if isinstance(value, Sight) else _within(value, as_tensors)


def _within(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {name: change(each) for name, each in value.items()}
    if isinstance(value, Saved):
        return replace(value, tensors=change(value.tensors))
    if isinstance(value, Ended):
        return replace(value, weights=change(value.weights))
    return value
