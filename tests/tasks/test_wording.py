"""Text scores against the libraries that define them."""

from __future__ import annotations

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from tunesmith.tasks.wording import bleu, exact, rouge_l

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
    for score in (exact, rouge_l, bleu):
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
