"""Tokens of DOT, after Graphviz's scanner (lib/cgraph/scan.l, behaviour measured with 2.43).

What it does and the documentation does not say: only space, tab, return and newline are white; `#`
begins a comment anywhere; a badly delimited number splits in two ("1a" is "1" and "a"); `->` is an
edge in a digraph only, `--` in a graph only; HTML strings nest by angle brackets alone, comments
inside them included; a NUL hides the rest of its line and, where a line begins with it, of the
text; `@` ends the input; behind a complete graph a string or comment may be left
open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lark import Token
from lark.lexer import Lexer

KEYWORDS = {
    "strict": "STRICT",
    "graph": "GRAPH",
    "digraph": "DIGRAPH",
    "node": "NODE",
    "edge": "EDGE",
    "subgraph": "_SUBGRAPH",
}
SYMBOLS = {
    "{": "_LBRACE",
    "}": "_RBRACE",
    "[": "_LSQB",
    "]": "_RSQB",
    ";": "_SEMI",
    ",": "_COMMA",
    ":": "_COLON",
    "=": "_EQUAL",
    "+": "_PLUS",
}
_NAME = r"[A-Za-z_\u0080-\U0010ffff][A-Za-z_0-9\u0080-\U0010ffff]*"
_TOKEN = re.compile(
    rf"""(?P<skip>(?:[ \t\r\n]+|//[^\n]*|\#[^\n]*|/\*.*?\*/
                    |\ufeff(?![A-Za-z_0-9\u0080-\U0010ffff]))+)
       |(?P<name>{_NAME})
       |(?P<number>-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))
       |"(?P<quoted>(?:[^"\\]|\\.)*)"
       |(?P<edge>->|--)
       |(?P<symbol>[{{}}\[\];,:=+])
       |(?P<open>"|/\*|<)""",
    re.DOTALL | re.VERBOSE,
)
_ANGLE = re.compile(r"[<>]")


class DotSyntaxError(ValueError):
    """Text that is no DOT; `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line


class Html(str):
    """The text of an HTML string, without the angle brackets that delimit it."""

    __slots__ = ()


class DotLexer(Lexer):
    """`tokens` as Lark wants it."""

    def __init__(self, lexer_conf: Any) -> None:
        pass

    def lex(self, data: Any) -> Iterator[Token]:  # type: ignore[override]
        """Tokens of the text; DotSyntaxError where there is none."""
        return tokens(str(data))


def tokens(text: str) -> Iterator[Token]:
    """Tokens of a DOT text; DotSyntaxError at what begins no token."""
    text = _without_nul(text)
    at, line, depth, complete = 0, 1, 0, False
    operator = ""
    while at < len(text):
        if text[at] == "@":
            return
        kind, value, end = _token(text, at)
        if kind == "OPEN" and depth == 0 and complete:
            return
        if kind in {"OPEN", "OTHER"} or (kind == "_EDGEOP" and value != operator):
            what = f"{value} is never closed" if kind == "OPEN" else f"unexpected {value!r}"
            raise DotSyntaxError(what, line)
        if kind in {"GRAPH", "DIGRAPH"} and depth == 0:
            operator = "->" if kind == "DIGRAPH" else "--"
        elif kind == "_LBRACE":
            depth += 1
        elif kind == "_RBRACE":
            depth -= 1
            complete = complete or depth == 0
        if kind != "SKIP":
            yield Token(kind, value, line=line)
        line += text.count("\n", at, end)
        at = end


def _token(text: str, at: int) -> tuple[str, str, int]:
    """Kind, value and end of what begins at `at`; kinds SKIP, OPEN and OTHER are no tokens."""
    match = _TOKEN.match(text, at)
    if match is None:
        return "OTHER", text[at], at + 1
    kind, value, end = str(match.lastgroup), match.group(), match.end()
    if kind == "name":
        return KEYWORDS.get(value.lower(), "ATOM") if value.isascii() else "ATOM", value, end
    if kind == "quoted":
        return "QUOTED", unescape(match.group("quoted")), end
    if kind == "symbol":
        return SYMBOLS[value], value, end
    closed = html_end(text, at) if value == "<" else None
    if closed is not None:
        return "HTML", text[at + 1 : closed - 1], closed
    return {"skip": "SKIP", "number": "ATOM", "edge": "_EDGEOP", "open": "OPEN"}[kind], value, end


def _without_nul(text: str) -> str:
    """The text as Graphviz reads it: by lines that end at a NUL, until an empty one."""
    if "\0" not in text:
        return text
    return re.sub(r"\0[^\n]*\n?", "", re.sub(r"(?:\A|(?<=\n))\0.*", "", text, flags=re.DOTALL))


def html_end(text: str, at: int) -> int | None:
    """Where the HTML string that opens at `at` has ended; None where it does not end."""
    depth = 0
    for angle in _ANGLE.finditer(text, at):
        depth += 1 if angle.group() == "<" else -1
        if depth == 0:
            return angle.end()
    return None


def unescape(body: str) -> str:
    r"""What a quoted string means: `\"` is a quote, backslash-newline nothing, `\\` stays."""
    return re.sub(
        r"\\(.)",
        lambda m: {'"': '"', "\n": ""}.get(m.group(1), m.group()),
        body,
        flags=re.DOTALL,
    )
