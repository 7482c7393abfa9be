"""Graphs to judge: real ones, the corners of the language, and seeded mutations of both.

A mutation is one thing that a model, a person or a careless program does to a graph. Most of them
keep some texts sound and break others, so that a judge cannot agree by saying "broken" always.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

Mutation = Callable[[str, random.Random], str]

TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*"|<[^<>]*>|->|--|/\*.*?\*/|//[^\n]*|[{}\[\];,:=+]|[^\s{}\[\];,:=+"<>-]+',
    re.DOTALL,
)
NAMES = (
    "a",
    "q0",
    "_x",
    "Zustand",
    "node1",
    "état",
    "状態",
    "x.y",
    "1",
    "-2.5",
    ".5",
    "n_1",
    '"two words"',
)
ODD = (
    "1a",
    "1.2.3",
    "-",
    "--3",
    "1e5",
    "a-b",
    "a.b",
    "a/b",
    "$x",
    "'a'",
    "node",
    "Edge",
    "SUBGRAPH",
)
ODD += (
    "strict",
    "graph",
    "digraph",
    "-.5",
    "5.",
    "-5.",
    ".",
    "é1",
    "1é",
    "a\u00a0b",
    "a\u200bb",
    "😀",
    "@",
    "a@b",
)
HTML = (
    "<b>bold</b>",
    "<b>open",
    "plain",
    "a &amp; b",
    "a & b",
    "&eacute;&nope;",
    "<table><tr><td>cell</td></tr></table>",
    "<table><tr><td port='p'>cell</td><td></td></tr></table>",
    "<table><tr>cell</tr></table>",
    "<table></table>",
    "<table><tr></tr></table>",
    "x<table><tr><td>cell</td></tr></table>",
    "<font color='red'>r</font><br/>s",
    "<br>s",
    "<i>a<b>c</b></i>",
    "<i>a<b>c</i></b>",
    "<td>cell</td>",
    "<marquee>x</marquee>",
    "<TABLE BORDER='0'><TR><TD>A</TD></TR><HR/><TR><TD>B</TD></TR></TABLE>",
    "<TABLE BORDER='0'><TR><TD>A</TD></TR><HR/></TABLE>",
    "<!-- note --><b>c</b>",
    "",
    " ",
    "a > b",
    "1 &lt; 2",
)
RECORDS = (
    "a|b",
    "<p>a|<q>b",
    "{a|b}|c",
    "{a",
    "a}",
    "<p",
    "p>",
    "a{b}",
    "{a}b",
    "a\\|b",
    "\\{a",
    "{}",
    "<p><q>a",
    "{a|{b|c}}",
)


def real_graphs(shared_data: Path) -> list[str]:
    """The gold graphs of the AnecDOT pairs."""
    lines = (shared_data / "anecdot" / "pairs.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["output_dot"] for line in lines if line.strip()]


def mutants(graphs: list[str], n: int, seed: int) -> Iterator[tuple[str, str]]:
    """`n` pairs of (names of the mutations, text); every mutation comes up equally often."""
    rng = random.Random(seed)
    names = list(MUTATIONS)
    bases = [*graphs, *CORNERS * 3]
    for i in range(n):
        chosen = [names[i % len(names)], *rng.choices(names, k=rng.choice((0, 0, 0, 1, 2)))]
        text = rng.choice(bases)
        for name in chosen:
            text = MUTATIONS[name](text, rng)
        yield "+".join(chosen), text


def _spots(text: str, pattern: str) -> list[re.Match[str]]:
    return list(re.finditer(pattern, text))


def _replace_one(text: str, pattern: str, new: Callable[[str], str], rng: random.Random) -> str:
    spots = _spots(text, pattern)
    if not spots:
        return text
    spot = rng.choice(spots)
    return text[: spot.start()] + new(spot.group()) + text[spot.end() :]


def _replacing(pattern: str, *choices: str) -> Mutation:
    """One match of the pattern becomes one of the choices; {} in it stands for the match."""
    return lambda text, rng: _replace_one(
        text, pattern, lambda found: rng.choice(choices).replace("{}", found), rng
    )


def _stating(*statements: str) -> Mutation:
    """A statement behind one of the braces, semicolons or line ends."""

    def mutation(text: str, rng: random.Random) -> str:
        operator = "->" if "digraph" in text.lower() else "--"
        statement = rng.choice(statements)
        for mark, values in (("NAME", NAMES), ("ODD", ODD), ("HTML", HTML), ("RECORD", RECORDS)):
            while mark in statement:
                statement = statement.replace(mark, rng.choice(values), 1)
        statement = statement.replace("OP", operator)
        return _replace_one(text, r"[{;\n]", lambda found: f"{found} {statement} ", rng)

    return mutation


def _around(*choices: str) -> Mutation:
    """The whole text with something before or behind it; {} stands for the text."""
    return lambda text, rng: rng.choice(choices).replace("{}", text, 1)


def _drop_token(text: str, rng: random.Random) -> str:
    return _replace_one(text, TOKEN.pattern, lambda _: " ", rng)


def _double_token(text: str, rng: random.Random) -> str:
    return _replace_one(text, TOKEN.pattern, lambda found: f"{found} {found}", rng)


def _swap_tokens(text: str, rng: random.Random) -> str:
    spots = list(TOKEN.finditer(text))
    if len(spots) < 2:
        return text
    i = rng.randrange(len(spots) - 1)
    one, two = spots[i], spots[i + 1]
    between = text[one.end() : two.start()]
    return text[: one.start()] + two.group() + between + one.group() + text[two.end() :]


def _move_token(text: str, rng: random.Random) -> str:
    spots = list(TOKEN.finditer(text))
    if not spots:
        return text
    moved, behind = rng.choice(spots), rng.choice(spots)
    return text[: behind.end()] + f" {moved.group()} " + text[behind.end() :]


def _drop_character(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text)) if text else 0
    return text[:at] + text[at + 1 :]


def _add_character(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return (
        text[:at] + rng.choice("{}[]<>\"'\\;,:=+-#/*`@$%&|~é\u00a0\u3000\t\r\f\v\x01") + text[at:]
    )


def _cut(text: str, rng: random.Random) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _splice(text: str, rng: random.Random) -> str:
    other = rng.choice(CORNERS)
    return text[: rng.randrange(len(text) + 1)] + other[rng.randrange(len(other)) :]


def _keyword_case(text: str, rng: random.Random) -> str:
    change = rng.choice((str.upper, str.title, str.swapcase))
    return re.sub(
        r"\b(strict|digraph|graph|subgraph|node|edge)\b", lambda m: change(m.group()), text
    )


def _two_of_them(text: str, rng: random.Random) -> str:
    return f"{text}{rng.choice((chr(10), ' ', ';', ''))}{rng.choice(CORNERS)}"


_NAME = r"(?<![\w\"])[A-Za-z_]\w*(?![\w\"])"

MUTATIONS: dict[str, Mutation] = {
    "nothing": lambda text, _: text,
    "drop_brace": _replacing(r"[{}]", ""),
    "double_brace": _replacing(r"[{}]", "{}{}"),
    "drop_bracket": _replacing(r"[\[\]]", ""),
    "other_bracket": _replacing(r"[\[\]]", "(", ")", "{", "}"),
    "drop_quote": _replacing('"', ""),
    "double_quote": _replacing('"', '""', '\\"', "'", "“"),
    "wrong_operator": _replacing(
        "->|--", "--", "->", "-->", "=>", "- >", "->>", "<-", "<->", "→", "-"
    ),
    "swap_kind": _replacing(
        r"(?i)\b(di)?graph\b", "graph", "digraph", "Graph", "diGraph", "network"
    ),
    "backticks": _around("```dot\n{}\n```", "```\n{}", "{}\n```", "`{}`", "{}`"),
    "trailing_text": _around(
        "{} This is the graph.",
        "{}\nNote: a -> b",
        "{};",
        "{} }",
        "{}\n// done",
        "{} # done",
        '{} "',
        "{} <",
        "{} /*",
        "{}\n@ whatever {",
        "{}\x00",
        "{}\n\n\n",
        "{} <eos>",
    ),
    "leading_text": _around(
        "Here it is: {}",
        "// graph\n{}",
        "# graph\n{}",
        "/* graph */{}",
        "\ufeff{}",
        "\n\n{}",
        "strict {}",
        ";{}",
        "dot\n{}",
    ),
    "node_list": _stating(
        "NAME, NAME OP NAME",
        "NAME, NAME",
        "NAME,NAME, NAME OP NAME,NAME [w=1]",
        "NAME, OP NAME",
        "NAME,",
    ),
    "subgraph": _stating(
        "subgraph NAME { NAME OP NAME }",
        "subgraph { NAME }",
        "subgraph NAME { }",
        "{ NAME NAME } OP { NAME; NAME }",
        "subgraph NAME OP NAME",
        "subgraph NAME;",
        "NAME OP subgraph NAME { NAME }",
        "{ } [color=red]",
        "subgraph cluster_a { label=<HTML>; NAME }",
        "subgraph { rank = same; NAME; NAME; } OP NAME [weight=2]",
        "subgraph graph { NAME }",
    ),
    "html_label": _stating(
        "NAME [label=<HTML>]",
        "NAME OP NAME [label=<HTML>]",
        "graph [label=<HTML>]",
        "label=<HTML>",
        "node [label=<HTML>]",
        "NAME [xlabel=<HTML>]",
    ),
    "record_label": _stating(
        'NAME [shape=record, label="RECORD"]',
        'NAME [shape=Mrecord label="RECORD"]',
        'node [shape=record]; NAME [label="RECORD"]',
        'NAME [label="RECORD"]',
    ),
    "port": _stating(
        "NAME:NAME OP NAME:n",
        "NAME:p:sw OP NAME",
        "NAME:n:s:e OP NAME",
        "NAME: OP NAME",
        ":p OP NAME",
        "NAME:p",
        'NAME:"p":ne OP NAME',
    ),
    "keyword_case": _keyword_case,
    "comment": _replacing(
        r"[ \n;{]",
        "{}// c\n",
        "{}/* c */",
        "{}# c\n",
        "{}/* c",
        "{}// c",
        "{}/* a /* b */ c */",
        "{}/*/",
        "{}/ c\n",
        "{}\n#c\n",
        "{}-- c\n",
    ),
    "numeral": _replacing(
        _NAME, "1", "-1.5", ".5", "5.", "1a", "1.2.3", "-", "1e5", "-a", "0x1F", "1_000", "- 1"
    ),
    "odd_name": _replacing(_NAME, *ODD),
    "odd_statement": _stating(
        "ODD", "ODD OP NAME", "NAME OP ODD", "NAME [ODD=1]", "NAME [k=ODD]", "ODD = ODD"
    ),
    "concatenated": _stating(
        'NAME [label="a" + "b"]',
        '"a" + "b" OP NAME',
        'NAME [label="a" "b"]',
        'NAME [label="a" + b]',
        '"a" + ',
        'NAME [label="a"\n+\n"b" + "c"]',
        'NAME [label=<HTML> + "x"]',
    ),
    "unicode": _replacing(
        _NAME,
        "é",
        "Größe",
        "状態",
        "😀",
        "a\u00a0b",
        "a\u200bb",
        "\u3000",
        "ａ",
        "“a”",
        "a’b",
        "\ufeffa",
    ),
    "semicolons": _replacing(r"[;\n]", "", ";;", ";", ",", " ; ;"),
    "attributes": _stating(
        "NAME [color=red;shape=box,label=x]",
        "NAME [color]",
        "NAME [color=]",
        "NAME [=red]",
        "NAME []",
        "NAME [color=red][shape=box]",
        "NAME [color=red,]",
        "NAME [,color=red]",
        "NAME [color=red shape=box",
        "NAME [color: red]",
        "node [k=v]",
        "edge []",
        "node",
        "edge [k=v] OP NAME",
        "graph NAME=[k=v]",
        "node NAME = [k=v]",
        "NAME = NAME",
        "NAME=NAME=NAME",
        "strict",
        "NAME color=red",
        "NAME [color=red];;",
        "layout=neato",
        "layout=nope",
        "graph [layout=dot]",
        "NAME ['color'='red']",
        "NAME [color=red; ; shape=box]",
        "key=NAME",
        "NAME OP NAME [key=k]",
    ),
    "edges": _stating(
        "NAME OP NAME OP NAME",
        "NAME OP",
        "OP NAME",
        "NAME OP OP NAME",
        "NAME NAME OP NAME",
        "NAME OP NAME [",
        "NAME OP NAME]",
        "NAME OP NAME label=x",
        "NAME -> NAME",
        "NAME -- NAME",
        "NAME OP {NAME NAME}",
        "NAME OP {}",
        "NAME OP NAME; OP NAME",
        "NAMEOPNAME",
        "NAME OP NAME : label",
    ),
    "strings": _replacing(
        r'"[^"\n]*"',
        '"a\\"b"',
        '"a\\\\"',
        '"a\\"',
        '"a\\\nb"',
        '"a\nb"',
        '"\\N \\n \\l"',
        '""',
        "'a'",
        '"a""b"',
        "<a>",
        "<<a>",
        "“a”",
        '"a" "b"',
    ),
    "line_ends": lambda text, rng: text.replace(
        "\n", rng.choice(("\r\n", "\r", " ", "\t", "\f", "\u2028"))
    ),
    "drop_token": _drop_token,
    "double_token": _double_token,
    "swap_tokens": _swap_tokens,
    "move_token": _move_token,
    "drop_character": _drop_character,
    "add_character": _add_character,
    "cut": _cut,
    "splice": _splice,
    "two_graphs": _two_of_them,
    "no_name": _replacing(
        r"(?i)(?<=graph)\s+[^\s{]+\s*(?={)",
        "",
        ' "" ',
        " a b ",
        " 1 ",
        ' "a" + "b" ',
        " <g> ",
        " -1 ",
        " node ",
    ),
}

CORNERS = [
    "digraph{a->b}",
    "graph { a -- b -- c; }",
    "strict digraph G { a -> b; a -> b [label=x]; }",
    "digraph { a, b -> c, d [color=red]; }",
    'digraph "g" { rankdir = LR; node [shape=record, label="{<p> \\N|q}"]; a:p -> b:q:n; }',
    'digraph { subgraph cluster_0 { label = "A"; a; b } subgraph cluster_0 { c } a -> c }',
    "graph { { a b } -- { c d } [weight=2] }",
    "digraph { a [label=<<table border='0'><tr><td port='x'>1</td></tr></table>>]; a:x -> b }",
    "# c\n// d\ndigraph { /* e */ a -> b // f\n }",
    'digraph { a [label="x" + "y"] }',
    "digraph { 1 -> -2.5 -> .5 [label=3.] }",
    "DIGRAPH G { NODE [shape=box] EDGE [style=dotted] A -> B }",
    'digraph { größe -> 状態 [label="é"] }',
    "digraph { edge [label=<<b>x</b> &amp; <i>y</i><br/>z>]; s -> t; node [xlabel=<ok>]; u }",
    "digraph empty {}",
    "graph { a; b; c; a:n -- b:s; graph [k=v] }",
    "digraph a { x -> y } digraph b { y -> x }",
    'digraph { start [shape=point]; start -> s0; s0 -> s1 [label="coin"]; s1 -> s0 [label=push]; }',
]
