"""Find the graph in an answer that may have prose or code fences around it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tunesmith.tasks.dot.lexer import html_end

_HEAD = re.compile(
    r"""(?<![\w"])(?:strict\s+)?(?:di)?graph\b\s*
        (?:"(?:[^"\\]|\\.)*"|[\w.\-]+)?\s*\{""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
# What hides a brace: strings, comments; whatever else stands there is the judge's business.
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|#[^\n]*|/\*.*?\*/|[{}<"]|/\*', re.DOTALL)
_STRAY = re.compile(r"\s*[}\];][\s}\];]*")


@dataclass(frozen=True, slots=True)
class Found:
    """A graph in an answer; `complete` says whether the brace that closes it is there."""

    text: str
    complete: bool


def find_graph(answer: str) -> Found | None:
    """The first graph of an answer whose braces close; None where none even begins.

    Where several begin and none closes, the first with all that follows it (up to a code fence),
    so that it can be shown. Closing brackets and semicolons behind the last brace belong to it:
    a graph with one brace too many is broken, not a good graph with a remark.
    """
    start: int | None = None
    for head in _HEAD.finditer(answer):
        start = head.start() if start is None else start
        end = _closing(answer, head.end() - 1)
        if end is not None:
            stray = _STRAY.match(answer, end)
            end = stray.end() if stray else end
            return Found(answer[head.start() : end].rstrip(), complete=True)
    if start is None:
        return None
    return Found(answer[start:].split("```", maxsplit=1)[0].rstrip(), complete=False)


def extract_graph(answer: str) -> str | None:
    """The text of `find_graph`."""
    found = find_graph(answer)
    return None if found is None else found.text


def _closing(text: str, at: int) -> int | None:
    """Behind the brace that closes the one at `at`; None where a string or brace stays open."""
    depth = 0
    while (piece := _PIECE.search(text, at)) is not None:
        token, at = piece.group(), piece.end()
        if token == "{":
            depth += 1
        elif token == "}":
            depth -= 1
            if depth == 0:
                return at
        elif token == "<":
            end = html_end(text, piece.start())
            if end is None:
                return None
            at = end
        elif token in {'"', "/*"}:
            return None
    return None
