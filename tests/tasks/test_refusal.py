"""Refusals: what declines, and what only sounds like it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tunesmith.tasks.refusal import WINDOW, is_refusal


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I can’t assist with this request.",
        "I cannot provide instructions for that.",
        "I am unable to answer.",
        "As an AI language model, I can't do this.",
        "Unfortunately, I cannot share this.",
        "I must decline.",
        "I won't help you with it.",
        "  \n I apologize, but no.",
    ],
)
def test_declines(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "full",
        "The graph is below.",
        "I can't help but notice that this is easy. The answer is 4.",
        "I'm sorry to hear about your loss. Here is what to do: call the office.",
        "He said that he cannot come.",
        "x " * WINDOW + "I cannot help.",
    ],
)
def test_does_not_decline(text: str) -> None:
    assert not is_refusal(text)


def test_answers_that_comply_are_no_refusals(shared_data: Path) -> None:
    path = shared_data / "alignment" / "preferred_prompts.csv"
    with path.open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert cells
    assert not any(is_refusal(cell) for cell in cells)
