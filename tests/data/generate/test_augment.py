"""Augmentation: from training rows alone, told in the findings, refused where it means nothing."""

from __future__ import annotations

import json

import pytest

from tunesmith.data.generate import generate_rows
from tunesmith.data.generate.augment import apart, augment
from tunesmith.errors import ConfigError
from tunesmith.records import Example
from tunesmith.tasks.access_decision import AccessDecision, facts_of
from tunesmith.tasks.base import Task
from tunesmith.tasks.dot import extract_graph
from tunesmith.tasks.dot.validity import valid_all
from tunesmith.tasks.dot_graph import DotGraph
from tunesmith.tasks.text import Text


def shaped(task: Task, row: dict[str, object], place: str, source: str) -> Example:
    draft = task.shape(row)
    meta = {**draft.meta, "source": source, "role": "train", "licence": "MIT"}
    return Example(tuple(draft.messages), draft.target, draft.label, meta, place)


def drawings(count: int, source: str = "machines") -> list[Example]:
    rows = generate_rows("machines", count, 2, "train")
    return [shaped(DotGraph(), dict(row), f"m:{i}", source) for i, row in enumerate(rows)]


def decisions() -> list[Example]:
    task = AccessDecision()
    rows = []
    for n in range(20):
        held = {"department": ["it"], "access_level": "read", "allowed_actions": ["x"]}
        rows.append(
            {
                "permissions": json.dumps({**held, "rate_limit": 50}),
                "query": f"Trigger {30 + n} API calls",
                "expected_response": "full" if n != 3 else "rejected",
                "rationale": "so",
            }
        )
    return [shaped(task, row, f"a:{i}", "easy") for i, row in enumerate(rows)]


def test_mended_pairs_come_from_the_named_source_alone() -> None:
    train = [*drawings(20), *drawings(20, "other")]
    found = augment(train, {"machines": {"broken_dot": 0.5}}, DotGraph(), seed=1)
    assert len(found.examples) == 10
    gold = {extract_graph(e.target) for e in train if e.meta["source"] == "machines"}
    for made in found.examples:
        assert made.meta["source"] == "machines"
        assert made.meta["kind"] == "mended"
        assert made.meta["augmented"] == "broken_dot"
        assert made.place.startswith("m:")
        assert extract_graph(made.target) in gold
        prompt = made.messages[-1].content
        assert prompt.startswith("Mend this DOT graph.\n\n")
        assert not valid_all([prompt.partition("\n\n")[2]])[0]
    (told,) = found.findings
    assert told.code == "augmented_broken_dot"
    assert told.count == 10


def test_flips_are_shaped_as_the_rows_they_came_from() -> None:
    train = decisions()
    found = augment(train, {"easy": {"flips": 1.0}}, AccessDecision(), seed=1)
    assert len(found.examples) == 19  # one row's own label is not the rule's
    by_place = {e.place: e for e in train}
    for made in found.examples:
        before = by_place[made.place.partition(",")[0]]
        assert made.label != before.label
        assert made.target.startswith(f"{made.label}\nRationale: ")
        assert made.messages[0] == before.messages[0]
        assert facts_of(made)[1] == facts_of(before)[1]
        assert facts_of(made)[0] != facts_of(before)[0]
    assert "20 of 20" in found.findings[0].message
    assert "19" in found.findings[0].message


@pytest.mark.parametrize("instructions_first", [True, False])
def test_facts_of_undoes_shape(instructions_first: bool) -> None:
    task = AccessDecision(instructions_first=instructions_first)
    row = {
        "permissions": '{"a": 1}',
        "query": "May I?\n\nRequest:\nnow",
        "expected_response": "full",
    }
    example = shaped(task, dict(row), "a:1", "easy")
    assert facts_of(example) == (row["permissions"], row["query"])
    with pytest.raises(ValueError, match="no prompt"):
        facts_of(drawings(1)[0])


def test_a_task_that_an_augmentation_does_not_know_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"data\.sources\.facts\.augment: broken_dot"):
        augment([], {"facts": {"broken_dot": 0.5}}, Text(), seed=1)


def test_what_is_asked_in_a_held_out_example_is_not_made() -> None:
    train = drawings(20)
    made = augment(train, {"machines": {"broken_dot": 0.5}}, DotGraph(), seed=1).examples
    held_out = [*drawings(3, "test"), made[4]]
    kept, (told,) = apart(made, held_out)
    assert made[4] not in kept
    assert len(kept) + told.count == len(made)
    assert apart(kept, held_out) == (kept, ())
