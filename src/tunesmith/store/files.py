"""Read nouns back from the JSON that artefacts hold: answers, adapters, quality, rejects, steps,
reports of layers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from tunesmith.records import (
    Adapter,
    Answer,
    Finding,
    LayerReport,
    Outcome,
    Quality,
    Reject,
    Severity,
    TrainingStep,
)


def read_answers(file: Path) -> Iterator[Answer]:
    """The answers of a JSONL file, none where there is none; a last line cut short is no answer."""
    for row in _lines(file):
        yield Answer(**{**row, "outcome": Outcome(row["outcome"])})


def read_steps(file: Path) -> Iterator[TrainingStep]:
    """The training steps of a JSONL file; of a step done again after a resume, the last."""
    steps = {row["step"]: TrainingStep(**row) for row in _lines(file)}
    yield from (steps[number] for number in sorted(steps))


def read_layers(file: Path) -> Iterator[LayerReport]:
    """The reports of layers of a JSONL file, by step; of a look done again, the last."""
    looks = {(row["step"], row["layer"], row["energy_kept"] is None): row for row in _lines(file)}
    for row in sorted(looks.values(), key=lambda row: int(row["step"])):
        yield LayerReport(**{**row, "spectrum": tuple(row["spectrum"])})


def open_log(file: Path) -> TextIO:
    """Open a JSONL file to go on with it; a last line that was cut short is taken off first."""
    if file.is_file():
        with file.open("rb+") as stream:
            kept = stream.read().rfind(b"\n") + 1
            stream.truncate(kept)
    return file.open("a", encoding="utf-8")


def read_rejects(file: Path) -> Iterator[Reject]:
    """The rows that were set aside."""
    for row in _lines(file):
        yield Reject(row["place"], row["reason"], row["row"])


def read_adapter(directory: Path, name: str) -> Adapter:
    """The adapter of an artefact, under the name of the variant that asks for it."""
    facts = json.loads((directory / "adapter.json").read_text("utf-8"))
    return Adapter(**{**facts, "name": name, "directory": directory / facts["directory"]})


def read_quality(facts: Mapping[str, Any]) -> Quality:
    """A Quality from its JSON."""
    findings = tuple(
        Finding(**{**f, "severity": Severity(f["severity"]), "examples": tuple(f["examples"])})
        for f in facts["findings"]
    )
    return Quality(**{**facts, "findings": findings})


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    if not file.is_file():
        return
    with file.open(encoding="utf-8") as stream:
        for line in stream:
            if line.endswith("\n"):
                yield json.loads(line)
