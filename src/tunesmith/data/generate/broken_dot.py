"""Broken graphs and the sound ones they came from, so that a model learns what a fault costs.

One fault is put into a graph that is known to be right: a brace, an edge operator, a quote,
back-ticks or an attribute list. The pair is kept only where the judge of DOT refuses the broken
text, as it stands and as it would be found in an answer, and accepts the mended one. After AnecDOT,
whose study went from 34 to 38 valid graphs of 45 with such pairs and other prompts at once; what
they do by themselves has to be measured (see docs/recipes/anecdot.md).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.tasks.dot import extract_graph, valid_all

Fault = Callable[[random.Random, str], str | None]
KIND = "mended"  # the `kind` of such a row

# Strings and comments hide what looks like syntax; an HTML string is passed over by its brackets.
_HIDDEN = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/|^\s*#[^\n]*', re.DOTALL | re.MULTILINE)
_LIST = re.compile(r"\[[^\[\]{}]*=[^\[\]{}]*\]")
_NAME = re.compile(r"(?<![\w\"])[A-Za-z_]\w*(?![\w\"])")


@dataclass(frozen=True, slots=True)
class Pair:
    """A broken graph, the graph it came from, and the name of the fault."""

    broken: str
    mended: str
    fault: str


def missing_brace(r: random.Random, dot: str) -> str | None:
    """One brace that opens or closes is gone."""
    return _without(r, dot, r"[{}]")


def wrong_operator(r: random.Random, dot: str) -> str | None:
    """One edge has the operator of the other kind of graph, or half of its own."""
    found = _visible(dot, r"->|--")
    if not found:
        return None
    at = r.choice(found)
    other = "--" if at.group() == "->" else "->"
    return _put(dot, at.start(), at.end(), r.choice((other, "-", "=>", at.group() + ">")))


def unescaped_quote(r: random.Random, dot: str) -> str | None:
    """A quote stands within a string without its backslash."""
    strings = [m for m in _HIDDEN.finditer(dot) if m.group().startswith('"')]
    if not strings:
        return None
    string = r.choice(strings)
    at = r.randint(string.start() + 1, string.end() - 1)
    return _put(dot, at, at, '"')


def stray_backticks(r: random.Random, dot: str) -> str | None:
    """Marks of Markdown stand within the graph: around a name, or as a fence on its own line."""
    opening, closing = dot.find("{"), dot.rfind("}")
    if not -1 < opening < closing:
        return None
    names = [m for m in _visible(dot, _NAME.pattern) if opening < m.start() < closing]
    if names and r.random() < 0.5:
        name = r.choice(names)
        return _put(dot, name.start(), name.end(), f"`{name.group()}`")
    at = r.choice((opening + 1, closing))
    return _put(dot, at, at, "\n```\n")


def broken_attributes(r: random.Random, dot: str) -> str | None:
    """An attribute list lost a bracket, an equals sign or a value."""
    lists = [m for m in _LIST.finditer(dot) if m.start() > dot.find("{")]
    if not lists:
        return None
    one = r.choice(lists)
    text = one.group()
    name, _, value = text.partition("=")
    damaged = r.choice((text[:-1], text[1:], f"{name}{value}", f"{name}=]", f"{name}={text[-1]}"))
    return _put(dot, one.start(), one.end(), damaged)


FAULTS: Mapping[str, Fault] = {
    "missing_brace": missing_brace,
    "wrong_operator": wrong_operator,
    "unescaped_quote": unescaped_quote,
    "stray_backticks": stray_backticks,
    "broken_attributes": broken_attributes,
}


def broken_pairs(graphs: Sequence[str], count: int, *, seed: int) -> list[Pair]:
    """At most `count` different pairs from sound graphs, the faults in turn, judged in batches.

    A graph that the judge refuses gives none. Fewer come back where faults no longer make anything
    new. The same seed gives the same pairs.
    """
    r = random.Random(f"broken_dot {seed}")
    sound = [g for g, good in zip(graphs, valid_all(graphs), strict=True) if good]
    found: dict[str, Pair] = {}
    barren = 0
    drawn = _drawn(r, sound)
    while sound and len(found) < count and barren < 4:
        wanted = max(32, count - len(found))
        batch = [p for p, _ in zip(drawn, range(wanted), strict=False) if p is not None]
        new = [p for p in batch if p.broken not in found]
        before = len(found)
        for pair in _refused(new):
            if len(found) < count:
                found.setdefault(pair.broken, pair)
        barren = barren + 1 if len(found) == before else 0
    return list(found.values())


def _drawn(r: random.Random, graphs: Sequence[str]) -> Iterator[Pair | None]:
    """Endless: each graph in a new order, each with the next fault; None where it cannot have it"""
    turn = 0
    names = list(FAULTS)
    while True:
        for graph in r.sample(graphs, len(graphs)):
            fault = names[turn % len(names)]
            turn += 1
            broken = FAULTS[fault](r, graph)
            yield None if broken is None or broken == graph else Pair(broken, graph, fault)


def _refused(pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs whose broken text is refused, whole and as the graph that an answer is searched for."""
    inner = [extract_graph(pair.broken) or "" for pair in pairs]
    whole = valid_all([pair.broken for pair in pairs])
    found = valid_all(inner)
    return [p for p, a, b in zip(pairs, whole, found, strict=True) if not a and not b]


def _visible(dot: str, pattern: str) -> list[re.Match[str]]:
    """Matches that stand in no string and no comment, and behind the head of the graph."""
    hidden = [(m.start(), m.end()) for m in _HIDDEN.finditer(dot)]
    return [
        m
        for m in re.finditer(pattern, dot)
        if not any(a < m.end() and m.start() < b for a, b in hidden)
    ]


def _without(r: random.Random, dot: str, pattern: str) -> str | None:
    found = _visible(dot, pattern)
    if not found:
        return None
    one = r.choice(found)
    return _put(dot, one.start(), one.end(), "")


def _put(text: str, start: int, end: int, new: str) -> str:
    return text[:start] + new + text[end:]
