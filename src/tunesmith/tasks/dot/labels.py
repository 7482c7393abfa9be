"""Labels that Graphviz parses: HTML-like ones and those of record shapes.

A text can be sound DOT and still make `dot` fail, because a label is a language of its own. The
rules are those of lib/common/htmlparse.y and htmllex.c (HTML-like labels, read by expat as
XML) and of parse_reclbl in lib/common/shapes.c (records), as of Graphviz 2.43.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.entities import name2codepoint
from xml.parsers import expat

from tunesmith.tasks.dot.parse import Graph, Html

LAYOUTS = frozenset("circo dot fdp neato nop nop1 nop2 osage patchwork sfdp twopi".split())
ORDERINGS = frozenset({"out", "in", ""})
EDGE_LABELS = ("label", "headlabel", "taillabel", "xlabel")
_RECORDS = {"record", "Mrecord"}
_WRAPPERS = {"font", "b", "i", "u", "o"}  # of a table
_INLINE = _WRAPPERS | {"s", "sub", "sup"}  # of text
_ELEMENTS = _INLINE | {"table", "tr", "td", "th", "br", "hr", "vr", "img", "html"}
_TEXT, _BLANK = "#text", "#blank"
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
_MARKUP = re.compile(r"(<[^>]*>)")


def label_fault(graph: Graph) -> str | None:
    """Why `dot` would refuse a graph that parses: a label or the layout; None if it would not."""
    layout = graph.attributes.get("layout")
    if layout is None and any("layout" in part.attributes for part in graph.subgraphs):
        layout = ""  # what a subgraph has, the graph has too, as an empty string
    if layout is not None and layout not in LAYOUTS:
        return f"unknown layout {layout!r}"
    ordering = graph.attributes.get("ordering", "")
    if ordering not in ORDERINGS and layout in {None, "dot"}:
        return f"unknown ordering {ordering!r}"
    for where, text in _html_labels(graph):
        if not html_label_ok(text):
            return f"{where}: this HTML-like label is not sound"
    for name, attributes in graph.nodes.items():
        label = attributes.get("label", "")
        record = attributes.get("shape") in _RECORDS and not isinstance(label, Html)
        if record and not record_label_ok(label):
            return f"node {name}: {label!r} is no record label"
    return None


def _html_labels(graph: Graph) -> Iterator[tuple[str, str]]:
    """Whose HTML-like labels there are; an empty one counts as a node's label only.

    (dot takes an empty one there, too, if an empty string was in use before: strings that are
    equal share whether they are HTML. That is not followed here.)
    """
    found = [("graph", graph.attributes.get("label"))]
    found += [
        (subgraph.name, subgraph.attributes.get("label"))
        for subgraph in graph.subgraphs
        if subgraph.name.lower().startswith("cluster") and subgraph.nodes
    ]
    for edge in graph.edges:
        where = f"edge {edge.tail} to {edge.head}"
        found += [(where, edge.attributes.get(key)) for key in EDGE_LABELS]
    nodes = [(f"node {name}", attributes) for name, attributes in graph.nodes.items()]
    found += [(where, attributes.get("xlabel")) for where, attributes in nodes]
    found = [(where, text) for where, text in found if text]
    found += [(where, attributes.get("label")) for where, attributes in nodes]
    return ((where, text) for where, text in found if isinstance(text, Html))


@dataclass(slots=True)
class _Element:
    name: str
    empty: bool = False  # written as <name/>
    children: list[_Element] = field(default_factory=list)


class _LabelFault(Exception):  # noqa: N818 - never leaves this module
    """An element that an HTML-like label does not know."""


def html_label_ok(text: str) -> bool:
    """Whether Graphviz takes `text` (without its outer brackets) as an HTML-like label.

    A picture is refused: no file that an answer names can be counted on.
    """
    try:
        root = _tree(text)
    except (expat.ExpatError, _LabelFault):
        return False
    return _content_ok(root.children)


def _tree(text: str) -> _Element:
    pieces = _MARKUP.split(text)
    pieces[::2] = [_ENTITY.sub(_numeric, piece) for piece in pieces[::2]]
    source = f"<HTML>{''.join(pieces)}</HTML>".encode("utf-8", "surrogatepass")
    parser = expat.ParserCreate("UTF-8")
    root = _Element("")
    stack = [root]

    def start(name: str, _: dict[str, str]) -> None:
        if name.lower() not in _ELEMENTS:
            raise _LabelFault(name)
        tag_end = source.find(b">", parser.CurrentByteIndex)
        element = _Element(name.lower(), source[tag_end - 1 : tag_end] == b"/")
        stack[-1].children.append(element)
        stack.append(element)

    def end(_: str) -> None:
        stack.pop()

    def characters(data: str) -> None:
        kept = "".join(c for c in data if c >= " ")
        if kept:
            stack[-1].children.append(_Element(_TEXT if kept.strip(" ") else _BLANK))

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.Parse(source, True)
    return root.children[0]


def _numeric(entity: re.Match[str]) -> str:
    code = name2codepoint.get(entity.group(1))
    return entity.group() if code is None else f"&#{code};"


def _content_ok(children: list[_Element], *, wrapped: bool = False) -> bool:
    """Text, or one table with blanks around it, perhaps within one wrapper."""
    return _table_ok(children, wrapped=wrapped) or _text_ok(children)


def _table_ok(children: list[_Element], *, wrapped: bool) -> bool:
    solid = [c for c in children if c.name != _BLANK]
    if len(solid) != 1:
        return False
    only = solid[0]
    if only.name in _WRAPPERS and not wrapped and not only.empty and len(children) == 1:
        return _table_ok(only.children, wrapped=True)
    if only.name != "table" or only.empty:
        return False
    return _alternates(only.children, "tr", "hr", _row_ok)


def _row_ok(row: _Element) -> bool:
    return not row.empty and _alternates(row.children, "td", "vr", _cell_ok)


def _cell_ok(cell: _Element) -> bool:
    return not cell.empty and (not cell.children or _content_ok(cell.children))


def _alternates(
    children: list[_Element], item: str, rule: str, check: Callable[[_Element], bool]
) -> bool:
    """One or more items, at most one rule between two; text between them is ignored."""
    kinds = [c for c in children if c.name not in {_TEXT, _BLANK}]
    after_item = False
    for child in kinds:
        if child.name == item:
            if not check(child):
                return False
            after_item = True
        elif child.name == rule and after_item and not child.children:
            after_item = False
        else:
            return False
    return after_item


def _text_ok(children: list[_Element]) -> bool:
    if not children:
        return False
    for child in children:
        if child.name in {_TEXT, _BLANK}:
            continue
        if child.name == "br" and not child.children:
            continue
        if child.name not in _INLINE or child.empty or not _text_ok(child.children):
            return False
    return True


def record_label_ok(label: str) -> bool:
    """Whether parse_reclbl takes the label of a record shape."""
    try:
        _Record("".join(c for c in label if c >= " ")).level(top=True)
    except (_LabelFault, RecursionError):
        return False
    return True


class _Record:
    """parse_reclbl: `held` is what the current field holds (its bits HASPORT, INPORT, ...)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def next(self) -> str:
        """The next character, "" at the end."""
        self.at += 1
        return self.text[self.at - 1 : self.at]

    def level(self, *, top: bool) -> None:
        """One bracket level, with the brace that ends it; _LabelFault where it is at fault."""
        held: set[str] = set()
        while True:
            c = self.next()
            if c in {"", "|", "}"}:
                if "in port" in held or (not c and not top):
                    raise _LabelFault(c)
                if c != "|":
                    return
                held = set()
            elif c == "{":
                if held or self.at >= len(self.text):
                    raise _LabelFault(c)
                self.level(top=False)
                held = {"table"}
            else:
                self.character(c, held)

    def character(self, c: str, held: set[str]) -> None:
        """Text, a port's bracket or an escape; changes what the field holds."""
        if c == "<":
            if held & {"table", "port"}:
                raise _LabelFault(c)
            held |= {"port", "in port"}
            return
        if c == ">":
            if "in port" not in held:
                raise _LabelFault(c)
            held.discard("in port")
            return
        if c == "\\" and self.at < len(self.text):
            c = self.next()
            if c not in "{}|<> ":
                held.add("text")
        if "table" in held and c != " ":
            raise _LabelFault(c)
        if "in port" not in held and c != " ":
            held.add("text")
