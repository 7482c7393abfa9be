"""Text scores against the libraries that define them, and links that must come through whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from tunesmith.tasks.wording import bleu, exact, rouge_l, url_intact, urls

WORDS = st.lists(
    st.sampled_from("the a cat sat on mat , . dog 42 isn't Paris".split()), min_size=1, max_size=12
).map(" ".join)


@given(WORDS, WORDS)
def test_rouge_l_is_rouge_score(response: str, reference: str) -> None:
    if any(c.isalnum() for c in reference):
        theirs = rouge_scorer.RougeScorer(["rougeL"]).score(reference, response)["rougeL"]
        assert rouge_l(response, reference) == pytest.approx(theirs.fmeasure, abs=1e-12)


@given(WORDS, WORDS)
def test_bleu_is_sacrebleu(response: str, reference: str) -> None:
    theirs = sacrebleu.sentence_bleu(response, [reference], use_effective_order=True).score
    assert bleu(response, reference) == pytest.approx(theirs / 100, abs=1e-9)


def test_a_figure_worked_by_hand() -> None:
    # "police the gunman" against "police killed the gunman": 3 in common, of 3 and of 4.
    assert rouge_l("police the gunman", "police killed the gunman") == pytest.approx(6 / 7)


@settings(max_examples=200)
@given(st.text(min_size=1, max_size=60).filter(str.strip))
def test_a_text_is_exactly_itself_and_like_itself(text: str) -> None:
    assert exact(text, text) == 1.0
    assert exact(f" {text}\n", text) == 1.0
    assert rouge_l(text, text) in {0.0, 1.0}
    if any(c.isalnum() for c in text):
        assert rouge_l(text, text) == 1.0


@given(st.text(max_size=40), st.text(max_size=40))
def test_scores_lie_between_0_and_1(response: str, reference: str) -> None:
    for score in (exact, rouge_l, bleu, url_intact):
        assert 0.0 <= score(response, reference) <= 1.0


@pytest.mark.parametrize("text", ["Το είναι ή όχι", "机器 学习 很 好", "∑ x² = 1", "Größe ändern"])
def test_texts_in_other_scripts_match_themselves(text: str) -> None:
    assert rouge_l(text, text) == 1.0
    assert bleu(text, text) == 1.0
    assert rouge_l("etwas anderes", text) == 0.0


@pytest.mark.parametrize(
    ("response", "reference", "score"),
    [
        ("a  b\n", "a b", 1.0),
        ("cafe\u0301", "caf\u00e9", 1.0),
        ("A b", "a b", 0.0),
        ("a b.", "a b", 0.0),
        ("", "", 1.0),
    ],
)
def test_exact(response: str, reference: str, score: float) -> None:
    assert exact(response, reference) == score


URL = "https://www.example.edu/path/page.php?a=1&b=%20x+y$z~w:8#top"


@pytest.mark.parametrize(
    ("response", "score"),
    [
        (f"See {URL}.", 1.0),
        (f"See [the page]({URL}), please", 1.0),
        (f"<{URL}>", 1.0),
        (f'<a href="{URL}">x</a>', 1.0),
        (f"**{URL}**", 1.0),
        (f"({URL})!", 1.0),
        (URL.replace("&", ""), 0.0),
        (URL.replace("%", ""), 0.0),
        (URL.replace("~", " "), 0.0),
        (URL[:-1], 0.0),
        (f"{URL}s", 0.0),
        ("no link", 0.0),
    ],
)
def test_a_link_is_whole_or_broken(response: str, score: float) -> None:
    assert url_intact(response, f"Go to {URL} now") == score


def test_links_and_brackets() -> None:
    assert urls("(https://en.wikipedia.org/wiki/Set_(mathematics))") == {
        "https://en.wikipedia.org/wiki/Set_(mathematics)"
    }
    assert urls("www.a.org, https://b.org/; nothing.else") == {"www.a.org", "https://b.org/"}
    assert url_intact("anything", "no link here") == 1.0
    assert url_intact("https://a.org", "https://a.org and https://b.org") == 0.0


def test_links_of_the_real_answers_survive_and_the_cleaned_ones_do_not(shared_data: Path) -> None:
    answers = [
        row["response"]
        for path in sorted((shared_data / "campus").glob("*.json"))
        for row in json.loads(path.read_text("utf-8"))
    ]
    linked = [answer for answer in answers if "http" in answer]
    assert len(linked) > 20
    assert all(url_intact(answer, answer) == 1.0 for answer in linked)
    assert all(url_intact(answer.replace("/", ""), answer) == 0.0 for answer in linked)
