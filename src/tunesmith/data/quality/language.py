"""Rows in another language than the rest, by `py3langid` (a 4.5 MB model inside the package).

py3langid is langid.py (Lui and Baldwin 2012) kept alive: 100-odd languages, offline, numpy alone.
`lingua` is better on single words and weighs 96 MB; `langdetect` draws at random. It errs on short
texts and on code, so only letters are given to it, at least 60 of them, and it must be sure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

from tunesmith.data.near import prompt_text
from tunesmith.data.quality.flags import Flag, Hit
from tunesmith.records import Example, Severity

LETTERS = 60  # fewer say nothing
READ = 400  # characters looked at
SURE = 0.9
FEWEST = 10  # rows below which no language is the usual one
_PROSE = re.compile(r"https?://\S+|```.*?```|[\d\W_]+", re.DOTALL)


def language(text: str) -> str | None:
    """ISO 639-1 code of the language of a text; None where that is not plain."""
    words = _PROSE.sub(" ", text[: 4 * READ])[:READ].strip()
    if sum(map(str.isalpha, words)) < LETTERS:
        return None
    code, sure = _identifier().classify(words.lower())
    return str(code) if sure >= SURE else None


def outliers(
    examples: Sequence[Example], rows: Sequence[int], wanted: Collection[str] = ()
) -> list[Flag]:
    """Rows, of those named, in another language than `wanted`, or than the most frequent one.

    Prompt and answer are told apart: either may be in another language (a translation has one so
    in every row, which makes it the usual one of its side).
    """
    hits: dict[int, str] = {}
    for side in ("prompt", "answer"):
        codes: dict[int, str] = {}
        seen: dict[str, str | None] = {}
        for row in rows:
            text = prompt_text(examples[row]) if side == "prompt" else examples[row].target
            if text not in seen:
                seen[text] = language(text)
            code = seen[text]
            if code is not None:
                codes[row] = code
        counted = Counter(codes.values()).most_common()
        if not counted or (len(codes) < FEWEST and not wanted):
            continue
        usual = set(wanted) or {counted[0][0]}
        for row, code in codes.items():
            if code not in usual:
                hits[row] = f"{hits[row]}, {side} {code}" if row in hits else f"{side} {code}"
    if not hits:
        return []
    message = "rows are in another language than " + (", ".join(wanted) or "the others")
    advice = "Read some; data.quality.languages names those that are wanted."
    found = tuple(Hit(row, note) for row, note in sorted(hits.items()))
    return [Flag("language_outliers", Severity.INFO, message, found, advice)]


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
