"""Micro-batches side by side: on a CPU, a thread and its share of the cores for each.

Short examples in a small model make products of a millisecond. Two cores that divide each of them
wait for one another at every operation; two cores with a micro-batch each do not. Gradients are
summed in the order of the micro-batches, so that the result does not depend on who was first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch

from tunesmith.models.hardware import cores

Job = TypeVar("Job")
Done = TypeVar("Done")


class Map(Protocol):
    """What `map` does: each job's result, in the order of the jobs."""

    def __call__(self, work: Callable[[Job], Done], jobs: Iterable[Job], /) -> Iterable[Done]:
        """Results of `work` for each of `jobs`."""
        ...


def side_by_side(device: torch.device, examples: int) -> int:
    """How many micro-batches to compute at once for effective batches of `examples`.

    One on an accelerator, and where threads spin while they wait (OMP_WAIT_POLICY=active): those of
    the main thread would burn the cores that the others need.
    """
    spinning = os.environ.get("OMP_WAIT_POLICY", "").lower() == "active"
    return 1 if device.type != "cpu" or spinning else max(1, min(cores(), examples))


@contextmanager
def workers(count: int) -> Iterator[Map]:
    """A `map` that runs `count` jobs at a time and gives their results in order."""
    if count == 1:
        yield map
        return
    # OpenMP's number of threads belongs to the thread that sets it: the main thread keeps its own.
    share = max(1, cores() // count)
    pool = ThreadPoolExecutor(
        count, "micro-batch", initializer=lambda: torch.set_num_threads(share)
    )
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)  # what nobody waits for any more is not begun
