"""How expected the gold answers are to a model: perplexity per answer token.

exp(- sum of log p(token | prompt, answer so far) / number of tokens) over all answer tokens of all
examples, the token that ends the turn among them, as in the training loss. Long answers weigh more
than short ones; a mean of each example's own perplexity would let a few short ones decide.

The interval is that of a ratio of two sums over examples (Cochran 1977, *Sampling Techniques*,
section 6.4), taken for the logarithm: tokens of one answer hang together, so examples are the unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.models.likelihood import score_candidates
from tunesmith.models.load import Loaded
from tunesmith.records import Example, Interval
from tunesmith.stats.intervals import normal_quantile

PIECE = 512  # tokens


@dataclass(frozen=True, slots=True)
class Perplexity:
    """`value` is at least 1, NaN where no answer could be read.

    `tokens` and `examples` are what it stands on; `unread` examples did not fit the model's context
    or the memory. `ci` is at the confidence that was asked for; NaN for fewer than two examples.
    """

    value: float
    tokens: int
    examples: int
    unread: int
    ci: Interval = (math.nan, math.nan)


def perplexity(
    loaded: Loaded, examples: Sequence[Example], *, batch_size: int, confidence: float = 0.95
) -> Perplexity:
    """Token-weighted perplexity of the gold answers behind their prompts."""
    encoded = loaded.renderer.examples(examples)
    pairs = [(e.ids[: e.answer_start], e.ids[e.answer_start :]) for e in encoded]
    return _expected(loaded, pairs, batch_size=batch_size, confidence=confidence)


def text_perplexity(
    loaded: Loaded, texts: Sequence[str], *, batch_size: int, confidence: float = 0.95
) -> Perplexity:
    """Token-weighted perplexity of plain text, in pieces of at most `PIECE` tokens.

    Each piece is read from its own beginning, its first token given: so the figure is a little
    above that of a sliding window, and the same for every model that is compared.
    """
    pieces = loaded.renderer.pieces(texts, min(PIECE, loaded.context))
    pairs = [(piece[:1], piece[1:]) for piece in pieces if len(piece) > 1]
    return _expected(loaded, pairs, batch_size=batch_size, confidence=confidence)


def _expected(
    loaded: Loaded,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    batch_size: int,
    confidence: float,
) -> Perplexity:
    """Of (what is given, what is expected), in token ids."""
    nats: list[float] = []
    tokens: list[int] = []
    for batch in score_candidates(
        loaded, [given for given, _ in pairs], [(rest,) for _, rest in pairs], batch_size=batch_size
    ):
        for scored in batch:
            if not scored.failure:
                nats.append(-scored.log_likelihoods[0])
                tokens.append(scored.tokens)
    value = math.exp(sum(nats) / sum(tokens)) if tokens else math.nan
    ends = ratio_interval(nats, tokens, confidence)
    return Perplexity(value, sum(tokens), len(tokens), len(pairs) - len(tokens), ends)


def ratio_interval(nats: Sequence[float], tokens: Sequence[int], confidence: float) -> Interval:
    """Interval of exp(sum of nats / sum of tokens), given by example; NaN for fewer than two."""
    n = len(tokens)
    if n < 2:
        return math.nan, math.nan
    mean = sum(nats) / sum(tokens)
    rest = sum((x - mean * t) ** 2 for x, t in zip(nats, tokens, strict=True)) / (n - 1)
    half = normal_quantile(0.5 + confidence / 2) * math.sqrt(rest * n) / sum(tokens)
    return math.exp(mean - half), math.exp(mean + half)
