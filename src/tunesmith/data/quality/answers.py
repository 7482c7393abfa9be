"""Answers that one would not want repeated: refusals, an assistant's phrases, shared footers.

Refusals are told by the same patterns that judge a model's answers (`tasks.refusal`). Boilerplate
is told in two ways: by phrases that chat models are known for, and by the data: a first or last
line of 30 characters or more that stands in 5 % of the answers, and in at least five.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from tunesmith.data.quality.flags import Flag, Hit
from tunesmith.records import Example, Severity
from tunesmith.tasks.refusal import is_refusal

LINE = 30  # characters from which a shared line is no accident
SHARE, FEWEST = 0.05, 5
_PHRASES = re.compile(
    r"\bas an? (?:ai|artificial intelligence|large language model|language model)\b"
    r"|\b(?:my|knowledge) (?:training data|cut-?off)\b|\bi (?:am|'m) an ai\b"
    r"|^(?:sure|certainly|absolutely|of course|great question)[!,.] (?:here|i)\b"
    r"|\bi hope (?:this|that) helps\b|\blet me know if you (?:have|need|would|want)\b"
    r"|\bfeel free to (?:ask|reach out)\b|\[(?:insert|your) [^\]]{1,40}\]|\blorem ipsum\b"
)
# One of these stands in each phrase, and most answers have none: that is ten times as fast.
_WORDS = (
    *("as an a", "as a l", "language model", "my training", "cutoff", "cut-off", "an ai", "sure"),
    *("certainly", "absolutely", "of course", "great question", "hope th", "let me", "feel free"),
    *("[insert", "[your", "lorem"),
)


def refusals(examples: Sequence[Example]) -> list[Flag]:
    """Rows whose answer declines."""
    hits = tuple(Hit(i, _start(e.target)) for i, e in enumerate(examples) if is_refusal(e.target))
    if not hits:
        return []
    advice = "Drop them, unless refusing is what the model shall learn."
    return [Flag("refusals", Severity.WARNING, "answers decline to answer", hits, advice)]


def boilerplate(examples: Sequence[Example]) -> list[Flag]:
    """Rows whose answer holds an assistant's phrase, or a line that many answers share."""
    ends = [_ends(e.target) if e.label is None else () for e in examples]
    # One answer given many times is a duplicate; a line must be shared by different answers.
    distinct = {e.target: lines for e, lines in zip(examples, ends, strict=True) if lines}
    counts = Counter(line for lines in distinct.values() for line in set(lines))
    least = max(FEWEST, SHARE * len(distinct))
    shared = {line for line, n in counts.items() if n >= least}
    hits = []
    for i, example in enumerate(examples):
        phrase = _phrase(example.target)
        line = next((line for line in ends[i] if line in shared), None)
        if phrase or line:
            hits.append(Hit(i, _start(phrase or str(line))))
    if not hits:
        return []
    message = "answers hold an assistant's phrase, or a first or last line that many share"
    advice = "Cut it off in the source: a model learns it first of all."
    return [Flag("boilerplate", Severity.INFO, message, tuple(hits), advice)]


def _phrase(text: str) -> str | None:
    lowered = text.lower().replace("\u2019", "'").strip()
    if not any(word in lowered for word in _WORDS):
        return None
    found = _PHRASES.search(lowered)
    return found.group() if found else None


def _ends(text: str) -> tuple[str, ...]:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if len(lines) < 2:
        return ()
    return tuple(line for line in {lines[0], lines[-1]} if len(line) >= LINE)


def _start(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"
