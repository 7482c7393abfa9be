"""Drawings of what a model wrote are drawings and nothing else."""

from __future__ import annotations

import shutil

import pytest

from tunesmith.report.drawing import draw_dot, sanitise

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz (dot) is not here")


@needs_dot
def test_a_graph_is_drawn() -> None:
    svg = draw_dot('digraph { idle -> busy [label="start & go"] }')
    assert svg is not None
    assert svg.startswith("<svg")
    assert "viewBox" in svg
    assert "start &amp; go" in svg
    assert "<path" in svg
    assert "ellipse" in svg


@needs_dot
@pytest.mark.parametrize("source", ["digraph { a -> ", "no graph", "", "digraph {" + "a;" * 20_000])
def test_what_is_no_graph_is_not_drawn(source: str) -> None:
    assert draw_dot(source) is None


@needs_dot
def test_a_graph_cannot_link_nor_load() -> None:
    svg = draw_dot(
        'digraph { a [URL="javascript:alert(1)" image="/etc/hostname" tooltip="<script>"];'
        ' b [stylesheet="http://example.org/x.css"]; a -> b [href="http://example.org"] }'
    )
    assert svg is not None
    for word in ("javascript", "href", "<a", "<script", "example.org", "image", "hostname"):
        assert word not in svg


def test_only_shapes_and_text_are_kept() -> None:
    svg = sanitise(
        '<?xml version="1.0"?><!DOCTYPE svg><svg xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink" width="10pt" height="20pt" onload="x()">'
        "<script>alert(1)</script><style>@import 'http://e.org'</style>"
        '<foreignObject><iframe src="http://e.org"/></foreignObject>'
        '<a xlink:href="http://e.org"><text x="1" onclick="x()">kept</text></a>'
        '<image href="http://e.org/a.png"/><use href="#b"/>'
        '<path d="M0,0" fill="url(http://e.org/#g)" stroke="black" style="x"/></svg>'
    )
    assert svg is not None
    assert '<text x="1">kept</text>' in svg
    assert '<path d="M0,0" stroke="black" />' in svg
    assert 'viewBox="0 0 10 20"' in svg
    for word in ("script", "style", "iframe", "e.org", "onload", "onclick", "<use", "<a"):
        assert word not in svg


@pytest.mark.parametrize(
    "text",
    ["", "<html/>", "<svg", '<!DOCTYPE svg [<!ENTITY a "b">]><svg>&a;</svg>', "<svg>" * 9],
)
def test_what_is_no_svg_is_dropped(text: str) -> None:
    assert sanitise(text) is None
