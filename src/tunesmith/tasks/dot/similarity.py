"""How like two graphs are: their nodes as a set, their edges as a multiset.

Names count, layout and attributes do not, except an edge's `label` in the two labelled figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass

from tunesmith.tasks.dot.parse import Edge, Graph


@dataclass(frozen=True, slots=True)
class Overlap:
    """Precision, recall and F1 of one multiset against another; 1 where both are empty."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Similarity:
    """A graph against the gold one.

    `exact`: same directedness, same nodes, same edges as often. `exact_labelled`: the edges' labels
    are the same as well. `labelled_edges`: edges told apart by ends and label.
    """

    exact: bool
    exact_labelled: bool
    nodes: Overlap
    edges: Overlap
    labelled_edges: Overlap


def compare_graphs(ours: Graph, gold: Graph) -> Similarity:
    """How like `ours` is to `gold`; an edge of an undirected graph has no direction."""
    our_edges, gold_edges = Counter(_edges(ours)), Counter(_edges(gold))
    our_labelled, gold_labelled = Counter(_labelled(ours)), Counter(_labelled(gold))
    same = ours.directed == gold.directed and ours.nodes.keys() == gold.nodes.keys()
    return Similarity(
        exact=same and our_edges == gold_edges,
        exact_labelled=same and our_labelled == gold_labelled,
        nodes=_overlap(Counter(list(ours.nodes)), Counter(list(gold.nodes))),
        edges=_overlap(our_edges, gold_edges),
        labelled_edges=_overlap(our_labelled, gold_labelled),
    )


def _edges(graph: Graph) -> list[Hashable]:
    return [(graph.directed, *graph.ends(edge)) for edge in graph.edges]


def _labelled(graph: Graph) -> list[Hashable]:
    return [(graph.directed, *graph.ends(edge), _label(edge)) for edge in graph.edges]


def _label(edge: Edge) -> str:
    """An edge's label as it is read: line breaks of any alignment are spaces."""
    text = edge.attributes.get("label", "")
    for escape in ("\\n", "\\l", "\\r"):
        text = text.replace(escape, " ")
    return " ".join(text.split())


def _overlap(ours: Counter[Hashable], gold: Counter[Hashable]) -> Overlap:
    n_ours, n_gold, both = ours.total(), gold.total(), (ours & gold).total()
    if n_ours == n_gold == 0:
        return Overlap(1.0, 1.0, 1.0)
    precision = both / n_ours if n_ours else 0.0
    recall = both / n_gold if n_gold else 0.0
    return Overlap(precision, recall, 2 * both / (n_ours + n_gold))
