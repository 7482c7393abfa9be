"""Markdown in passages: cut at headings, joined where short, parted where long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*\s*$")
FENCE = re.compile(r"^\s*(```+|~~~+)")


@dataclass(frozen=True, slots=True)
class Passage:
    """`heading` is the way to it ("Install > Linux"); the heading itself stands in `text`, too."""

    heading: str
    text: str


def passages(text: str, *, longest: int, shortest: int) -> list[Passage]:
    """Passages of at most `longest` characters, in order; one under `shortest` is joined to the one
    before (else behind) it where both together fit. Nothing is lost but blank lines."""
    pieces = [
        Passage(section.heading, part)
        for section in _sections(text)
        for part in _parts(section.text, longest)
    ]
    joined: list[Passage] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        short = last is not None and min(len(piece.text), len(last.text)) < shortest
        if last is not None and short and len(last.text) + 2 + len(piece.text) <= longest:
            joined[-1] = Passage(last.heading or piece.heading, f"{last.text}\n\n{piece.text}")
        else:
            joined.append(piece)
    return joined


def first_heading(text: str) -> str:
    """The first heading, "" where there is none."""
    return next((h.heading for h in _sections(text) if h.heading), "")


def _sections(text: str) -> Iterator[Passage]:
    """What stands under each heading; a `#` inside a fenced block is none."""
    way: list[tuple[int, str]] = []
    lines: list[str] = []
    fence = ""
    for line in text.splitlines():
        mark = FENCE.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        heading = None if fence else HEADING.match(line)
        if heading is not None:
            yield from _section(way, lines)
            lines = []
            depth = len(heading[1])
            way = [(d, name) for d, name in way if d < depth] + [(depth, heading[2])]
        lines.append(line)
    yield from _section(way, lines)


def _section(way: list[tuple[int, str]], lines: list[str]) -> Iterator[Passage]:
    text = "\n".join(lines).strip()
    if text:
        yield Passage(" > ".join(name for _, name in way), text)


def _parts(text: str, longest: int) -> list[str]:
    """A text in parts of at most `longest`, cut between paragraphs, lines, sentences or words."""
    parts: list[str] = []
    while len(text) > longest:
        end = _cut(text, longest)
        parts.append(text[:end].rstrip())
        text = text[end:].lstrip("\n")
    return [part for part in (*parts, text) if part.strip()]


def _cut(text: str, longest: int) -> int:
    """Where the first part ends: at the last fitting mark in its second half."""
    for mark in ("\n\n", "\n", ". ", " "):
        found = text.rfind(mark, longest // 2, longest)
        if found > 0:
            return found + len(mark)
    return longest
