"""Differences between two data sets: rows added, removed, changed, moved; labels and sources.

A row is known by its content (prompt, answer, label). Of rows that stand in one set alone, those
that share a prompt are one row whose answer or label changed. Rows that stand in both, in another
part, have moved: a test row that went to training makes old and new scores incomparable. A row that
stands twice is counted twice. Rows are compared whole, and told with what is private masked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.data.quality.mask import masked
from tunesmith.data.shape import prompt_of
from tunesmith.records import Example, Message

WHOLE = "all"  # the part of a set that is not divided
Parts = Mapping[str, Sequence[Example]]


@dataclass(frozen=True, slots=True)
class Change:
    """One row: its prompt in short, where it stands, and what became of answer and label."""

    kind: str  # added, removed, changed, moved
    prompt: str
    part_a: str | None
    part_b: str | None
    before: str | None = None
    after: str | None = None
    label_before: str | None = None
    label_after: str | None = None


@dataclass(frozen=True, slots=True)
class Shift:
    """How many rows of a label or source there are in each set, and their share (0 to 1)."""

    name: str
    a: int
    b: int
    share_a: float
    share_b: float


@dataclass(frozen=True, slots=True)
class Difference:
    """What lies between two sets; `retold` are rows whose metadata alone differ."""

    rows_a: int
    rows_b: int
    same: int
    changes: tuple[Change, ...]
    retold: int
    labels: tuple[Shift, ...]
    sources: tuple[Shift, ...]

    def count(self, kind: str) -> int:
        """Number of rows of one kind of change."""
        return sum(change.kind == kind for change in self.changes)

    @property
    def leaked(self) -> int:
        """Rows that stood in the test part of a, and are trained on in b."""
        return sum(c.part_a == "test" and c.part_b in ("train", "validation") for c in self.changes)


def difference(a: Parts, b: Parts) -> Difference:
    """What lies between a and b. Parts are compared where both sets are divided."""
    divided = WHOLE not in a and WHOLE not in b
    ours, theirs = _by_id(a), _by_id(b)
    changes: list[Change] = []
    alone_a: dict[str, list[tuple[str, Example]]] = {}
    alone_b: dict[str, list[tuple[str, Example]]] = {}
    same = retold = 0
    for key in dict.fromkeys([*ours, *theirs]):
        left, right = list(ours.get(key, ())), list(theirs.get(key, ()))
        pairs = _pairs(left, right, divided=divided)
        for (part_a, one), (part_b, other) in pairs:
            if divided and part_a != part_b:
                changes.append(_change("moved", (part_a, one), (part_b, one)))
            else:
                same += 1
                retold += dict(one.meta) != dict(other.meta)
        for part, example in left:
            alone_a.setdefault(example.prompt_key, []).append((part, example))
        for part, example in right:
            alone_b.setdefault(example.prompt_key, []).append((part, example))
    changes += _alone(alone_a, alone_b)
    order = {"changed": 0, "moved": 1, "removed": 2, "added": 3}
    every_a, every_b = _flat(a), _flat(b)
    return Difference(
        rows_a=len(every_a),
        rows_b=len(every_b),
        same=same,
        changes=tuple(sorted(changes, key=lambda change: order[change.kind])),
        retold=retold,
        labels=_shifts(every_a, every_b, lambda e: e.label),
        sources=_shifts(every_a, every_b, lambda e: e.meta.get("source")),
    )


def difference_json(found: Difference, *, shown: int | None = None) -> dict[str, Any]:
    """The object that `tunesmith data diff --json` prints, with at most `shown` rows."""
    kinds = ("added", "removed", "changed", "moved")
    return {
        "rows": {"a": found.rows_a, "b": found.rows_b},
        "same": found.same,
        **{kind: found.count(kind) for kind in kinds},
        "retold": found.retold,
        "test_to_training": found.leaked,
        "labels": [_plain(shift) for shift in found.labels],
        "sources": [_plain(shift) for shift in found.sources],
        "changes": [_plain(change) for change in found.changes[:shown]],
    }


def _plain(record: Change | Shift) -> dict[str, Any]:
    return {name: getattr(record, name) for name in type(record).__dataclass_fields__}


def _by_id(parts: Parts) -> dict[str, list[tuple[str, Example]]]:
    found: dict[str, list[tuple[str, Example]]] = {}
    for part, examples in parts.items():
        for example in examples:
            found.setdefault(example.id, []).append((part, example))
    return found


def _pairs(
    left: list[tuple[str, Example]], right: list[tuple[str, Example]], *, divided: bool
) -> list[tuple[tuple[str, Example], tuple[str, Example]]]:
    """Equal rows of both sides, those of one part first; what has no partner stays behind."""
    pairs = []
    for within in (True, False) if divided else (False,):
        for one in list(left):
            partner = next((it for it in right if not within or it[0] == one[0]), None)
            if partner is not None:
                left.remove(one)
                right.remove(partner)
                pairs.append((one, partner))
    return pairs


def _alone(
    a: Mapping[str, list[tuple[str, Example]]], b: Mapping[str, list[tuple[str, Example]]]
) -> list[Change]:
    """Rows that stand on one side alone: changed where the prompt is on both."""
    changes = []
    for key in dict.fromkeys([*a, *b]):
        left, right = a.get(key, []), b.get(key, [])
        changes += [_change("changed", *both) for both in zip(left, right, strict=False)]
        changes += [_change("removed", placed, None) for placed in left[len(right) :]]
        changes += [_change("added", None, placed) for placed in right[len(left) :]]
    return changes


def _change(kind: str, a: tuple[str, Example] | None, b: tuple[str, Example] | None) -> Change:
    """A row for people: what is private is hidden before anything is shortened."""
    (part_a, one), (part_b, other) = a or (None, None), b or (None, None)
    shown = one or other
    last = shown.messages[-1].content if shown is not None and shown.messages else ""
    labels = [None if e is None or kind == "moved" else _told(e.label) for e in (one, other)]
    return Change(
        kind,
        prompt_of([Message("user", masked(last))]),
        part_a,
        part_b,
        _told(one.target if one else None),
        _told(other.target if other else None),
        *labels,
    )


def _told(text: str | None) -> str | None:
    return None if text is None else masked(text)


def _flat(parts: Parts) -> list[Example]:
    return [example for examples in parts.values() for example in examples]


def _shifts(
    a: Iterable[Example], b: Iterable[Example], name: Callable[[Example], str | None]
) -> tuple[Shift, ...]:
    ours = Counter(said for e in a if (said := name(e)) is not None)
    theirs = Counter(said for e in b if (said := name(e)) is not None)
    whole_a, whole_b = ours.total() or 1, theirs.total() or 1
    every = sorted(set(ours) | set(theirs), key=lambda n: (-ours[n] - theirs[n], n))
    return tuple(
        Shift(masked(n), ours[n], theirs[n], ours[n] / whole_a, theirs[n] / whole_b) for n in every
    )
