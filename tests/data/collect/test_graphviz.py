"""A Graphviz site: its gallery and its documentation, as Hugo writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data.collect.servers import Answer, Server, pages
from tunesmith.config.collect import GraphvizSettings
from tunesmith.data.collect import Collected, Document, collect, read_documents
from tunesmith.data.collect.graphviz import read_page
from tunesmith.errors import CollectError
from tunesmith.tasks.dot import valid

FSM = 'digraph finite_state_machine {\n  rankdir=LR;\n  LR_0 -> LR_2 [label="SS(B)"];\n}'
CLUSTER = "// a comment\ndigraph G { subgraph cluster_0 { a0 -> a1 } }"


def page(title: str, body: str) -> str:
    return (
        f"<html><head><title>{title} | Graphviz</title></head><body><nav><a href='/about/'>About"
        f"</a></nav><main><div class='td-content'><h1>{title}</h1>{body}</div></main>"
        "<footer><a href='https://elsewhere.example/gallery/'>x</a></footer></body></html>"
    )


def highlighted(dot: str) -> str:
    inner = dot.replace("->", "<span class='o'>-&gt;</span>")
    return (
        "<div class='highlight'><pre tabindex='0'><code class='language-dot' data-lang='dot'>"
        f"{inner}\n</code></pre></div>"
    )


SITE = {
    "/gallery/": page(
        "Gallery",
        "<p><a href='/Gallery/directed/fsm.html'>FSM</a> <a href='/Gallery/directed/c.html#x'>C</a>"
        " <a href='/Gallery/directed/fsm.svg'>picture</a> <a href='/Gallery/gone.html'>gone</a>"
        " <a href='/Gallery/private/a.html'>private</a></p>",
    ),
    "/Gallery/directed/fsm.html": page(
        "Finite Automaton",
        "<p>The graph below shows a finite <em>automaton</em>.</p><p>[<a "
        "href='/Gallery/directed/fsm.gv.txt'>Input</a>] [<a href='fsm.svg'>SVG</a>]</p>"
        + highlighted(FSM)
        + "<a href='/gallery/'>back</a>",
    ),
    "/Gallery/directed/fsm.gv.txt": FSM + "\n",
    "/Gallery/directed/c.html": page(
        "Cluster", "<p>Two clusters.</p><ul><li><a href='c.gv.txt'>Input</a></li></ul>"
    ),
    "/Gallery/directed/c.gv.txt": CLUSTER,
    "/Gallery/private/a.html": page("Private", "<p>x</p>" + highlighted(FSM)),
    "/docs/attrs/": page("Attributes", "<a href='/docs/attrs/rankdir/'>rankdir</a>"),
    "/docs/attrs/rankdir/": page(
        "rankdir",
        "<p>Sets direction.</p><h2>Example</h2><p>From left to right:</p>"
        + highlighted("graph { rankdir=LR a -- b }")
        + "<h2>Broken</h2><p>Do not do this:</p>"
        + highlighted("digraph { a -> }")
        + highlighted("dot -Tsvg a.gv")
        + "<h2>Bare</h2>"
        + highlighted("graph { c }"),
    ),
    "/robots.txt": "User-agent: *\nDisallow: /Gallery/private/\n",
}


def gather(server: Server, folder: Path, **other: Any) -> tuple[Collected, list[Document]]:
    values = {"base_url": server.url, "interval_s": 0, "backoff_s": 0.01, "attempts": 2}
    found = collect(GraphvizSettings(**(values | other)), folder)
    return found, list(read_documents(found.file))


def test_every_graph_with_what_is_said_of_it(tmp_path: Path) -> None:
    with pages(dict(SITE)) as server:
        found, documents = gather(server, tmp_path)
        by_id = {d.id: d for d in documents}
        assert set(by_id) == {
            "graphviz:/Gallery/directed/fsm.html#1",
            "graphviz:/Gallery/directed/c.html#1",
            "graphviz:/docs/attrs/rankdir/#1",
            "graphviz:/docs/attrs/rankdir/#3",
        }
        fsm = by_id["graphviz:/Gallery/directed/fsm.html#1"]
        assert fsm.title == "Finite Automaton"
        assert fsm.text == "The graph below shows a finite *automaton*."
        assert fsm.answer == FSM
        assert fsm.url == f"{server.url}/Gallery/directed/fsm.html"
        assert (fsm.licence, fsm.meta["kind"]) == ("EPL-2.0", "described")
        linked = by_id["graphviz:/Gallery/directed/c.html#1"]
        assert (linked.text, linked.answer) == ("Two clusters.", CLUSTER)
        assert linked.meta["file"].endswith("/c.gv.txt")
        assert by_id["graphviz:/docs/attrs/rankdir/#1"].text == "From left to right:"
        assert by_id["graphviz:/docs/attrs/rankdir/#3"].text == "Bare"
    assert found.skipped == {
        "closed to programs by robots.txt": 1,
        "page refused with status 404": 1,
        "not valid DOT": 1,
    }
    assert all(valid(d.answer or "") for d in documents)
    visited = [p for p in server.paths if not p.endswith((".txt", ".svg"))]
    assert len(visited) == len(set(visited))
    assert "/about/" not in visited
    assert "/Gallery/private/a.html" not in visited


def test_asked_again_only_what_changed_is_sent(tmp_path: Path) -> None:
    with pages(dict(SITE)) as server:
        from tunesmith.data.collect import collect as run

        settings = GraphvizSettings(base_url=server.url, interval_s=0)
        for name in "ab":
            run(settings, tmp_path / name, cache=tmp_path / "cache.sqlite")
        half = len(server.asked) // 2
        again = [a for a in server.asked[half:] if a.path != "/Gallery/gone.html"]
    assert all("if-none-match" in a.headers for a in again)
    assert (tmp_path / "a" / "documents.jsonl").read_bytes() == (
        tmp_path / "b" / "documents.jsonl"
    ).read_bytes()


def test_a_crawl_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    with pages(dict(SITE)) as server:
        server.faults.extend([None, None, None, *[Answer(status=503)] * 2])
        with pytest.raises(CollectError, match="answers 503; tried 2 times"):
            gather(server, tmp_path)
        found, documents = gather(server, tmp_path)
    assert len(documents) == 4
    assert found.done


def test_a_start_page_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pages({}) as server, pytest.raises(CollectError, match="answers 404 to /gallery/"):
        gather(server, tmp_path)


def test_a_site_that_refuses_its_robots_txt(tmp_path: Path) -> None:
    refused = pytest.raises(CollectError, match=r"refuses its robots\.txt")
    with Server(lambda _: Answer(status=403)) as server, refused:
        gather(server, tmp_path)


def test_so_many_pages_and_no_more(tmp_path: Path) -> None:
    with pages(dict(SITE)) as server:
        found, documents = gather(server, tmp_path, pages=3)
    assert found.done
    assert [d.id for d in documents] == ["graphviz:/Gallery/directed/fsm.html#1"]


def test_a_page_without_a_title_or_words() -> None:
    found = read_page("<pre>graph { a }</pre>", "http://x/y")
    assert [p.dot for p in found.pairs] == ["graph { a }"]
    assert found.title == ""
