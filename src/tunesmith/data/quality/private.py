"""Secrets and personal data as flags: which rows hold some, and of which kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from tunesmith.data.quality.credentials import secrets
from tunesmith.data.quality.flags import Flag, Hit
from tunesmith.data.quality.personal import personal
from tunesmith.data.quality.spans import Span
from tunesmith.records import Example, Severity


def private(
    examples: Sequence[Example], rows: Sequence[int], region: str | None = "US"
) -> list[Flag]:
    """Rows, of those named, with secrets or with personal data; a text is looked at once."""
    flags = [
        _flag(
            "secrets",
            Severity.ERROR,
            "rows hold secrets",
            "Take them out and revoke them: a model repeats what it was trained on. "
            "`data.quality.actions: {secrets: mask}` hides them.",
            *_found(examples, rows, secrets),
        ),
        _flag(
            "personal_data",
            Severity.WARNING,
            "rows hold personal data",
            "Ask whether these people agreed; "
            "`data.quality.actions: {personal_data: mask}` hides them.",
            *_found(examples, rows, lambda text: personal(text, region)),
        ),
    ]
    return [flag for flag in flags if flag is not None]


def _found(
    examples: Sequence[Example], rows: Sequence[int], look: Callable[[str], list[Span]]
) -> tuple[list[Hit], Counter[str]]:
    seen: dict[str, tuple[str, ...]] = {}
    hits: list[Hit] = []
    kinds: Counter[str] = Counter()
    for row in rows:
        here: Counter[str] = Counter()
        example = examples[row]
        for text in (*(m.content for m in example.messages), example.target):
            if text not in seen:
                seen[text] = tuple(span.kind for span in look(text))
            here.update(seen[text])
        if here:
            hits.append(Hit(row, ", ".join(f"{kind} x{n}" for kind, n in here.most_common())))
            kinds.update(here.keys())
    return hits, kinds


def _flag(
    code: str,
    severity: Severity,
    message: str,
    advice: str,
    hits: list[Hit],
    kinds: Counter[str],
) -> Flag | None:
    if not hits:
        return None
    told = ", ".join(f"{kind} in {n:,}" for kind, n in kinds.most_common())
    return Flag(code, severity, f"{message} ({told})", tuple(hits), advice)
