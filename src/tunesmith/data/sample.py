"""Take a part of a data set: the same rows on every machine, in the strata's own shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.records import Example, Reject, digest


def sample(examples: Sequence[Example], rows: int, *, seed: int) -> tuple[Example, ...]:
    """About `rows` examples, stratified by source and label, whole prompts at a time.

    Which ones they are follows from the seed and the prompts' own content alone; never more than
    `rows`, and fewer by at most the size of the last group of equal prompts. Order is kept.
    """
    if len(examples) <= rows:
        return tuple(examples)
    strata: dict[tuple[str, str], dict[str, int]] = {}
    owner: dict[str, tuple[str, str]] = {}
    for example in examples:
        key = example.prompt_key
        stratum = owner.setdefault(key, (example.meta.get("source", ""), example.label or ""))
        groups = strata.setdefault(stratum, {})
        groups[key] = groups.get(key, 0) + 1
    share = rows / len(examples)
    chosen: set[str] = set()
    for groups in strata.values():
        room = share * sum(groups.values())
        for key in sorted(groups, key=lambda k: digest(str(seed), k)):
            if groups[key] <= room:
                chosen.add(key)
                room -= groups[key]
            if room < 1:
                break
    return tuple(e for e in examples if e.prompt_key in chosen)


@dataclass(frozen=True, slots=True)
class Bounded:
    """Examples within a length, those over it, and the lengths of the former in tokens."""

    examples: tuple[Example, ...]
    lengths: tuple[int, ...]
    overlong: tuple[Reject, ...]


def within(examples: Sequence[Example], lengths: Sequence[int], longest: int) -> Bounded:
    """Set aside the examples over `longest` tokens; no answer is ever cut to fit."""
    pairs = list(zip(examples, lengths, strict=True))
    kept = [(e, n) for e, n in pairs if n <= longest]
    return Bounded(
        examples=tuple(e for e, _ in kept),
        lengths=tuple(n for _, n in kept),
        overlong=tuple(
            Reject(
                e.place,
                f"longer than {longest} tokens",
                {"tokens": n, "prompt": e.messages[-1].content, "target": e.target},
            )
            for e, n in pairs
            if n > longest
        ),
    )
