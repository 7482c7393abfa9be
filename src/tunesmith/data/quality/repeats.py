"""Rows that repeat: the same prompt, nearly the same prompt, several labels for one prompt."""

from __future__ import annotations

from collections.abc import Sequence

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
    labels: dict[str, set[str]] = {}
    for example, key in zip(examples, keys, strict=True):
        if example.label is not None:
            labels.setdefault(key, set()).add(example.label)
    hits = [
        Hit(row, str(examples[row].label))
        for row, key in enumerate(keys)
        if len(labels.get(key, ())) > 1
    ]
    message = "rows have a prompt that carries two or more labels"
    return [Flag("contradicting_prompts", Severity.WARNING, message, tuple(hits))] if hits else []
