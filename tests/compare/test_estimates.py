"""Each variant by itself, against scikit-learn and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score
from statsmodels.stats.proportion import proportion_confint

from paired_answers import ids, labelled, questions, scored
from tunesmith.compare import CompareSettings, TaskFacts, estimates
from tunesmith.records import Estimate, Outcome

LABELS = ("full", "partial", "rejected")
QUICK = CompareSettings(replicates=400)


def figures(share_right: float, n: int = 150) -> tuple[dict[str, Estimate], list[str], list[str]]:
    examples, known, rng = questions(n, LABELS), ids(n, LABELS), np.random.default_rng(2)
    choice = [*LABELS, None]
    said = [e.label if rng.random() < share_right else choice[rng.integers(0, 4)] for e in examples]
    facts = TaskFacts(("correct",), LABELS, "correct")
    found = estimates(
        {"lora": labelled(said, examples, known)}, examples, facts, slice_by=(), settings=QUICK
    )
    gold = [str(e.label) for e in examples]
    return {m.name: m.estimate for m in found}, gold, [s or "unparsed" for s in said]


def test_shares_are_scikit_learns_with_wilson_limits() -> None:
    found, gold, said = figures(0.5)
    right = sum(g == s for g, s in zip(gold, said, strict=True))
    wilson = proportion_confint(right, 150, method="wilson")
    assert found["accuracy"].value == pytest.approx(right / 150)
    assert found["accuracy"].ci == pytest.approx(wilson)
    for i, label in enumerate(LABELS):
        options = {"labels": list(LABELS), "average": None, "zero_division": 0}
        precision, recall = found[f"precision: {label}"], found[f"recall: {label}"]
        assert precision.value == pytest.approx(precision_score(gold, said, **options)[i])
        assert recall.value == pytest.approx(recall_score(gold, said, **options)[i])
        assert (precision.n, recall.n) == (said.count(label), gold.count(label))
    assert found["unparsed"].value == pytest.approx(said.count("unparsed") / 150)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_f1_lies_in_its_interval_and_the_interval_in_its_range(share: float) -> None:
    found, gold, said = figures(share)
    for metric, average in (("macro_f1", "macro"), ("weighted_f1", "weighted")):
        e = found[metric]
        assert e.value == pytest.approx(f1_score(gold, said, labels=list(LABELS), average=average))
        assert 0 <= e.ci[0] <= e.value <= e.ci[1] <= 1
        assert e.ci[1] - e.ci[0] > 0.01  # never certain, not even where all are right


def test_slices_and_failed_answers() -> None:
    n = 40
    answers = [
        a if i >= 10 else type(a)(a.example_id, "", Outcome.FAILED)
        for i, a in enumerate(scored("f1", np.linspace(0, 1, n), ids(n)))
    ]
    found = estimates(
        {"lora": answers}, questions(n), TaskFacts(("f1",), (), "f1"), twins=frozenset(ids(n)[:20])
    )
    sizes = {(m.slice, m.name): m.estimate.n for m in found}
    assert sizes["all", "f1"] == 30
    assert sizes["source=odd", "f1"] == sizes["source=even", "f1"] == 15
    assert sizes["without twins", "f1"] == 20
