"""A metric that only some rows have: figures, pairs and verdicts are of those rows alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paired_answers import ids, questions
from tunesmith.compare import CompareSettings, TaskFacts, compare, estimates
from tunesmith.errors import EvaluationError
from tunesmith.records import Answer, Comparison, Outcome, Verdict
from tunesmith.stats.intervals import newcombe_paired

N = 120
LINKED = frozenset(ids(N)[:40])  # the first 40: 20 odd, 20 even
FACTS = TaskFacts(("right", "whole"), (), "right", {"whole": LINKED})
QUICK = CompareSettings(replicates=400)


def said(right: int, whole: int, *, unread: int = 0) -> list[Answer]:
    """The first `right` rows right, the first `whole` of the linked ones whole."""
    return [
        Answer(
            identifier,
            "said",
            Outcome.UNPARSED if i < unread else Outcome.SCORED,
            scores={"right": float(i < right)}
            | ({"whole": float(i < whole)} if identifier in LINKED else {}),
        )
        for i, identifier in enumerate(ids(N))
    ]


ANSWERS = {"baseline": said(30, 2), "lora": said(90, 38)}


def test_a_figure_counts_the_rows_that_have_it() -> None:
    found = {
        (m.variant, m.name, m.slice): m.estimate
        for m in estimates(ANSWERS, questions(N), FACTS, settings=QUICK)
    }
    assert (found["lora", "whole", "all"].value, found["lora", "whole", "all"].n) == (38 / 40, 40)
    assert found["lora", "right", "all"].n == N
    assert found["lora", "whole", "source=odd"].n == 20
    far = replace(FACTS, rows={"whole": frozenset(ids(N)[:40:2])})  # none of them odd
    parts = {(m.name, m.slice) for m in estimates(ANSWERS, questions(N), far, settings=QUICK)}
    assert ("right", "source=odd") in parts
    assert ("whole", "source=odd") not in parts


def verdicts(facts: TaskFacts) -> dict[tuple[str, str], Comparison]:
    return {(c.metric, c.slice): c for c in compare(ANSWERS, questions(N), facts, QUICK)}


def test_a_verdict_is_of_the_rows_that_have_the_metric() -> None:
    found = verdicts(FACTS)["whole", "all"]
    assert (found.n, found.discordant, found.verdict) == (40, (0, 36), Verdict.BETTER)
    assert found.ci == pytest.approx(newcombe_paired(2, 0, 36, 2, 0.95))
    assert not any("left out" in caveat for caveat in found.caveats)
    assert "Only 40 test examples." in found.caveats
    assert verdicts(FACTS)["right", "all"].n == N


def test_an_answer_that_never_came_is_left_out_of_those_rows_alone() -> None:
    lora = [
        replace(a, outcome=Outcome.FAILED, scores={}) if i in (0, 100) else a
        for i, a in enumerate(ANSWERS["lora"])
    ]
    found = {
        c.metric: c
        for c in compare(ANSWERS | {"lora": lora}, questions(N), FACTS, QUICK)
        if c.slice == "all"
    }
    assert (found["whole"].n, found["right"].n) == (39, N - 2)
    assert any(c.startswith("1 of 40 examples are left out") for c in found["whole"].caveats)


def test_the_metric_that_is_judged_may_be_one_of_some_rows() -> None:
    found = verdicts(replace(FACTS, primary="whole"))
    assert (found["whole", "all"].n, found["whole", "all"].primary) == (40, True)
    assert found["whole", "source=odd"].n == 20
    assert found["right", "all"].n == N


def test_a_metric_that_no_row_has_is_not_asked_about() -> None:
    nowhere = replace(FACTS, rows={"whole": frozenset()})
    assert {metric for metric, _ in verdicts(nowhere)} == {"right", "unparsed"}
    with pytest.raises(EvaluationError, match=r"no test example .*whole"):
        verdicts(replace(nowhere, primary="whole"))


def test_a_row_that_has_the_metric_must_be_scored() -> None:
    with pytest.raises(EvaluationError, match="has no score 'whole'"):
        verdicts(replace(FACTS, rows={"whole": frozenset(ids(N)[:41])}))


def test_an_answer_that_could_not_be_read_counts_where_the_row_has_the_metric() -> None:
    unread = [replace(a, outcome=Outcome.UNPARSED, scores={}) for a in ANSWERS["lora"]]
    found = estimates(ANSWERS | {"lora": unread}, questions(N), FACTS, settings=QUICK)
    whole = next(m.estimate for m in found if (m.variant, m.name) == ("lora", "whole"))
    assert (whole.value, whole.n) == (0.0, 40)
