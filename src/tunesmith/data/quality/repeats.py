"""Rows that repeat: the same prompt, nearly the same prompt, several labels or answers for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tunesmith.data.quality.flags import Flag, Hit
from tunesmith.records import Example, Severity


def near(examples: Sequence[Example], leaders: Sequence[int], kept: int = 1) -> list[Flag]:
    """Rows beyond the first `kept` of their cluster; `leaders` as `near.clusters` gives them."""
    sizes: dict[int, int] = {}
    hits = []
    for row, leader in enumerate(leaders):
        sizes[leader] = sizes.get(leader, 0) + 1
        if sizes[leader] > kept:
            hits.append(Hit(row, f"like {examples[leader].place}"))
    if not hits:
        return []
    largest = max(sizes.values())
    clusters = sum(size > kept for size in sizes.values())
    beyond = f"beyond the first {kept} " if kept > 1 else ""
    message = (
        f"rows {beyond}are nearly like an earlier one: {clusters:,} clusters, the largest of "
        f"{largest:,} rows (5-character shingles, Jaccard similarity 0.8 or more, equal ones too)"
    )
    advice = "max_near_duplicates_per_cluster keeps the first ones of each; see what they differ in"
    return [Flag("near_duplicates", Severity.WARNING, message, tuple(hits), f"{advice}.")]


def exact(examples: Sequence[Example], keys: Sequence[str]) -> list[Flag]:
    """Rows whose prompt stood before."""
    first: dict[str, int] = {}
    hits = [
        Hit(row, f"as {examples[first[key]].place}")
        for row, key in enumerate(keys)
        if first.setdefault(key, row) != row
    ]
    message = "rows repeat the prompt of an earlier row"
    return [Flag("duplicate_prompts", Severity.WARNING, message, tuple(hits))] if hits else []


def contradicting(examples: Sequence[Example], keys: Sequence[str]) -> list[Flag]:
    """Every row whose prompt carries two or more labels."""
    message = "rows have a prompt that carries two or more labels"
    hits = _several(keys, [e.label for e in examples])
    noted = tuple(Hit(row, str(examples[row].label)) for row in hits)
    return [Flag("contradicting_prompts", Severity.WARNING, message, noted)] if hits else []


def differing(examples: Sequence[Example], keys: Sequence[str]) -> list[Flag]:
    """Every row without a label whose prompt has two or more answers."""
    message = "rows have a prompt that has two or more different answers"
    hits = _several(keys, [e.target if e.label is None else None for e in examples])
    first: dict[str, int] = {}
    noted = tuple(Hit(r, f"as {examples[first.setdefault(keys[r], r)].place}") for r in hits)
    return [Flag("differing_answers", Severity.WARNING, message, noted)] if hits else []


def without_first(flag: Flag, keys: Sequence[str]) -> Flag:
    """The flag without the first of its rows of each prompt."""
    first: dict[str, int] = {}
    hits = tuple(hit for hit in flag.hits if first.setdefault(keys[hit.row], hit.row) != hit.row)
    return replace(flag, hits=hits)


def _several(keys: Sequence[str], said: Sequence[str | None]) -> list[int]:
    """Rows whose key is said two or more different things of; None is nothing said."""
    seen: dict[str, set[str]] = {}
    for key, text in zip(keys, said, strict=True):
        if text is not None:
            seen.setdefault(key, set()).add(text)
    return [
        row
        for row, (key, text) in enumerate(zip(keys, said, strict=True))
        if text is not None and len(seen[key]) > 1
    ]
