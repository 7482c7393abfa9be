"""What the tests have done on a Ray cluster; its workers import it, so it knows nothing of them."""

from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path

from tunesmith.errors import ConfigError, StoreError
from tunesmith.pipeline.cells import Cell
from tunesmith.records import StudyRun


def who(cell: Cell) -> StudyRun:
    """Which process it was, and which threads and GPUs it may use."""
    said = f"{os.getpid()} {os.environ['OMP_NUM_THREADS']} {os.environ['CUDA_VISIBLE_DEVICES']!r}"
    return StudyRun("works", cell.task, cell.method, cell.seed, None, math.nan, run=said)


def die(cell: Cell) -> StudyRun:
    """As a process that the machine had no memory for."""
    os.kill(os.getpid(), signal.SIGKILL)
    return who(cell)


def refuse(cell: Cell) -> StudyRun:
    """As a recipe that cannot be done."""
    raise ConfigError(f"no such thing: {cell.method}", hint="try another")


def wait_once(place: Path, cell: Cell) -> StudyRun:
    """As a worker that meets the lock of one that was lost: the first time only."""
    try:
        (place / "met").touch(exist_ok=False)
    except FileExistsError:
        return who(cell)
    raise StoreError("is being built by process 7")


def long(place: Path, cell: Cell) -> StudyRun:
    """Much longer than any test waits; leaves a word when it is told to stop."""
    (place / f"began-{cell.seed}").touch()
    try:
        for _ in range(6000):
            time.sleep(0.05)
    except KeyboardInterrupt:
        (place / f"stopped-{cell.seed}").touch()
        raise
    return who(cell)
