"""Campus facts: the same in both parts, no topic's in another, and asked for as never before."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import pytest

from tunesmith.data.generate import Part, generate_rows
from tunesmith.data.generate.campus import KINDS, TOPICS, facts
from tunesmith.errors import ConfigError
from tunesmith.tasks.base import get_task, gold_check
from tunesmith.tasks.links import urls
from tunesmith.tasks.question_answer import QuestionAnswer

MOST = {"train": 400, "test": 120}
PARTS: tuple[Part, ...] = ("train", "test")


def rows(topic: str, part: Part, number: int = 0, seed: int = 42) -> list[Mapping[str, str | None]]:
    return list(generate_rows(f"campus_{topic}", number or MOST[part], seed, part))


@pytest.mark.parametrize("topic", TOPICS)
def test_the_same_rows_from_the_same_seed(topic: str) -> None:
    assert rows(topic, "train") == rows(topic, "train")
    assert rows(topic, "train")[:50] == rows(topic, "train", 50)
    assert rows(topic, "train") != rows(topic, "train", seed=43)


@pytest.mark.parametrize("topic", TOPICS)
def test_both_parts_ask_for_every_fact_and_share_no_question_and_no_wording(topic: str) -> None:
    train, test = (rows(topic, part) for part in PARTS)
    known = {(row["entity"], row["kind"]): row["answer"] for row in train}
    assert len(known) == len(TOPICS[topic].entities) * len(KINDS)
    assert known == {(row["entity"], row["kind"]): row["answer"] for row in test}
    for key in ("question", "split_group"):
        assert not {row[key] for row in train} & {row[key] for row in test}
    assert len({row["question"] for row in [*train, *test]}) == len(train) + len(test)


@pytest.mark.parametrize("seed", range(5))
def test_no_fact_of_a_topic_stands_in_another(seed: int) -> None:
    seen: Counter[tuple[str, str]] = Counter()
    for topic in TOPICS.values():
        told = facts(topic, seed)
        assert {fact.kind for fact in told} == set(KINDS)
        seen.update({(fact.kind, fact.entity) for fact in told})
        phones = [fact.answer for fact in told if fact.kind == "phone"]
        seen.update(("number", re.sub(r".* is ", "", answer)) for answer in phones)
        assert len(set(phones)) == len(phones)
    assert set(seen.values()) == {1}


def test_no_question_gives_its_answer_away() -> None:
    for topic in TOPICS:
        for row in rows(topic, "train"):
            told = set(re.findall(r"\d+", str(row["answer"])))
            assert not told & set(re.findall(r"\d+", str(row["question"])))
            assert "@" not in str(row["question"])


def test_links_have_what_cleaning_steps_break() -> None:
    links = set()
    for topic in TOPICS:
        for row in rows(topic, "train"):
            found = urls(str(row["answer"]))
            assert len(found) == (row["kind"] == "link")
            links |= found
    assert all({"/", "~", "?", "=", "&", "#"} <= set(link) for link in links)
    assert set("%:") <= set("".join(links))


def test_a_part_of_any_size_is_balanced() -> None:
    first = rows("housing", "train", 40)
    assert len({(row["entity"], row["kind"]) for row in first}) == 40
    counts = Counter((row["entity"], row["kind"]) for row in rows("housing", "train", 100))
    assert set(counts.values()) == {2, 3}


def test_more_rows_than_there_are_questions_are_refused_with_their_number() -> None:
    with pytest.raises(ConfigError, match="400 questions in its train part, not 401"):
        rows("dining", "train", 401)


def test_the_gold_answers_have_full_marks() -> None:
    from tunesmith.records import Example

    task = get_task("linked_answer")
    assert isinstance(task, QuestionAnswer)
    examples = []
    for row in rows("programme", "test"):
        draft = task.shape(row)
        examples.append(Example(draft.messages, draft.target, meta=draft.meta))
    for check in gold_check(task, examples):
        assert check.full_marks == check.n, check
