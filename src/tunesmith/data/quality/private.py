"""Secrets and personal data as flags: which rows hold some, and of which kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tunesmith.data.quality.credentials import secrets
from tunesmith.data.quality.flags import Flag, Hit
from tunesmith.data.quality.mask import strings
from tunesmith.data.quality.personal import personal
from tunesmith.data.quality.spans import Span
from tunesmith.data.source import RawRow
from tunesmith.records import Example, Severity


def keys(examples: Sequence[Example], raw: Iterable[RawRow] = ()) -> list[Flag]:
    """Rows with secrets in prompt, answer or metadata, or in any column of the `raw` row."""
    seen: dict[str, tuple[str, ...]] = {}
    found = _found(examples, range(len(examples)), secrets, seen)
    places = {example.place: row for row, example in enumerate(examples)}
    for it in raw:
        row = places.get(it.place)
        if row is None or it.row is None:
            continue
        for column, value in it.row.items():
            for text in strings(value):
                kinds = seen[text] if text in seen else _kinds(secrets(text))
                # What the example holds, too, is counted there.
                if kinds and not any(text in own for own in _texts(examples[row])):
                    here = found.setdefault(row, Counter())
                    here.update(f"{kind} in {column!r}" for kind in kinds)
    return _flag(
        "secrets",
        Severity.ERROR,
        "rows hold secrets",
        "Take them out and revoke them: a model repeats what it was trained on. "
        "`data.quality.actions: {secrets: mask}` hides them.",
        found,
    )


def people(
    examples: Sequence[Example], rows: Sequence[int], region: str | None = "US"
) -> list[Flag]:
    """Rows, of those named, with personal data in prompt, answer or metadata."""
    return _flag(
        "personal_data",
        Severity.WARNING,
        "rows hold personal data",
        "Ask whether these people agreed; `data.quality.actions: {personal_data: mask}` "
        "hides them.",
        _found(examples, rows, lambda text: personal(text, region), {}),
    )


def _texts(example: Example) -> Iterator[str]:
    yield from (message.content for message in example.messages)
    yield example.target
    yield from example.meta.values()


def _found(
    examples: Sequence[Example],
    rows: Iterable[int],
    look: Callable[[str], list[Span]],
    seen: dict[str, tuple[str, ...]],
) -> dict[int, Counter[str]]:
    """The kinds that stand in each row; `seen` holds those of each text: one is looked at once."""
    found: dict[int, Counter[str]] = {}
    for row in rows:
        for text in _texts(examples[row]):
            if text not in seen:
                seen[text] = _kinds(look(text))
            if seen[text]:
                found.setdefault(row, Counter()).update(seen[text])
    return found


def _kinds(spans: Iterable[Span]) -> tuple[str, ...]:
    return tuple(span.kind for span in spans)


def _flag(
    code: str, severity: Severity, message: str, advice: str, found: Mapping[int, Counter[str]]
) -> list[Flag]:
    if not found:
        return []
    hits = tuple(
        Hit(row, ", ".join(f"{kind} x{n}" for kind, n in found[row].most_common()))
        for row in sorted(found)
    )
    rows = Counter(kind for here in found.values() for kind in here)
    told = ", ".join(f"{kind} in {n:,}" for kind, n in rows.most_common())
    return [Flag(code, severity, f"{message} ({told})", hits, advice)]
