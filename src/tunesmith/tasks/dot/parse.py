"""DOT text to a graph: nodes and edges with their attributes, subgraphs resolved.

The semantics are Graphviz's (https://graphviz.org/doc/info/lang.html and lib/cgraph): an edge to a
subgraph is an edge to each of its nodes; defaults hold from where they stand to the end of their
scope, for what is made after them; a strict graph has one edge between two nodes, and so has any
graph for edges with the same `key`; a subgraph that is named twice is one subgraph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from lark import Lark, Token, Tree, UnexpectedInput

from tunesmith.tasks.dot.lexer import DotLexer, DotSyntaxError, Html

__all__ = ["DotSyntaxError", "Edge", "Graph", "Html", "parse", "parse_all"]

GRAMMAR = Path(__file__).with_name("grammar.lark")
Attributes = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge with its attributes, defaults included; ports stand as `tailport`, `headport`."""

    tail: str
    head: str
    attributes: Attributes = field(hash=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subgraph:
    """A subgraph: its name ("" where it has none), its own attributes, all nodes within it."""

    name: str
    attributes: Attributes
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """A parsed graph: nodes with their attributes, defaults included; edges in their order.

    A value that was written as an HTML string is an `Html`.
    """

    directed: bool
    strict: bool
    name: str
    nodes: Mapping[str, Attributes]
    edges: tuple[Edge, ...]
    attributes: Attributes
    subgraphs: tuple[Subgraph, ...] = ()

    def ends(self, edge: Edge) -> tuple[str, str]:
        """An edge's ends as they are compared: in order where the graph is directed."""
        if self.directed or edge.tail <= edge.head:
            return edge.tail, edge.head
        return edge.head, edge.tail


def parse(text: str) -> Graph:
    """The first graph of a DOT text that is sound as a whole; DotSyntaxError otherwise."""
    return parse_all(text)[0]


def parse_all(text: str) -> tuple[Graph, ...]:
    """Every graph of a DOT text, at least one; DotSyntaxError where Graphviz would refuse it."""
    try:
        tree = _parser().parse(text)
        return tuple(_Builder(graph).graph() for graph in tree.children)
    except UnexpectedInput as error:
        line = error.line if isinstance(error.line, int) and error.line > 0 else 1
        token = getattr(error, "token", None)
        what = f"unexpected {str(token)!r}" if token else "the text ends before the graph does"
        raise DotSyntaxError(what, line) from error
    except RecursionError as error:
        raise DotSyntaxError("subgraphs are nested too deeply", 1) from error


@cache
def _parser() -> Any:
    return Lark(GRAMMAR.read_text("utf-8"), parser="lalr", lexer=DotLexer, maybe_placeholders=False)


@dataclass(slots=True)
class _Scope:
    """One brace level: its defaults for nodes and edges, its own attributes, its nodes."""

    name: str
    node: dict[str, str]
    edge: dict[str, str]
    graph: dict[str, str]
    members: dict[str, None] = field(default_factory=dict)


class _Builder:
    """Walks the tree of one graph once, in the order of the text."""

    def __init__(self, tree: Tree[Token]) -> None:
        words = [c.type for c in tree.children if isinstance(c, Token)]
        self.strict, self.directed = "STRICT" in words, "DIGRAPH" in words
        names = [c for c in _trees(tree.children) if c.data == "atom"]
        self.nodes: dict[str, dict[str, str]] = {}
        self.edges: list[tuple[str, str, dict[str, str]]] = []
        self.known: dict[tuple[str, str, str], int] = {}
        self.named: dict[str, _Scope] = {}
        self.scopes: list[_Scope] = []
        self.top = _Scope(_atom(names[0]) if names else "", {}, {}, {})
        self.body(_body(tree), self.top)

    def graph(self) -> Graph:
        return Graph(
            directed=self.directed,
            strict=self.strict,
            name=self.top.name,
            nodes=self.nodes,
            edges=tuple(Edge(*edge) for edge in self.edges),
            attributes=self.top.graph,
            subgraphs=tuple(Subgraph(s.name, s.graph, tuple(s.members)) for s in self.scopes),
        )

    def body(self, body: Tree[Token], scope: _Scope) -> None:
        for statement in _trees(body.children):
            if statement.data == "attributes":
                kind = next(c.type for c in statement.children if isinstance(c, Token))
                target = {"NODE": scope.node, "EDGE": scope.edge, "GRAPH": scope.graph}[kind]
                target |= _pairs(statement.children[-1])
            elif statement.data == "assignment":
                name, value = statement.children
                scope.graph[_atom(name)] = _atom(value)
            else:
                self.compound(statement, scope)

    def compound(self, statement: Tree[Token], scope: _Scope) -> None:
        parts = _trees(statement.children)
        own = _pairs(parts.pop()) if parts[-1].data == "attribute_list" else {}
        groups = [self.ends(part, scope) for part in parts]
        if len(groups) == 1:
            if parts[0].data == "node_list":
                for name, _ in groups[0]:
                    self.nodes[name] |= own
            return
        for tails, heads in pairwise(groups):
            for tail, tail_port in tails:
                for head, head_port in heads:
                    ports = {"tailport": tail_port, "headport": head_port}
                    given = {k: v for k, v in ports.items() if v} | own
                    self.edge(tail, head, given, scope)

    def edge(self, tail: str, head: str, own: dict[str, str], scope: _Scope) -> None:
        ends = (tail, head) if self.directed or tail <= head else (head, tail)
        key = None
        if self.strict or "key" in own:
            key = (*ends, "" if self.strict else own["key"])
        if key is not None and key in self.known:
            self.edges[self.known[key]][2].update(own)
            return
        if key is not None:
            self.known[key] = len(self.edges)
        self.edges.append((tail, head, scope.edge | own))

    def ends(self, part: Tree[Token], scope: _Scope) -> list[tuple[str, str]]:
        """(node, port) of every node that one side of an edge stands for."""
        if part.data == "subgraph":
            inner = self.subgraph(part, scope)
            return [(name, "") for name in inner.members]
        found = []
        for node in _trees(part.children):
            name, *port = (_atom(atom) for atom in node.children)
            self.nodes.setdefault(name, dict(scope.node))
            scope.members.setdefault(name)
            found.append((name, ":".join(port)))
        return found

    def subgraph(self, part: Tree[Token], outer: _Scope) -> _Scope:
        atoms = [c for c in _trees(part.children) if c.data == "atom"]
        name = _atom(atoms[0]) if atoms else ""
        inner = self.named.get(name) if name else None
        if inner is None:
            inner = _Scope(name, dict(outer.node), dict(outer.edge), dict(outer.graph))
            self.scopes.append(inner)
            if name:
                self.named[name] = inner
        self.body(_body(part), inner)
        outer.members |= inner.members
        return inner


def _trees(children: Iterable[Any]) -> list[Any]:
    return [child for child in children if isinstance(child, Tree)]


def _body(tree: Tree[Token]) -> Tree[Token]:
    return next(c for c in tree.children if isinstance(c, Tree) and c.data == "body")


def _atom(tree: Any) -> str:
    """What an atom says; an HTML string that is added to another is plain text."""
    first = tree.children[0]
    if first.type == "HTML" and len(tree.children) == 1:
        return Html(first.value)
    return "".join(token.value for token in tree.children)


def _pairs(attribute_list: Any) -> dict[str, str]:
    """Attributes of one or more bracketed lists; the last of a name stands."""
    return {
        _atom(pair.children[0]): _atom(pair.children[1]) for pair in _trees(attribute_list.children)
    }
