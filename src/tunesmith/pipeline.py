"""The story, to be read from top to bottom: which stage runs when, and with what.

    data ──▶ plan ──▶ train (once per method) ──▶ evaluate (once per variant) ──▶ compare ──▶ report

This is the only module that knows several stages. A stage whose inputs did not change is not run
again: its artefact is found by a fingerprint of all that went into it. What the stages find out is
written into the store as they go, and the report reads it from there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tunesmith.errors import Interrupted, TunesmithError
from tunesmith.records import Adapter, Answer, Comparison, Example, Metric, Plan, Quality, Splits

if TYPE_CHECKING:
    from tunesmith.config import Recipe, Resolved
    from tunesmith.models.load import Loaded
    from tunesmith.store.store import Store
    from tunesmith.tasks.base import Task

BASELINE = "baseline"


class Listener(Protocol):
    """Whoever watches a run; the command line draws it."""

    def stage(self, name: str) -> None:
        """A stage begins."""
        ...

    def say(self, line: str) -> None:
        """One line worth reading."""
        ...

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        """Work in hand: `done` of `total`."""
        ...


class Silent:
    """Nobody watches."""

    def stage(self, name: str) -> None:
        """Nothing."""

    def say(self, line: str) -> None:
        """Nothing."""

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The data stage's result: the parts, what was found, and whose prompts stand in training."""

    key: str
    directory: Path
    splits: Splits
    quality: Quality
    twins: frozenset[str]


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that came to its end."""

    id: str
    recipe: str
    report: Path
    seconds: float
    metrics: tuple[Metric, ...]
    comparisons: tuple[Comparison, ...]
