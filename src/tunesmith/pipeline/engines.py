"""Where the trainings of a study run: each is described by a plain value, and independent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from tunesmith.errors import ConfigError
from tunesmith.pipeline.cells import Cell
from tunesmith.records import StudyRun

Work = Callable[[Cell], StudyRun]


class Engine(Protocol):
    """Runs cells. `work` and cells can be pickled; results come in any order, as they end.

    What `work` raises (an interruption, a full disk) is raised by the iterator. Closing it lets go
    of what has not ended.
    """

    name: str

    @property
    def cpus(self) -> float:
        """Processors that each training has."""
        ...

    def run(self, work: Work, cells: Sequence[Cell]) -> Iterator[StudyRun]:
        """The result of every cell."""
        ...

    def close(self) -> None:
        """Stop what still runs, and let go of what the engine holds."""
        ...


class Local:
    """One after another in this process, on one base in memory."""

    name = "local"

    @property
    def cpus(self) -> float:
        """The threads that torch takes."""
        import torch

        return torch.get_num_threads()

    def run(self, work: Work, cells: Sequence[Cell]) -> Iterator[StudyRun]:
        """In their order."""
        return map(work, cells)

    def close(self) -> None:
        """Nothing is held."""


def get_engine(
    name: str,
    *,
    study: str = "",
    home: Path = Path(),
    address: str = "",
    cpus: float = 1,
    gpus: float | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Engine:
    """The engine of that name; ConfigError where there is none, or where it cannot be had.

    All but the name concerns `ray` (see pipeline/ray_engine.py).
    """
    if name == "local":
        return Local()
    if name == "ray":
        from tunesmith.pipeline.ray_engine import OnRay

        return OnRay(study, home, address=address, cpus=cpus, gpus=gpus, say=say)
    raise ConfigError(f"there is no engine {name!r}", hint="engines: local, ray")
