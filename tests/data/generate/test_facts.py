"""The fact base: every answer follows from its question, and the parts share no figure."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from scipy import stats
from statsmodels.stats.power import NormalIndPower

from tunesmith.data.generate import generate_rows
from tunesmith.data.generate.facts import LEVELS, TESTS, TOPICS, group_size
from tunesmith.models.nano.words import NOUNS

FIGURE = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")


def rows(part: str = "train", number: int = 600, seed: int = 5) -> list[dict[str, str]]:
    return [
        {key: str(value) for key, value in row.items()}
        for row in generate_rows("facts", number, seed, "test" if part == "test" else "train")
    ]


def test_the_same_rows_from_the_same_seed_and_none_twice() -> None:
    assert rows(number=60) == rows(number=60)
    assert rows(number=60)[:20] == rows(number=20)
    assert len({row["question"] for row in rows()}) == 600


def test_topics_come_in_turn_and_both_answers_of_each_closed_question() -> None:
    found = Counter((row["topic"], row["kind"]) for row in rows())
    assert sum(found.values()) == 600
    assert set(found.values()) == {600 // len(TOPICS), 2 * 600 // len(TOPICS)} or len(found) == 10
    for topic in ("p value", "interval"):
        said = Counter(r["answer"] for r in rows() if (r["topic"], r["kind"]) == (topic, "closed"))
        assert set(said) == {"yes", "no"}
        assert min(said.values()) >= 0.25 * said.total()
    named = {r["answer"] for r in rows(number=2400) if r["topic"] == "which test"}
    assert set(TESTS.values()) <= named


def test_names_things_and_figures_of_the_test_part_are_in_no_training_row() -> None:
    train, test = rows("train"), rows("test")
    conventional = {str(level) for level in LEVELS} | {"95", "0.05"}

    def figures(part: list[dict[str, str]]) -> set[str]:
        # Signs aside, and only what is drawn: group sizes and critical values follow from it.
        drawn = [r for r in part if r["topic"] in {"p value", "interval"}]
        drawn_text = " ".join(r["question"] for r in drawn)
        return {f.lstrip("-") for f in FIGURE.findall(drawn_text)} - conventional

    def words(part: list[dict[str, str]]) -> set[str]:
        return {w for r in part for w in re.findall(r"\w+", r["question"]) if w in NOUNS}

    def names(part: list[dict[str, str]]) -> set[str]:
        return {
            m for r in part for m in re.findall(r"(?:rial|xperiment|At) ([A-Z]\w+)", r["question"])
        }

    assert figures(train)
    assert not figures(train) & figures(test)
    assert not names(train) & names(test)
    shared = words(train) & words(test)
    assert shared <= {"order"}  # of preference, a kind of outcome


@pytest.mark.parametrize("row", rows(number=240), ids=lambda row: row["topic"])
def test_an_answer_is_what_the_question_says(row: dict[str, str]) -> None:
    question, answer = row["question"], row["answer"]
    if row["topic"] == "p value":
        p = float(re.findall(r"p = (0\.\d+)", question)[0])
        level = float(re.findall(r"(?:[Ll]evel(?: is)?) (0\.\d+)", question)[0])
        positive = p < level
        assert answer.startswith("yes" if positive else "no") or (
            ("is rejected" in answer) == positive and str(p) in answer
        )
    elif row["topic"] == "interval":
        low, high = map(float, re.findall(r"(-?\d+\.\d) to (-?\d+\.\d)", question)[0])
        zero = low <= 0 <= high
        assert answer == ("yes" if zero else "no") or ("no effect" in answer) == zero
    elif row["topic"] == "critical value" and answer not in {"yes", "no"}:
        (freedom,) = re.findall(r"(?:for|has) (\d+)(?: degrees|\?)", question)
        assert float(answer) == pytest.approx(stats.t.ppf(0.975, int(freedom)), abs=6e-4)
    elif row["topic"] == "sample size" and row["kind"] == "closed":
        assert answer in re.findall(r": (\d+)", question)


@pytest.mark.parametrize("effect", [0.1, 0.2, 0.5, 0.8, 1.1])
def test_the_size_of_a_group_is_the_one_that_statsmodels_gives(effect: float) -> None:
    exact = NormalIndPower().solve_power(effect, alpha=0.05, power=0.8, ratio=1)
    # statsmodels counts the far tail, too, which at 80 % power is nothing.
    assert group_size(effect) == pytest.approx(exact, abs=1)
    assert group_size(effect) >= exact - 1e-3
