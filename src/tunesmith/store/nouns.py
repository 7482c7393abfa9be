"""What the store hands out beside the nouns of `tunesmith.records`: frozen, never a table row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from tunesmith.records import Example, Quality, Reject, Run


class Status(StrEnum):
    """What became of a run; `interrupted` can be resumed."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Provenance:
    """What it takes to repeat a run: command, code, libraries, machine, seed."""

    command: str = ""
    git_revision: str | None = None
    git_dirty: bool | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Experiment:
    """One run as the store knows it; `resolved` is the recipe with every default filled in.

    `seconds` is wall-clock time over all sittings, None while the run is under way.
    """

    id: str
    recipe: str
    directory: Path
    status: Status
    started: datetime
    finished: datetime | None
    seconds: float | None
    recipe_text: str
    resolved: Mapping[str, Any]
    provenance: Provenance
    error: str = ""

    @property
    def run(self) -> Run:
        """The run as the other packages name it."""
        return Run(self.id, self.recipe, self.directory)


@dataclass(frozen=True, slots=True)
class Dataset:
    """One data set of a run: its parts (split name -> examples), what checking it found, rejects.

    `fingerprint` hashes the content of all parts. `rejects` may be many; the store keeps the first
    `KEPT_REJECTS` of them and counts every reason in `reject_reasons`.
    """

    name: str
    fingerprint: str
    splits: Mapping[str, int]
    quality: Quality | None = None
    rejects: tuple[Reject, ...] = ()
    reject_reasons: Mapping[str, int] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)


VariantKind = Literal["untuned", "cheap", "trained"]


@dataclass(frozen=True, slots=True)
class Variant:
    """A thing that answers: the untuned model, a cheap baseline, or the model with an adapter."""

    name: str
    kind: VariantKind
    description: str = ""


@dataclass(frozen=True, slots=True)
class TestExample:
    """An Example of a run's test set; `has_twin`: its prompt, or nearly so, stood in training."""

    __test__ = False  # pytest: not a test class

    example: Example
    has_twin: bool = False


@dataclass(frozen=True, slots=True)
class GoldCheck:
    """A scorer run on the gold answers themselves: it must give `expected` (1 for most)."""

    metric: str
    n: int
    value: float
    expected: float = 1.0
    problems: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the scorer judges the gold answers as right as they are."""
        return abs(self.value - self.expected) <= 1e-9


@dataclass(frozen=True, slots=True)
class StageArtefact:
    """The artefact a stage of a run stands on; `reused` if an earlier run had made it."""

    stage: str
    key: str
    directory: Path
    manifest: Mapping[str, Any] = field(default_factory=dict)
    reused: bool = False


KEPT_REJECTS = 200


def finite(value: Any) -> Any:
    """A value, or None for a number that JSON and a column have no word for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
