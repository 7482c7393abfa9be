"""The graph in an answer: real graphs hidden in prose and fences come out as they went in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.dot.dot_mutants import real_graphs
from tunesmith.tasks.dot import extract_graph, find_graph, valid_all

WRAPPERS = (
    "{}",
    "Sure! Here is the graph:\n\n```dot\n{}\n```\nLet me know if it helps.",
    "```graphviz\n{}\n```",
    "```\n{}\n```",
    "The graph below shows a digraph of the states.\n{}\n\nIt has a brace } too.",
    "~~~\n{}",
    "Answer: {} Note that a -> b is drawn once.",
    "<answer>{}</answer>",
)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_real_graphs_are_found_whole(shared_data: Path, wrapper: str) -> None:
    graphs = [g.strip() for g in real_graphs(shared_data)]
    sound = [g for g, ok in zip(graphs, valid_all(graphs), strict=True) if ok]
    missed = [g for g in sound if extract_graph(wrapper.replace("{}", g)) != _bare(g)]
    assert missed == []


def _bare(graph: str) -> str:
    """A gold graph without the comments in front of it: they are not the graph's."""
    lines = graph.splitlines()
    while lines[0].lstrip().startswith(("//", "#", "/*")):
        lines.pop(0)
    return "\n".join(lines).strip()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("no graph here", None),
        ("a graph is a {nice} thing", None),
        ("graph", None),
        ("digraph { a -> b", "digraph { a -> b"),
        ("```dot\ndigraph { a -> b\n```\nSorry.", "digraph { a -> b"),
        ('digraph { a [label="}"] } x', 'digraph { a [label="}"] }'),
        ("digraph { a /* } */ } x", "digraph { a /* } */ }"),
        ("digraph { a // }\n } x", "digraph { a // }\n }"),
        ("digraph { a [label=<<b>}</b>>] } x", "digraph { a [label=<<b>}</b>>] }"),
        ("digraph { a } }", "digraph { a } }"),
        ("STRICT DiGraph G{a}", "STRICT DiGraph G{a}"),
        ('graph "a b" { x }', 'graph "a b" { x }'),
        ("digraph { broken\n\ndigraph { a -> b }", "digraph { a -> b }"),
        ("mygraph { a }", None),
    ],
)  # fmt: skip
def test_what_is_found(answer: str, expected: str | None) -> None:
    assert extract_graph(answer) == expected


@given(st.text(alphabet=st.sampled_from('digraph {}<>"/*#\n`ab->'), max_size=80))
def test_what_is_found_stands_in_the_answer(answer: str) -> None:
    found = find_graph(answer)
    if found is not None:
        assert found.text in answer
        assert extract_graph(found.text) == found.text
