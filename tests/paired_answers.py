"""Examples and answers for tests of comparing: many examples, any scores, no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from tunesmith.records import Answer, Example, Message, Outcome


@lru_cache(maxsize=64)
def questions(n: int, labels: tuple[str, ...] = ()) -> tuple[Example, ...]:
    """n distinct examples, their labels in turn."""
    return tuple(
        Example(
            (Message("user", f"question {i}"),),
            target=f"answer {i}",
            label=labels[i % len(labels)] if labels else None,
            meta={"source": "odd" if i % 2 else "even"},
            place=f"test.jsonl:{i + 1}",
        )
        for i in range(n)
    )


@lru_cache(maxsize=64)
def ids(n: int, labels: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The ids of `questions(n, labels)`."""
    return tuple(example.id for example in questions(n, labels))


def scored(metric: str, values: Iterable[float], known: Sequence[str]) -> list[Answer]:
    """An answer with one score for each id."""
    return [
        Answer(identifier, "said", Outcome.SCORED, scores={metric: float(value)})
        for identifier, value in zip(known, values, strict=True)
    ]


def labelled(
    said: Iterable[str | None], examples: Sequence[Example], known: Sequence[str]
) -> list[Answer]:
    """An answer with a label for each example; None could not be read."""
    return [
        Answer(
            identifier,
            label or "?",
            Outcome.UNPARSED if label is None else Outcome.SCORED,
            label,
            {"correct": float(label == example.label)},
        )
        for label, example, identifier in zip(said, examples, known, strict=True)
    ]
