"""Every answer of a run, example by example, for programs and for people with `grep`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunesmith.report.facts import gather
from tunesmith.store.nouns import finite
from tunesmith.store.store import Store


def answers(store: Store, run_id: str) -> Iterator[dict[str, Any]]:
    """One object a test example, in their order: prompt, target, and each variant's answer.

    `prompt` holds the turns before the answer; of an answer that never arrived the response is
    empty and the outcome says so. StoreError where there is no such run.
    """
    facts = gather(store, run_id)
    given = {name: {a.example_id: a for a in found} for name, found in facts.answers.items()}
    for tested in facts.examples:
        example = tested.example
        yield {
            "id": example.id,
            "place": example.place,
            "prompt": [{"role": m.role, "content": m.content} for m in example.messages],
            "target": example.target,
            "label": example.label,
            "meta": dict(example.meta),
            "has_twin": tested.has_twin,
            "answers": {
                name: {
                    "response": answer.response,
                    "outcome": answer.outcome.value,
                    "label": answer.label,
                    "scores": {score: finite(v) for score, v in answer.scores.items()},
                }
                for name, found in given.items()
                if (answer := found.get(example.id)) is not None
            },
        }
