"""Where the trainings of a study run: each is described by a plain value, and independent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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

    def run(self, work: Work, cells: Sequence[Cell]) -> Iterator[StudyRun]:
        """The result of every cell."""
        ...


class Local:
    """One after another in this process, on one base in memory."""

    name = "local"

    def run(self, work: Work, cells: Sequence[Cell]) -> Iterator[StudyRun]:
        """In their order."""
        return map(work, cells)


def get_engine(name: str) -> Engine:
    """The engine of that name; ConfigError where there is none."""
    engines: dict[str, Callable[[], Engine]] = {"local": Local}
    if name not in engines:
        raise ConfigError(
            f"there is no engine {name!r}", hint=f"engines: {', '.join(sorted(engines))}"
        )
    return engines[name]()
