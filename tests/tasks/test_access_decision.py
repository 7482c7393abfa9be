"""Access decisions: the published rows, their labels, and what counts as a decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.records import Example, Outcome
from tunesmith.tasks.access_decision import INSTRUCTIONS, AccessDecision
from tunesmith.tasks.base import Draft, RowError, UnknownLabel, gold_check

ROW = {
    "user_role": "HR Manager",
    "permissions": '{"department": "HR"}',
    "query": "Show the leave requests.",
    "expected_response": "full",
    "rationale": "It is all within HR.",
}


def _rows(path: Path) -> Iterator[dict[str, object]]:
    from pyarrow import parquet

    yield from parquet.read_table(path).to_pylist()


# Labels as the parquet files hold them, counted with another program (SQL over the same files).
PUBLISHED = {
    "easy": ({"full": 9046, "partial": 9002, "rejected": 8554, "reject": 139}, 26_796),
    "medium": ({"rejected": 2673, "partial": 2160}, 4_834),
}


@pytest.mark.parametrize("part", ["easy", "medium"])
def test_published_rows_are_usable_repaired_or_set_aside(shared_data: Path, part: str) -> None:
    task = AccessDecision()
    labels, rows = PUBLISHED[part]
    raw: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    examples = []
    for number, row in enumerate(_rows(shared_data / "orgaccess" / f"{part}.parquet"), 1):
        try:
            draft = task.shape(row)
        except UnknownLabel as error:
            unknown[error.label] += 1
            continue
        raw[str(draft.raw_label)] += 1
        examples.append(
            Example(draft.messages, draft.target, draft.label, {}, f"{part}.parquet:{number}")
        )
    assert dict(raw) == labels
    assert sum(raw.values()) + sum(unknown.values()) == rows
    assert set(Counter(e.label for e in examples)) <= set(task.labels)
    if part == "easy":
        assert unknown["approve_budget"] == 3
        assert "reject" not in unknown
    (check,) = gold_check(task, examples)
    assert (check.metric, check.full_marks) == ("accuracy", len(examples)), check.failures[:5]


def test_the_prompt_holds_permissions_and_query_and_no_role() -> None:
    for task in (AccessDecision(), AccessDecision(instructions_first=True)):
        draft = task.shape(ROW)
        system, user = draft.messages
        assert system.role == "system"
        assert ROW["permissions"] in user.content
        assert ROW["query"] in user.content
        assert not any(ROW["user_role"] in message.content for message in draft.messages)
        assert user.content.startswith(INSTRUCTIONS) == task.instructions_first
        assert draft.target == "full\nRationale: It is all within HR."


@pytest.mark.parametrize(
    ("raw", "label"),
    [("full", "full"), (" Partial ", "partial"), ("reject", "rejected"), ("REJECT", "rejected")],
)
def test_spellings_that_need_no_guess_are_repaired(raw: str, label: str) -> None:
    draft = AccessDecision().shape({**ROW, "expected_response": raw})
    assert (draft.label, draft.raw_label) == (label, raw)
    assert draft.target.startswith(f"{label}\n")


@pytest.mark.parametrize("raw", ["approve_budget", "approve", "deny", "r", "", "None", None, 1])
def test_other_labels_are_set_aside(raw: object) -> None:
    with pytest.raises(UnknownLabel) as caught:
        AccessDecision().shape({**ROW, "expected_response": raw})
    assert caught.value.label == str(raw)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"permissions": None}, "no permissions"),
        ({"permissions": 7}, "permissions is int, not text"),
        ({"query": "  "}, "no query"),
        ({"rationale": 5}, "rationale is int, not text"),
    ],
)
def test_broken_rows_say_why(change: dict[str, object], reason: str) -> None:
    with pytest.raises(RowError) as caught:
        AccessDecision().shape({**ROW, **change})
    assert caught.value.reason == reason


def test_a_row_without_rationale_or_with_permissions_as_an_object() -> None:
    task = AccessDecision()
    bare: Draft = task.shape({k: v for k, v in ROW.items() if k != "rationale"})
    assert bare.target == "full"
    nested = task.shape({**ROW, "permissions": {"department": "HR"}})
    assert nested.messages == task.shape(ROW).messages
    with pytest.raises(RowError, match="no expected_response"):
        task.shape({k: v for k, v in ROW.items() if k != "expected_response"})


@pytest.mark.parametrize(
    ("response", "label"),
    [
        ("full", "full"),
        ("Partial\nRationale: full access needs approval", "partial"),
        ("REJECTED.", "rejected"),
        ("Reject", "rejected"),
        ("**Decision**: full", "full"),
        ("The final decision is: **Partial** because ...", "partial"),
        ("> rejected - the user lacks partial permissions", "rejected"),
        ('{"expected_response": "rejected", "rationale": "full"}', "rejected"),
        ('```json\n{"decision": "Reject"}\n```', "rejected"),
        ("I would grant partial access.\nThe rest is full of secrets.", "partial"),
        ("Full or partial, let me see.\n\nFinal decision: **rejected**", None),
        ("Let me think about full and partial.\n\nFinal decision: **rejected**", "rejected"),
        ("Answer: (partial)", "partial"),
        ("full or partial", None),
        ("full/partial/rejected", None),
        ("full - everything\npartial - a part\nrejected - none", None),
        ("1. full\n2. partial\n3. rejected", None),
        ("fully granted", None),
        ("Access granted.", None),
        ("", None),
    ],
)
def test_what_counts_as_a_decision(response: str, label: str | None) -> None:
    parsed = AccessDecision().parse(response)
    assert parsed.label == label
    assert parsed.outcome is (Outcome.UNPARSED if label is None else Outcome.SCORED)
    example = Example((), "rejected", "rejected")
    assert AccessDecision().score(parsed, example) == {"accuracy": float(label == "rejected")}


def test_declining_is_an_outcome_of_its_own() -> None:
    parsed = AccessDecision().parse("I'm sorry, but I can't help with that.")
    assert parsed.outcome is Outcome.REFUSED
    assert AccessDecision().score(parsed, Example((), "full", "full")) == {"accuracy": 0.0}


@given(st.sampled_from(AccessDecision.labels), st.text(max_size=80))
def test_a_label_and_a_rationale_behind_it_decide(label: str, rationale: str) -> None:
    target = f"{label}\nRationale: {' '.join(rationale.split())}"
    assert AccessDecision().parse(target).label == label


def test_a_label_that_is_null_is_missing_and_not_unknown() -> None:
    row = {"permissions": "{}", "query": "Show", "expected_response": None}
    with pytest.raises(UnknownLabel, match="the label is missing: expected_response is null"):
        AccessDecision().shape(row)
