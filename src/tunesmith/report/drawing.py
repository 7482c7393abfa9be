"""Graphs in the DOT language as inline SVG, drawn by Graphviz where it is installed.

A model wrote the graph, so neither the drawing nor what comes out of it is trusted: Graphviz may
read no file and is stopped after some seconds (https://graphviz.org/doc/info/security.html), and
of its SVG only shapes and text are kept: no link, no script, no style, no reference to anything.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from xml.etree import ElementTree

SECONDS = 5
MOST_SOURCE = 20_000  # characters
MOST_SVG = 200_000  # characters

SVG = "http://www.w3.org/2000/svg"
ELEMENTS = frozenset({"svg", "g", "title", "polygon", "polyline", "ellipse", "path", "text"})
PLACE = {"viewBox", "width", "height", "transform", "points", "d", "cx", "cy", "rx", "ry", "x", "y"}
PAINT = {"fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray"}
LETTERS = {"text-anchor", "font-family", "font-size", "font-weight"}
ATTRIBUTES = frozenset(PLACE | PAINT | LETTERS)
REACHES_OUT = re.compile(r"url\s*\(|expression|javascript:|@import", re.IGNORECASE)


def draw_dot(source: str) -> str | None:
    """The SVG of a graph in DOT, None where it is none or Graphviz is not here."""
    dot = shutil.which("dot")
    if dot is None or len(source) > MOST_SOURCE or "{" not in source:
        return None
    try:
        done = subprocess.run(
            [dot, "-Tsvg", "-Gbgcolor=transparent"],
            input=source.encode("utf-8", "replace"),
            capture_output=True,
            timeout=SECONDS,
            # With SERVER_NAME set, Graphviz reads no file outside GV_FILE_PATH.
            env={"PATH": os.environ.get("PATH", ""), "SERVER_NAME": "report", "GV_FILE_PATH": ""},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return sanitise(done.stdout.decode("utf-8", "replace")) if done.returncode == 0 else None


def sanitise(svg: str) -> str | None:
    """The shapes and texts of an SVG and nothing else; None where it cannot be read as one."""
    if len(svg) > MOST_SVG or "<!ENTITY" in svg:
        return None
    try:
        root = ElementTree.fromstring(svg[max(0, svg.find("<svg")) :])
    except ElementTree.ParseError:
        return None
    if _name(root) != "svg":
        return None
    clean = _clean(root)
    width, height = root.get("width", ""), root.get("height", "")
    if "viewBox" not in clean.attrib and width and height:
        clean.set("viewBox", f"0 0 {width.rstrip('ptx')} {height.rstrip('ptx')}")
    clean.set("xmlns", SVG)
    clean.set("role", "img")
    clean.set("aria-label", "the graph, drawn")
    return ElementTree.tostring(clean, encoding="unicode")


def _name(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _clean(element: ElementTree.Element) -> ElementTree.Element:
    """A copy with only harmless elements and attributes; a link leaves its content behind."""
    copy = ElementTree.Element(
        _name(element),
        {
            key: value
            for key, value in element.attrib.items()
            if key in ATTRIBUTES and not REACHES_OUT.search(value)
        },
    )
    copy.text = element.text if _name(element) in ("title", "text") else None
    for child in element:
        if _name(child) in ELEMENTS:
            copy.append(_clean(child))
        elif _name(child) == "a":
            copy.extend(_clean(inner) for inner in child if _name(inner) in ELEMENTS)
    return copy
