"""The report of a data set: one HTML file that needs nothing else, from records handed in.

Lengths, sources, labels, duplicates, findings, and some examples as the model sees them, in the
style of a run's report. The figures are plain SVG and HTML: the page has no script at all.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.records import Example, Finding, Quality, Severity
from tunesmith.report import figures
from tunesmith.report.background import Bar
from tunesmith.report.page import TEMPLATES, fill, keep

BINS = 24  # bars of a histogram
MOST_BARS = 12  # names in one chart; the rest is one bar
REPEATED = 8  # prompts in the table of duplicates
PROMPT = 160  # characters of a prompt in a table
RANKS = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}


@dataclass(frozen=True, slots=True)
class Shown:
    """An example as the model sees it: pieces of text, each with what it is."""

    title: str
    note: str
    pieces: tuple[tuple[str, str], ...]  # (kind, text)
    tokens: int
    supervised: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a data report tells. `lengths` are tokens of prompt and of answer for each example, in
    the order of the parts; `unit` is what they count."""

    title: str
    parts: Mapping[str, tuple[Example, ...]]
    quality: Quality | None
    lengths: tuple[tuple[int, int], ...]
    unit: str
    max_length: int | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)
    licences: Mapping[str, int] = field(default_factory=dict)
    origins: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[Shown, ...] = ()
    repeat: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """One bar of a histogram, in percent of the figure's width and height."""

    left: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many examples have which length; the last bar holds the longest hundredth."""

    name: str
    columns: tuple[Column, ...]
    ticks: tuple[tuple[float, str], ...]
    limit: float | None  # where max_length stands, in percent
    told: str


@dataclass(frozen=True, slots=True)
class Stack:
    """A row of a stacked chart: shares of its parts in percent, with their counts."""

    name: str
    parts: tuple[tuple[str, int, float], ...]
    total: int


@dataclass(frozen=True, slots=True)
class Repeated:
    """A prompt that stands in several rows, with how many answers or labels they give."""

    prompt: str
    rows: int
    answers: int
    labels: str


def render_data(sheet: Sheet, out: Path) -> Path:
    """Write the report to the file `out`; StoreError where it cannot be written."""
    return keep(data_page(sheet), out)


def data_page(sheet: Sheet) -> str:
    """The whole page as HTML."""
    return fill("data_report.html.j2", _content(sheet))


def _content(sheet: Sheet) -> dict[str, Any]:
    every = [e for examples in sheet.parts.values() for e in examples]
    prompts = [prompt for prompt, _ in sheet.lengths]
    answers = [answer for _, answer in sheet.lengths]
    quality = sheet.quality
    return {
        "title": sheet.title,
        "headline": f"{figures.integer(len(every))} examples",
        "lead": _lead(sheet, every),
        "facts": _facts(sheet, every),
        "parts": _bars({name: len(them) for name, them in sheet.parts.items() if them}),
        "sources": _bars(Counter(e.meta.get("source", "unnamed") for e in every)),
        "labels": _bars(Counter(e.label for e in every if e.label is not None)),
        "by_part": _stacks(sheet),
        "licences": _bars(sheet.licences),
        "origins": _bars(sheet.origins),
        "histograms": [
            histogram("prompts", prompts, sheet.unit),
            histogram("answers", answers, sheet.unit),
            histogram(
                "together",
                [sum(pair) for pair in sheet.lengths],
                sheet.unit,
                limit=sheet.max_length,
            ),
        ]
        if sheet.lengths
        else [],
        "unit": sheet.unit,
        "repeated": repeated(every),
        "findings": _ordered(quality.findings) if quality else (),
        "checked": quality is not None,
        "rejected": _bars(sheet.rejected),
        "examples": sheet.examples,
        "repeat": sheet.repeat,
        "style": (TEMPLATES / "style.css").read_text("utf-8")
        + (TEMPLATES / "data_report.css").read_text("utf-8"),
    }


def histogram(
    name: str, lengths: Sequence[int], unit: str, *, limit: int | None = None
) -> Histogram:
    """Bars of equal width up to the 99th percentile; what is longer stands in the last one."""
    ordered = sorted(lengths)
    top = max(1, ordered[round(0.99 * (len(ordered) - 1))])
    width = max(1, math.ceil((top + 1) / BINS))
    number = min(BINS, top // width + 1)
    counts = Counter(min(length // width, number - 1) for length in ordered)
    highest = max(counts.values())
    columns = []
    for at in range(number):
        last = at == number - 1
        end = max(ordered[-1], (at + 1) * width - 1) if last else (at + 1) * width - 1
        columns.append(
            Column(
                left=round(100 * at / number, 3),
                width=round(100 / number, 3),
                height=round(100 * counts[at] / highest, 2),
                title=f"{at * width:,} to {end:,} {unit}: {counts[at]:,} examples",
            )
        )
    reach = number * width
    ticks = tuple((round(100 * share, 1), f"{round(share * reach):,}") for share in (0, 0.5, 1))
    middle = ordered[len(ordered) // 2]
    return Histogram(
        name,
        tuple(columns),
        ticks,
        round(100 * limit / reach, 2) if limit is not None and limit <= reach else None,
        f"median {middle:,}, 99% within {top:,}, longest {ordered[-1]:,}",
    )


def repeated(examples: Sequence[Example]) -> tuple[Repeated, ...]:
    """The prompts that stand in most rows, those with differing answers first."""
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.prompt_key, []).append(example)
    found = []
    for members in groups.values():
        if len(members) > 1:
            labels = Counter(e.label for e in members if e.label is not None)
            said = {e.label if e.label is not None else e.target for e in members}
            text = " ".join(members[0].messages[-1].content.split())
            found.append(
                Repeated(
                    text if len(text) <= PROMPT else text[: PROMPT - 1] + "…",
                    len(members),
                    len(said),
                    ", ".join(f"{name} {count}" for name, count in labels.most_common()),
                )
            )
    return tuple(sorted(found, key=lambda it: (it.answers < 2, -it.rows))[:REPEATED])


def _lead(sheet: Sheet, every: Sequence[Example]) -> str:
    found = sheet.quality.findings if sheet.quality else ()
    heavy = sum(finding.severity is not Severity.INFO for finding in found)
    sources = len({e.meta.get("source", "") for e in every})
    told = [f"from {sources} {'source' if sources == 1 else 'sources'}"]
    if sheet.quality is not None:
        told.append(f"{figures.integer(sheet.quality.rows)} rows read")
        told.append(
            "checking found nothing to warn of"
            if not heavy
            else f"{heavy} {'finding' if heavy == 1 else 'findings'} to act on"
        )
    return "; ".join(told).capitalize() + "."


def _facts(sheet: Sheet, every: Sequence[Example]) -> list[tuple[str, str]]:
    whole = figures.integer
    keys = Counter(e.prompt_key for e in every)
    rows = [
        ("examples", whole(len(every))),
        ("distinct prompts", whole(len(keys))),
        ("repeated prompts", whole(sum(keys.values()) - len(keys))),
        (f"{sheet.unit} in all", whole(sum(map(sum, sheet.lengths)))),
        ("of them supervised", whole(sum(answer for _, answer in sheet.lengths))),
    ]
    if sheet.quality is not None:
        rows += [
            ("set aside", whole(sheet.quality.rejected)),
            ("contradicting prompts", whole(sheet.quality.contradicting_prompts)),
        ]
    return rows


def _stacks(sheet: Sheet) -> tuple[Stack, ...]:
    """Labels by source, where there are both several; else nothing."""
    groups: dict[str, Counter[str]] = {}
    for examples in sheet.parts.values():
        for e in examples:
            if e.label is not None:
                groups.setdefault(e.meta.get("source", "unnamed"), Counter())[e.label] += 1
    names = [n for n, _ in sum(groups.values(), Counter[str]()).most_common(5)]
    if len(names) < 2:
        return ()
    found = []
    for source, counts in list(groups.items())[:MOST_BARS]:
        total = counts.total()
        shares = tuple((n, counts[n], round(100 * counts[n] / total, 2)) for n in names)
        found.append(Stack(source, shares, total))
    return tuple(found)


def _bars(counts: Mapping[str, int]) -> tuple[Bar, ...]:
    """Bars, the largest first; what is left over is one bar."""
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    head, rest = ordered[:MOST_BARS], ordered[MOST_BARS:]
    if rest:
        head.append((f"{len(rest)} others", sum(count for _, count in rest)))
    return tuple(Bar(n, c, round(100 * c / total, 2) if total else 0.0) for n, c in head)


def _ordered(found: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(found, key=lambda f: (RANKS[f.severity], -f.count)))
