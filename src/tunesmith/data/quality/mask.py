"""Hide what is private: in what is shown always, in the data itself where the recipe says so.

`masked` is applied to every finding before it leaves `check`, to rejects and to `dropped.jsonl`. A
mask names its kind ("[email]"), so that a text can still be understood.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tunesmith.data.quality.credentials import secrets
from tunesmith.data.quality.personal import personal
from tunesmith.data.quality.spans import Span
from tunesmith.records import Example, Finding, Message, Reject


def masked(text: str, *, keys: bool = True, people: bool = True, region: str | None = "US") -> str:
    """The text with each secret (`keys`) and each piece of personal data (`people`) hidden."""
    spans: list[Span] = []
    if keys:
        spans += secrets(text)
    if people:
        spans += personal(text, region)
    return hide(text, spans) if spans else text


def hide(text: str, spans: Iterable[Span]) -> str:
    """The text with each span replaced by its kind; spans that overlap become one."""
    parts: list[str] = []
    at = 0
    merged: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = last._replace(end=max(last.end, span.end))
        else:
            merged.append(span)
    for span in merged:
        parts += [text[at : span.start], f"[{span.kind.lower().replace(' ', '_')}]"]
        at = span.end
    return "".join([*parts, text[at:]])


def masked_finding(finding: Finding, region: str | None = "US") -> Finding:
    """The finding with what is private hidden in its message and examples."""
    return replace(
        finding,
        message=masked(finding.message, region=region),
        examples=tuple(masked(example, region=region) for example in finding.examples),
    )


def masked_reject(reject: Reject, region: str | None = "US") -> Reject:
    """The reject with what is private hidden in its reason and its row."""
    reason = masked(reject.reason, region=region)
    return Reject(reject.place, reason, masked_value(dict(reject.row), region=region))


def masked_value(value: Any, **what: Any) -> Any:
    """A JSON value with what is private hidden in every string of it."""
    if isinstance(value, str):
        return masked(value, **what)
    if isinstance(value, Mapping):
        return {key: masked_value(inner, **what) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked_value(inner, **what) for inner in value]
    return value


def strings(value: Any) -> Iterator[str]:
    """Every string of a JSON value that `masked_value` would look at."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from strings(inner)


def masked_example(example: Example, **what: Any) -> Example:
    """The example with what is private hidden in messages, answer and metadata."""
    return replace(
        example,
        messages=tuple(Message(m.role, masked(m.content, **what)) for m in example.messages),
        target=masked(example.target, **what),
        meta={key: masked(value, **what) for key, value in example.meta.items()},
    )
