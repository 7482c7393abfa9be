"""How expected the gold answers are to a model: perplexity per answer token.

exp(- sum of log p(token | prompt, answer so far) / number of tokens) over all answer tokens of all
examples, the token that ends the turn among them, as in the training loss. Long answers weigh more
than short ones; a mean of each example's own perplexity would let a few short ones decide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.models.likelihood import score_candidates
from tunesmith.models.load import Loaded
from tunesmith.records import Example


@dataclass(frozen=True, slots=True)
class Perplexity:
    """`value` is at least 1, NaN where no answer could be read.

    `tokens` and `examples` are what it stands on; `unread` examples did not fit the model's context
    or the memory.
    """

    value: float
    tokens: int
    examples: int
    unread: int


def perplexity(loaded: Loaded, examples: Sequence[Example], *, batch_size: int) -> Perplexity:
    """Token-weighted perplexity of the gold answers behind their prompts."""
    encoded = loaded.renderer.examples(examples)
    nats, tokens, read = 0.0, 0, 0
    for batch in score_candidates(
        loaded,
        [e.ids[: e.answer_start] for e in encoded],
        [(e.ids[e.answer_start :],) for e in encoded],
        batch_size=batch_size,
    ):
        for scored in batch:
            if not scored.failure:
                nats -= scored.log_likelihoods[0]
                tokens += scored.tokens
                read += 1
    value = math.exp(nats / tokens) if tokens else math.nan
    return Perplexity(value, tokens, read, len(encoded) - read)
