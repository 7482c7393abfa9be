"""More training examples from those that are there: the recipe's `augment` of a source.

Only ever given the training part, after the split: nothing here can touch what is tested on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunesmith.config.model import Augmentation
from tunesmith.data.generate.broken_dot import KIND, broken_pairs
from tunesmith.data.generate.flips import flips
from tunesmith.data.near import near_duplicates, prompt_text
from tunesmith.errors import ConfigError
from tunesmith.records import Example, Finding, Severity
from tunesmith.tasks.access_decision import AccessDecision, facts_of
from tunesmith.tasks.base import Task
from tunesmith.tasks.dot import extract_graph
from tunesmith.tasks.dot_graph import DotGraph

Wishes = Mapping[
    str, Mapping[Augmentation, float]
]  # source -> augmentation -> share of its training rows


@dataclass(frozen=True, slots=True)
class Augmented:
    """Examples that were made, and what a report says about them."""

    examples: tuple[Example, ...]
    findings: tuple[Finding, ...]


def augment(train: Sequence[Example], wishes: Wishes, task: Task, *, seed: int) -> Augmented:
    """What the wishes ask for, from the training examples of each source.

    Made examples carry the source's meta, `augmented` (the name of the augmentation), and a place
    that says from what they were made. ConfigError where the task is not one that an augmentation
    knows.
    """
    made: list[Example] = []
    findings: list[Finding] = []
    for source, shares in wishes.items():
        rows = [e for e in train if e.meta.get("source") == source]
        for name, share in shares.items():
            kind, make = AUGMENTATIONS[name]
            if not isinstance(task, kind):
                raise ConfigError(
                    f"data.sources.{source}.augment: {name} is for the task {kind.name}, not "
                    f"{task.name}",
                    hint="leave it out",
                )
            wanted = round(share * len(rows))
            new, says = make(rows, wanted, seed, task)
            made += [replace(e, meta={**e.meta, "source": source, "augmented": name}) for e in new]
            findings.append(
                Finding(
                    code=f"augmented_{name}",
                    severity=Severity.INFO,
                    message=f"{len(new):,} training examples of {source} were made by {name} "
                    f"({wanted:,} asked for): {says}",
                    count=len(new),
                    examples=tuple(e.place for e in new[:3]),
                )
            )
    return Augmented(tuple(made), tuple(findings))


def apart(
    made: Sequence[Example], held_out: Sequence[Example]
) -> tuple[tuple[Example, ...], tuple[Finding, ...]]:
    """Those of `made` whose prompt is in no held-out example, word for word or nearly; a finding
    tells how many were left out."""
    keys = {example.prompt_key for example in held_out}
    near = near_duplicates([*map(prompt_text, made)], [*map(prompt_text, held_out)])
    twins = [e for e, hit in zip(made, near, strict=True) if hit or e.prompt_key in keys]
    if not twins:
        return tuple(made), ()
    left_out = Finding(
        code="augmented_twins",
        severity=Severity.INFO,
        message="made examples were left out: a validation or test example asks (nearly) the same",
        count=len(twins),
        examples=tuple(e.place for e in twins[:3]),
    )
    gone = {id(example) for example in twins}
    return tuple(e for e in made if id(e) not in gone), (left_out,)


def _mended(
    rows: Sequence[Example], wanted: int, seed: int, task: Task
) -> tuple[list[Example], str]:
    graphs = {extract_graph(e.target) or e.target: e for e in rows}
    pairs = broken_pairs(list(graphs), wanted, seed=seed)
    faults: dict[str, int] = {}
    for pair in pairs:
        faults[pair.fault] = faults.get(pair.fault, 0) + 1
    made = [
        _shaped(
            task,
            {"kind": KIND, "input_code": pair.broken, "output_dot": pair.mended},
            graphs[pair.mended],
            f"{graphs[pair.mended].place}, {pair.fault}",
        )
        for pair in pairs
    ]
    return made, ", ".join(f"{n:,} {fault.replace('_', ' ')}" for fault, n in faults.items())


def _flipped(
    rows: Sequence[Example], wanted: int, seed: int, task: Task
) -> tuple[list[Example], str]:
    found = flips(_rows(rows), seed=seed, count=wanted)
    made = [
        _shaped(task, row, rows[int(row["row"])], f"{rows[int(row['row'])].place}, flipped")
        for row in found.rows
    ]
    read, same = sum(found.read.values()), sum(found.reproduced.values())
    return made, (
        f"rules read {read:,} of {found.looked_at:,} rows and give the own label of {same:,}; the "
        "others were not used"
    )


def _rows(examples: Sequence[Example]) -> Iterator[dict[str, Any]]:
    for number, example in enumerate(examples):
        permissions, query = facts_of(example)
        yield {
            "permissions": permissions,
            "query": query,
            "expected_response": example.label,
            "row": str(number),
        }


def _shaped(task: Task, row: Mapping[str, Any], made_of: Example, place: str) -> Example:
    draft = task.shape(row)
    meta = {**made_of.meta, **draft.meta}
    return Example(tuple(draft.messages), draft.target, draft.label, meta, place)


Maker = Callable[[Sequence[Example], int, int, Task], tuple[list[Example], str]]
AUGMENTATIONS: Mapping[Augmentation, tuple[type[Task], Maker]] = {
    "broken_dot": (DotGraph, _mended),
    "flips": (AccessDecision, _flipped),
}
