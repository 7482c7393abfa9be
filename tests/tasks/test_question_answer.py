"""Questions with a right answer: what counts as saying it, and the figures beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu import sentence_chrf

from tunesmith.records import Example, Message, Outcome
from tunesmith.tasks import wording
from tunesmith.tasks.base import get_task, gold_check
from tunesmith.tasks.question_answer import QuestionAnswer

CRITICAL = Path(__file__).parents[2] / "recipes" / "statqa_critical.jsonl"


def example(target: str, kind: str = "closed") -> Example:
    return Example((Message("user", "Is it so?"),), target, meta={"kind": kind})


def accuracy(response: str, target: str, kind: str = "closed") -> float:
    task = QuestionAnswer()
    return task.score(task.parse(response), example(target, kind))["accuracy"]


@pytest.mark.parametrize(
    ("response", "target"),
    [
        ("yes", "yes"),
        ("Yes.", "yes"),
        ("Yes, because p is below the level.", "yes"),
        ("**No** - the interval holds zero", "no"),
        ("Answer: no", "no"),
        ("The answer is: 2.365.", "2.365"),
        ("-0.5", "-0.5"),
        ("The McNemar test.", "McNemar test"),
        ("a confounder", "a confounder"),
        ("25%", "25%"),
    ],
)
def test_a_closed_question_is_answered_in_the_first_clause(response: str, target: str) -> None:
    assert accuracy(response, target) == 1


@pytest.mark.parametrize(
    ("response", "target"),
    [
        ("no", "yes"),
        ("yes and no", "yes"),
        ("not sure", "no"),
        ("It depends. Yes", "yes"),
        ("2.36", "2.365"),
        ("0.5", "-0.5"),
        ("12", "1.2"),
        ("", "yes"),
    ],
)
def test_what_says_something_else_is_wrong(response: str, target: str) -> None:
    assert accuracy(response, target) == 0


def test_an_open_question_wants_the_whole_answer() -> None:
    whole = "With p = 0.03, below 0.05, the null hypothesis is rejected."
    assert accuracy("with p = 0.03 below 0.05 null hypothesis is rejected", whole, "open") == 1
    assert (
        accuracy("With p = 0.04, below 0.05, the null hypothesis is rejected.", whole, "open") == 0
    )
    assert accuracy("yes, because", "yes", "open") == 0


def test_token_f1_counts_shared_tokens() -> None:
    assert wording.token_f1("the cat sat", "a cat sat down") == pytest.approx(4 / 5)
    assert wording.token_f1("p = 0.03", "p = 0.30") == pytest.approx(1 / 2)
    assert wording.token_f1("", "word") == 0
    assert wording.token_f1("the", "a") == 1  # both say nothing


@given(st.text(max_size=40), st.text(max_size=40))
def test_chrf_is_sacrebleus(response: str, reference: str) -> None:
    found = wording.chrf(response, reference)
    if response.strip() and reference.strip():
        assert found == pytest.approx(sentence_chrf(response, [reference]).score / 100, abs=1e-9)
    assert 0 <= found <= 1


def test_the_gold_answers_of_the_critical_questions_have_full_marks() -> None:
    task = get_task("question_answer")
    rows = [json.loads(line) for line in CRITICAL.read_text("utf-8").splitlines()]
    assert len(rows) >= 30
    assert len({row["question"] for row in rows}) == len(rows)
    assert all(row["explanation"] for row in rows)
    examples = []
    for row in rows:
        draft = task.shape(row)
        examples.append(Example(tuple(draft.messages), draft.target, meta={"kind": row["kind"]}))
    assert {row["kind"] for row in rows} == {"closed"}
    for check in gold_check(task, examples):
        assert check.full_marks == check.n, check


def test_a_refusal_is_an_answer_and_silence_is_none() -> None:
    task = QuestionAnswer()
    assert task.parse("I cannot help with that.").outcome is Outcome.REFUSED
    assert task.parse("  ").outcome is Outcome.UNPARSED
    assert task.score(task.parse(" "), example("yes")) == task.zero()
