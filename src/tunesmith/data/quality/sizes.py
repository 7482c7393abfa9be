"""Answers outside the lengths asked for, under the score asked for, or unlike the others in length.

An outlier is told on the logarithm of the answer's characters, by the modified z-score of Iglewicz
and Hoaglin (*How to Detect and Handle Outliers*, ASQC 1993): 0.6745 (x - median) / MAD, here over
5, for lengths have long tails. Where half of the answers have one length (labels), none is told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from tunesmith.data.quality.flags import Flag, Hit
from tunesmith.records import Example, Severity

FARTHEST = 5.0  # modified z-score
FEWEST = 20  # examples below which nothing is an outlier


def bounds(examples: Sequence[Example], shortest: int | None, longest: int | None) -> list[Flag]:
    """Rows whose answer, in characters without the space around it, is outside the bounds."""
    lengths = [len(e.target.strip()) for e in examples]
    flags = []
    if shortest is not None:
        under = [Hit(i, f"{n:,} characters") for i, n in enumerate(lengths) if n < shortest]
        flags.append(_flag("too_short", f"answers are shorter than {shortest:,} characters", under))
    if longest is not None:
        over = [Hit(i, f"{n:,} characters") for i, n in enumerate(lengths) if n > longest]
        flags.append(_flag("too_long", f"answers are longer than {longest:,} characters", over))
    return [flag for flag in flags if flag.hits]


def outliers(examples: Sequence[Example]) -> list[Flag]:
    """Rows whose answer is far longer or shorter than the others, the farthest first."""
    if len(examples) < FEWEST:
        return []
    logs = [math.log(max(1, len(e.target.strip()))) for e in examples]
    middle = median(logs)
    spread = median(abs(x - middle) for x in logs)
    if spread == 0:
        return []
    far = [(abs(0.6745 * (x - middle) / spread), i) for i, x in enumerate(logs)]
    hits = tuple(
        Hit(i, f"{round(math.exp(logs[i])):,} characters, {_times(logs[i] - middle)}")
        for z, i in sorted(far, reverse=True)
        if z > FARTHEST
    )
    if not hits:
        return []
    message = f"answers are far from the median of {round(math.exp(middle)):,} characters"
    return [
        Flag("length_outliers", Severity.INFO, message, hits, "Read some: cut, merged, or meant?")
    ]


def low_scores(examples: Sequence[Example], least: float | None) -> list[Flag]:
    """Rows whose score (`meta.score`) is under the least; rows without one are not told."""
    if least is None:
        return []
    scores = [(i, _number(e.meta.get("score"))) for i, e in enumerate(examples)]
    hits = [Hit(i, f"score {s:g}") for i, s in scores if s is not None and s < least]
    return [_flag("low_score", f"rows have a score under {least:g}", hits)] if hits else []


def _times(log: float) -> str:
    factor = math.exp(abs(log))
    return f"{factor:,.0f} times as long" if log > 0 else f"one {factor:,.0f}th as long"


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _flag(code: str, message: str, hits: Sequence[Hit]) -> Flag:
    return Flag(code, Severity.WARNING, message, tuple(hits), "data.quality drops them if asked.")
