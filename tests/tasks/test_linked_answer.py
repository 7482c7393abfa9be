"""An answer is right only with its links whole; a row without a link has no score of links."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunesmith.records import Example, Message, Outcome
from tunesmith.tasks.base import get_task, gold_check, score_all
from tunesmith.tasks.linked_answer import LinkedAnswer
from tunesmith.tasks.wording import same_answer

LINK = "https://a.example/~b?c=d&e=f%20g#h"


def scores(response: str, target: str) -> dict[str, float]:
    task = LinkedAnswer()
    return task.score(task.parse(response), Example((Message("user", "Where?"),), target))


@pytest.mark.parametrize("sign", "&=%#~?")
def test_a_cleaned_link_is_a_wrong_answer_though_its_words_are_right(sign: str) -> None:
    target, broken = f"See {LINK}.", f"See {LINK.replace(sign, ' ')}."
    assert scores(target, target)["accuracy"] == scores(target, target)["url_intact"] == 1
    assert scores(broken, target)["accuracy"] == scores(broken, target)["url_intact"] == 0
    if sign != "%":
        assert same_answer(broken, target, closed=False) == 1


def test_a_whole_link_in_a_wrong_answer_is_whole() -> None:
    found = scores(f"It is somewhere at {LINK}", f"See {LINK}.")
    assert (found["accuracy"], found["url_intact"]) == (0, 1)


@pytest.mark.parametrize("response", ["It costs $9.", "I do not know.", "", f"See {LINK}", " "])
def test_a_row_without_a_link_has_no_score_of_links(response: str) -> None:
    task = LinkedAnswer()
    plain, linked = (Example((), target) for target in ("It costs $5.", f"See {LINK}."))
    assert scores(response, plain.target).keys() == task.zero().keys() - {"url_intact"}
    assert [task.applies("url_intact", e) for e in (plain, linked)] == [False, True]
    assert task.applies("accuracy", plain)


def test_silence_scores_nothing() -> None:
    task = LinkedAnswer()
    assert task.parse(" ").outcome is Outcome.UNPARSED
    assert scores(" ", f"See {LINK}.") == task.zero()


def test_scorers_are_tried_on_the_gold_answers_that_they_apply_to() -> None:
    texts = ("It costs $5.", f"See {LINK}.")
    checks = gold_check(LinkedAnswer(), [Example((), text) for text in texts])
    assert {c.metric: c.n for c in checks}["url_intact"] == 1
    assert {c.metric: c.n for c in checks}["accuracy"] == 2
    assert all(c.full_marks == c.n for c in checks)
    without = gold_check(LinkedAnswer(), [Example((), texts[0])])
    assert "url_intact" not in {c.metric for c in without}


def test_a_row_says_whether_its_answer_holds_a_link() -> None:
    task = get_task("linked_answer", {"system": "You help."})
    for answer, links in ((f"See {LINK}", "yes"), ("Write to ann@a.example.", "no")):
        draft = task.shape({"question": "Where?", "answer": answer})
        assert (draft.meta["links"], draft.messages[0].role) == (links, "system")


def test_the_real_topics_are_read_as_they_are(shared_data: Path) -> None:
    task = LinkedAnswer()
    linked = {}
    for path in sorted((shared_data / "campus").glob("*.json")):
        drafts = [task.shape(row) for row in json.loads(path.read_text("utf-8"))]
        examples = [Example(d.messages, d.target, meta=d.meta) for d in drafts]
        linked[path.stem] = (sum(d.meta["links"] == "yes" for d in drafts), len(drafts))
        for check in gold_check(task, examples):
            assert check.full_marks == check.n, (path.name, check)
        cut = [e.target.replace("/", "").replace("www.", "") for e in examples]
        for example, (_, found) in zip(examples, score_all(task, cut, examples), strict=True):
            if example.meta["links"] == "yes":
                assert found["url_intact"] == found["accuracy"] == 0
    assert linked == {
        "academic_calendar_33": (33, 33),
        "cost_of_attendance_35": (1, 35),
        "cs_106": (1, 106),
    }
