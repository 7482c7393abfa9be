"""Graph likeness against networkx, a count by hand, and what must not change it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.dot.dot_mutants import real_graphs
from tunesmith.tasks.dot import DotSyntaxError, Graph, compare_graphs, parse

Edges = list[tuple[str, str, str]]
NAMES = st.sampled_from(["a", "b", "c", "S 1", "état", 'q"0', "1", "node", "x->y", "{", ""])
LABELS = st.sampled_from(["", "go", "no go", "τ"])
EDGES = st.lists(st.tuples(NAMES, NAMES, LABELS), max_size=8)
NODES = st.lists(NAMES, max_size=5)


def quoted(text: str) -> str:
    escaped = text.replace('"', '\\"')
    return f'"{escaped}"'


def written(nodes: Sequence[str], edges: Edges, directed: bool, rng: random.Random) -> str:
    """The graph as DOT, its statements in random order and with random attributes."""
    operator = "->" if directed else "--"
    extra = [f"color={rng.choice(['red', 'blue'])}", f"penwidth={rng.randint(1, 5)}", "style=bold"]
    statements = [f"{quoted(n)} [{' '.join(rng.sample(extra, rng.randint(0, 3)))}]" for n in nodes]
    for tail, head, label in edges:
        ends = [tail, head]
        if not directed:
            rng.shuffle(ends)
        attributes = [*rng.sample(extra, rng.randint(0, 2)), f"label={quoted(label)}"]
        rng.shuffle(attributes)
        statements.append(f"{f' {operator} '.join(map(quoted, ends))} [{', '.join(attributes)}]")
    rng.shuffle(statements)
    head = rng.choice(["rankdir=LR", "node [shape=box]", "graph [k=v]", "edge [color=red]"])
    name = rng.choice(["", "G", '"my graph"'])
    separator = rng.choice([";\n", "\n", " ; "])
    kind = "digraph" if directed else "graph"
    return f"{kind} {name} {{ {head}; {separator.join(statements)} }}"


def network(graph: Graph) -> nx.MultiDiGraph | nx.MultiGraph:
    made = nx.MultiDiGraph() if graph.directed else nx.MultiGraph()
    made.add_nodes_from(graph.nodes)
    made.add_edges_from((e.tail, e.head) for e in graph.edges)
    return made


def shared_by_hand(ours: list[object], gold: list[object]) -> int:
    """Items that can be paired off one to one, found by striking them out."""
    left, count = list(gold), 0
    for item in ours:
        if item in left:
            left.remove(item)
            count += 1
    return count


@given(NODES, EDGES, st.booleans(), st.randoms(use_true_random=False))
def test_order_and_attributes_do_not_count(
    nodes: list[str], edges: Edges, directed: bool, rng: random.Random
) -> None:
    one, two = (parse(written(nodes, edges, directed, rng)) for _ in range(2))
    found = compare_graphs(one, two)
    assert found.exact
    assert found.exact_labelled
    assert found.nodes.f1 == found.edges.f1 == found.labelled_edges.f1 == 1.0


@given(NODES, EDGES, NODES, EDGES, st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_figures_are_those_of_networkx_and_of_a_count_by_hand(
    nodes: list[str],
    edges: Edges,
    other_nodes: list[str],
    other_edges: Edges,
    directed: bool,
    close: bool,
    rng: random.Random,
) -> None:
    if close:  # most pairs at random have nothing to do with one another
        other_nodes, other_edges = nodes, edges[: len(edges) // 2] + other_edges[:1]
    ours = parse(written(nodes, edges, directed, rng))
    gold = parse(written(other_nodes, other_edges, directed, rng))
    found = compare_graphs(ours, gold)
    assert found.exact == nx.utils.graphs_equal(network(ours), network(gold))
    for overlap, one, two in (
        (found.nodes, list(ours.nodes), list(gold.nodes)),
        (found.edges, [ours.ends(e) for e in ours.edges], [gold.ends(e) for e in gold.edges]),
    ):
        both = shared_by_hand(list(one), list(two))
        if not one and not two:
            assert (overlap.precision, overlap.recall, overlap.f1) == (1.0, 1.0, 1.0)
            continue
        assert overlap.precision == pytest.approx(both / len(one) if one else 0.0)
        assert overlap.recall == pytest.approx(both / len(two) if two else 0.0)
        assert overlap.f1 == pytest.approx(2 * both / (len(one) + len(two)))


def test_real_graphs_against_networkx(shared_data: Path) -> None:
    graphs = []
    for text in real_graphs(shared_data):
        try:
            graphs.append(parse(text))
        except DotSyntaxError:
            continue
    assert len(graphs) >= 145
    networks = [network(graph) for graph in graphs]
    same = 0
    for ours, one in zip(graphs, networks, strict=True):
        for gold, two in zip(graphs, networks, strict=True):
            equal = ours.directed == gold.directed and nx.utils.graphs_equal(one, two)
            assert compare_graphs(ours, gold).exact == equal
            same += equal
    assert same >= len(graphs)


@pytest.mark.parametrize(
    ("ours", "gold", "exact", "labelled"),
    [
        ("digraph { a -> b }", "digraph { b; a -> b [label=x] }", True, False),
        ("digraph { a -> b [label=\"x\\ny\"] }", "digraph { a -> b [label=\"x y\"] }", True, True),
        ("digraph { a -> b }", "digraph { b -> a }", False, False),
        ("graph { a -- b }", "graph { b -- a }", True, True),
        ("graph { a -- b }", "digraph { a -> b }", False, False),
        ("digraph { a -> b; a -> b }", "digraph { a -> b }", False, False),
        ("strict digraph { a -> b; a -> b }", "digraph { a -> b }", True, True),
        ("digraph { a -> {b c} }", "digraph { a -> b a -> c }", True, True),
        ("digraph { a -> b; c }", "digraph { a -> b }", False, False),
        ("digraph {}", "digraph {}", True, True),
    ],
)  # fmt: skip
def test_what_exact_means(ours: str, gold: str, exact: bool, labelled: bool) -> None:
    found = compare_graphs(parse(ours), parse(gold))
    assert (found.exact, found.exact_labelled) == (exact, labelled)
