"""Parsing: nodes, edges and labels against those that `dot -Tdot_json` reads from the text."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.dot.dot_mutants import CORNERS, mutants, real_graphs
from tunesmith.tasks.dot import DotSyntaxError, Graph, parse
from tunesmith.tasks.dot.parse import parse_all
from tunesmith.tasks.dot.validity import by_grammar, by_graphviz

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz (dot) is not here")


@needs_dot
def test_graphs_are_those_that_graphviz_reads(shared_data: Path, tmp_path: Path) -> None:
    graphs = real_graphs(shared_data)
    found = [*graphs, *CORNERS, *(text for _, text in mutants(graphs, 1600, seed=3))]
    texts = [t for t in dict.fromkeys(found) if t.rstrip().endswith("}") and "@" not in t]
    texts = [t for t, ok in zip(texts, by_graphviz(texts), strict=True) if ok and by_grammar(t)]
    assert len(texts) > 400
    for begin in range(0, len(texts), 50):
        group = texts[begin : begin + 50]
        ours = [(_plain(graph), text) for text in group for graph in parse_all(text)]
        theirs = _read_by_dot(group, tmp_path)
        for (mine, text), other in zip(ours, theirs, strict=True):
            assert mine == other, text


def _read_by_dot(texts: list[str], folder: Path) -> list[tuple[Any, ...]]:
    names = [f"{i}.dot" for i in range(len(texts))]
    for name, text in zip(names, texts, strict=True):
        (folder / name).write_text(text, "utf-8", newline="")
    done = subprocess.run(
        ["dot", "-Tdot_json", *names], cwd=folder, capture_output=True, check=True
    )
    return [_from_json(graph) for graph in _objects(done.stdout.decode("utf-8", "replace"))]


def _objects(text: str) -> list[dict[str, Any]]:
    """JSON objects one after the other; an attribute called `name` comes behind the name itself."""
    decoder = json.JSONDecoder(strict=False, object_pairs_hook=lambda p: dict(reversed(p)))
    found, at = [], 0
    while (begin := text.find("{", at)) >= 0:
        value, at = decoder.raw_decode(text, begin)
        found.append(value)
    return found


def _from_json(graph: dict[str, Any]) -> tuple[Any, ...]:
    objects = graph.get("objects", [])
    names = {o["_gvid"]: o["name"] for o in objects[graph["_subgraph_cnt"] :]}
    ends = (
        (names[e["tail"]], names[e["head"]], e.get("label", "")) for e in graph.get("edges", [])
    )
    edges = Counter(
        (a, b, label) if graph["directed"] else (min(a, b), max(a, b), label)
        for a, b, label in ends
    )
    return graph["directed"], graph["strict"], set(names.values()), edges


def _plain(graph: Graph) -> tuple[Any, ...]:
    edges = Counter((*graph.ends(e), e.attributes.get("label", "")) for e in graph.edges)
    return graph.directed, graph.strict, set(graph.nodes), edges


def test_subgraphs_chains_and_defaults() -> None:
    graph = parse("digraph { edge [label=x]; a -> {b c} -> d; edge [label=y]; a -> d }")
    assert [(e.tail, e.head, e.attributes["label"]) for e in graph.edges] == [
        ("a", "b", "x"), ("a", "c", "x"), ("b", "d", "x"), ("c", "d", "x"), ("a", "d", "y")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line"), [("digraph {\n a ->\n}", 3), ("graph { a -> b }", 1), ("", 1), ("x", 1)]
)
def test_syntax_errors_name_their_line(text: str, line: int) -> None:
    with pytest.raises(DotSyntaxError) as caught:
        parse(text)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"line {line}: ")


@given(st.text(alphabet=st.sampled_from('digraph{}[]<>"/*#;=->\\ \n,:+a1é@\0'), max_size=60))
def test_any_text_parses_or_is_refused(text: str) -> None:
    for candidate in (text, f"digraph {{ {text} }}"):
        try:
            assert parse_all(candidate)
        except DotSyntaxError as error:
            assert error.line >= 1
