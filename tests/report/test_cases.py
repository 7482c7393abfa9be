"""Which examples a report shows, and in which words, where a score gives marks for a part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from report.conftest import Filled
from tunesmith.records import Answer, Comparison, Example, Message, Outcome, Verdict
from tunesmith.report.cases import Cases, cases
from tunesmith.report.facts import BASELINE, Facts, gather
from tunesmith.report.page import page
from tunesmith.report.verdicts import opening
from tunesmith.store.nouns import TestExample

FIGURES: dict[str, Any] = {
    "slice": "all", "n": 12, "ci": (0.6, 0.8), "test": "t", "p": 0.0, "p_adjusted": 0.0,
    "effect": 1.0, "effect_name": "d",
}  # fmt: skip


@pytest.fixture
def facts(filled: Filled) -> Facts:
    """Twelve questions: opening hours and prices; rouge_l rises on all, one is exactly right."""
    found = gather(filled.store, filled.run_id)
    asked = [f"When does shop {i} open on Friday?" for i in range(9)]
    asked += [f"What is the price of article {i}, please?" for i in range(3)]
    test = [Example((Message("user", text),), f"answer {i}") for i, text in enumerate(asked)]

    def said(low: float) -> tuple[Answer, ...]:
        return tuple(
            Answer(
                e.id,
                "about that",
                Outcome.SCORED,
                scores={
                    "rouge_l": 1.0 if low > 0.5 and i == 11 else low - i / 100,
                    "exact": float(low > 0.5 and i == 11),
                },
            )
            for i, e in enumerate(test)
        )

    return replace(
        found,
        metrics=(),
        examples=tuple(TestExample(e, False) for e in test),
        answers={BASELINE: said(0.2), "qlora": said(0.9), "grit": said(0.8)},
        comparisons=(
            Comparison(
                "rouge_l", BASELINE, "qlora", value_a=0.2, value_b=0.9, difference=0.7,
                verdict=Verdict.BETTER, primary=True, **FIGURES,
            ),
            Comparison(
                "exact", BASELINE, "qlora", value_a=0.0, value_b=1 / 12, difference=1 / 12,
                verdict=Verdict.NO_EVIDENCE, discordant=(0, 1), **FIGURES,
            ),
        ),
    )  # fmt: skip


def told(facts: Facts) -> Cases:
    found = cases(facts, None, each=4)
    assert found is not None
    return found


def test_a_score_of_part_marks_rises_falls_or_stays_and_calls_nothing_right(facts: Facts) -> None:
    found = told(facts)
    assert {group.title: group.count for group in found.groups} == {
        "Score rose": 12, "Score fell": 0, "Score stayed": 0,
    }  # fmt: skip
    assert found.right == "0 of 12 by baseline, 1 of 12 by qlora, 1 of 12 by grit"
    replies = found.groups[0].cases[1].replies
    assert {(r.state, r.word) for r in replies} == {("wrong", "not exactly right")}
    assert replies[1].score.startswith("rouge_l 0.")
    html = page(facts, lambda c: c.metric)
    assert "Neither gets it right" not in html
    assert "Exactly right: 0 of 12 by baseline" in html
    assert f"tunesmith runs show {facts.experiment.id} --answers" in html


def test_an_example_without_the_score_is_none_of_the_cases(facts: Facts) -> None:
    def thinned(answers: tuple[Answer, ...]) -> tuple[Answer, ...]:
        exact = [replace(a, scores={"exact": a.scores["exact"]}) for a in answers[:5]]
        return (*exact, *answers[5:])

    some = {name: thinned(tuple(answers)) for name, answers in facts.answers.items()}
    found = told(replace(facts, answers=some))
    assert found.score == "rouge_l"
    assert [group.count for group in found.groups] == [7, 0, 0]


def test_the_examples_shown_are_not_all_of_one_kind(facts: Facts) -> None:
    shown = [case.turns[0][1] for case in told(facts).groups[0].cases]
    assert len(shown) == 4
    assert sum("price" in text for text in shown) == 2
    assert shown[0].startswith("What is the price of article 2"), "the largest change comes first"


def test_a_score_of_right_and_wrong_is_spread_over_its_labels(filled: Filled) -> None:
    found = told(gather(filled.store, filled.run_id))
    assert len({case.label for case in found.groups[0].cases}) == 3


def test_no_yes_is_said_where_exact_match_does_not_say_it(facts: Facts) -> None:
    headline = opening(facts, lambda c: "").headline
    assert headline == (
        "Better by rouge_l, but not shown to be by exact match (8.3% of qlora's answers are"
        " exactly right)."
    )
