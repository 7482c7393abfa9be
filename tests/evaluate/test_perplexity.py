"""Perplexity, against the loss that transformers computes."""

from __future__ import annotations

import math

import pytest
import torch

from tiny_models import questions
from tunesmith.evaluate.perplexity import perplexity
from tunesmith.models.load import Loaded
from tunesmith.records import Example, Message


@torch.no_grad()
def losses(loaded: Loaded, examples: list[Example]) -> list[tuple[float, int]]:
    """Mean nats per answer token and their number, from the model's own loss, one by one."""
    found = []
    for example in examples:
        encoded = loaded.renderer.example(example)
        ids = torch.tensor([encoded.ids])
        labels = ids.clone()
        labels[0, : encoded.answer_start] = -100
        loss = loaded.model(input_ids=ids, labels=labels).loss.item()
        found.append((loss, encoded.answer_tokens))
    return found


@pytest.mark.parametrize("size", [1, 5, 64])
def test_it_is_the_exponential_of_the_loss_per_token(loaded: Loaded, size: int) -> None:
    examples = questions(12)
    per_example = losses(loaded, examples)
    tokens = sum(n for _, n in per_example)
    found = perplexity(loaded, examples, batch_size=size)
    assert (found.tokens, found.examples, found.unread) == (tokens, 12, 0)
    assert found.value == pytest.approx(
        math.exp(sum(loss * n for loss, n in per_example) / tokens), rel=1e-4
    )
    # Weighted by tokens, not by examples: the answers here differ in length.
    by_example = math.exp(sum(loss for loss, _ in per_example) / 12)
    assert abs(by_example / found.value - 1) > 1e-3


def test_what_does_not_fit_is_counted_apart(loaded: Loaded) -> None:
    endless = Example((Message("user", "why " * 400),), "so")
    fine = questions(2)
    found = perplexity(loaded, [endless, *fine], batch_size=4)
    assert (found.examples, found.unread) == (2, 1)
    assert found.value == pytest.approx(perplexity(loaded, fine, batch_size=4).value, rel=1e-5)
    nothing = perplexity(loaded, [endless], batch_size=4)
    assert math.isnan(nothing.value)
    assert nothing.tokens == 0
