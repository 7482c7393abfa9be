"""Files in passages: Markdown, HTML, PDF, text; what is not text is named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.collect.servers import pdf
from tunesmith.config.collect import FilesSettings
from tunesmith.data.collect import Collected, Document, collect, read_documents
from tunesmith.data.collect.passages import passages
from tunesmith.errors import CollectError

LONG = "A sentence of some length stands here. " * 12


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "deep").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "a.md").write_text("hidden")
    return folder


def gather(folder: Path, **other: Any) -> tuple[Collected, list[Document]]:
    values = {"paths": [str(folder)], "licence": "CC0-1.0"}
    found = collect(FilesSettings(**(values | other)), folder.parent / "collected")
    return found, list(read_documents(found.file))


def test_every_kind_of_file(docs: Path) -> None:
    (docs / "a.md").write_text(f"# Guide\n\n{LONG}\n\n## Install\n\n{LONG}\n")
    (docs / "b.html").write_text(
        "<html><head><title>Page &amp; more</title><meta name='author' content='Ann'></head><body>"
        f"<nav>menu</nav><main><h1>Page</h1><p>{LONG} Is $a_1 * b_2$?</p>"
        "<script>x()</script></main>"
        "</body></html>"
    )
    (docs / "deep" / "c.pdf").write_bytes(pdf("The first page says so.\nIt does.", title="Paper"))
    (docs / "d.txt").write_text("\ufeffplain words", encoding="utf-8")
    (docs / "code.py").write_text("not read")
    found, documents = gather(docs, author="Me", url="https://example.org/")
    by_id = {d.id: d for d in documents}
    assert list(by_id) == [
        "file:docs/a.md#1",
        "file:docs/a.md#2",
        "file:docs/b.html#1",
        "file:docs/d.txt#1",
        "file:docs/deep/c.pdf#1",
    ]
    assert by_id["file:docs/a.md#1"].title == "Guide"
    assert by_id["file:docs/a.md#2"].title == "Guide > Install"
    assert by_id["file:docs/a.md#2"].text.startswith("## Install\n\nA sentence")
    page = by_id["file:docs/b.html#1"]
    assert (page.title, page.author) == ("Page & more", "Me")
    assert page.text.startswith("# Page\n\nA sentence")
    assert page.text.endswith("Is $a_1 * b_2$?")
    assert "menu" not in page.text
    assert by_id["file:docs/deep/c.pdf#1"].title == "Paper"
    assert by_id["file:docs/d.txt#1"].text == "plain words"
    assert page.url == "https://example.org/docs/b.html"
    assert {d.licence for d in documents} == {"CC0-1.0"}
    assert (found.skipped, found.done) == ({}, True)


def test_what_holds_no_text_is_named(docs: Path) -> None:
    (docs / "a.pdf").write_bytes(pdf("", ""))
    (docs / "b.pdf").write_bytes(b"%PDF-1.7 cut")
    (docs / "c.md").write_bytes(b"caf\xe9 au lait")
    (docs / "d.txt").write_bytes(b"a\0b")
    (docs / "e.md").write_text("  \n")
    (docs / "f.md").write_text("sound")
    found, documents = gather(docs)
    assert [d.id for d in documents] == ["file:docs/f.md#1"]
    assert list(found.skipped) == [
        "docs/a.pdf: PDF without text (pictures of pages?)",
        "docs/b.pdf: PDF cannot be read (PdfStreamError)",
        "docs/c.md: not UTF-8 (byte 3)",
        "docs/d.txt: no text (it holds NUL bytes)",
        "docs/e.md: no text in it",
    ]


def test_names_do_not_tell_where_files_lie(
    docs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (docs / "a.md").write_text("words")
    for number, path in enumerate((str(docs), str(docs / "*.md"), str(docs / "a.md"))):
        settings = FilesSettings(paths=path)
        found = collect(settings, tmp_path / str(number))
        (one,) = read_documents(found.file)
        assert one.id in {"file:docs/a.md#1", "file:a.md#1"}
    monkeypatch.chdir(tmp_path)
    found = collect(FilesSettings(paths="docs/**/*.md"), tmp_path / "x")
    assert [d.id for d in read_documents(found.file)] == ["file:docs/a.md#1"]
    other = tmp_path / "other" / "docs"
    other.mkdir(parents=True)
    (other / "a.md").write_text("words")
    with pytest.raises(CollectError, match=r"two files would be called docs/a\.md"):
        collect(FilesSettings(paths=(str(docs), str(other))), tmp_path / "y")
    with pytest.raises(CollectError, match=r"files that end in '\.docx'"):
        (docs / "x.docx").write_text("")
        collect(FilesSettings(paths=str(docs / "x.docx")), tmp_path / "z")


def test_headings_cut_and_code_does_not() -> None:
    code = "```sh\n# no heading\n```"
    text = f"intro {LONG}\n\n# One #\n{LONG}\n{code}\n## Two\n{LONG}\n# Three\n{LONG}"
    found = passages(text, longest=4000, shortest=100)
    assert [p.heading for p in found] == ["", "One", "One > Two", "Three"]
    assert "# no heading" in found[1].text


def test_short_passages_are_joined() -> None:
    text = "# A\n\nshort\n\n## B\n\nshort, too\n\n## C\n\n" + LONG
    (one, two) = passages(text, longest=500, shortest=50)
    assert one.text == "# A\n\nshort\n\n## B\n\nshort, too"
    assert (one.heading, two.heading) == ("A", "A > C")
    assert len(passages(text, longest=4000, shortest=0)) == 3


@given(
    st.lists(
        st.sampled_from(["# H", "## I", "word " * 30, "x" * 70, "", "```", "A. B. "]), max_size=40
    ),
    st.integers(200, 400),
    st.integers(0, 150),
)
def test_nothing_is_lost_and_nothing_is_too_long(
    lines: list[str], longest: int, shortest: int
) -> None:
    text = "\n".join(lines)
    found = passages(text, longest=longest, shortest=shortest)
    assert all(0 < len(p.text) <= longest for p in found)
    assert re.sub(r"\s", "", "".join(p.text for p in found)) == re.sub(r"\s", "", text)


def test_files_that_change_come_and_go_are_noticed(docs: Path) -> None:
    for name in "abc":
        (docs / f"{name}.md").write_text(f"words of {name}")
    (docs / "b.md").write_text(f"# One\n{LONG}\n# Two\n{LONG}")
    first, _ = gather(docs)
    assert (first.documents, first.done) == (4, True)
    (docs / "b.md").write_text("said shorter")
    (docs / "c.md").unlink()
    (docs / "0.md").write_text("new")
    (docs / "e.md").write_bytes(b"\xff")
    found, documents = gather(docs)
    assert (found.new, found.changed, found.removed) == (1, 1, 2)
    assert {d.id: d.text for d in documents} == {
        "file:docs/a.md#1": "words of a",
        "file:docs/b.md#1": "said shorter",
        "file:docs/0.md#1": "new",
    }
    assert found.skipped == {"docs/e.md: not UTF-8 (byte 0)": 1}
    (docs / "e.md").write_text("mended")
    found, documents = gather(docs)
    assert (found.new, found.changed, found.removed, found.skipped) == (1, 0, 0, {})
    found, _ = gather(docs)
    assert (found.documents, found.new, found.changed, found.repeated) == (4, 0, 0, 0)


def test_a_file_that_is_added_before_where_it_stopped_is_not_missed(docs: Path) -> None:
    for name in "bcd":
        (docs / f"{name}.md").write_text(f"words of {name}")
    assert not gather(docs, limit=2)[0].done
    (docs / "a.md").write_text("late")
    found, documents = gather(docs)
    assert sorted(d.text for d in documents) == ["late", "words of b", "words of c", "words of d"]
    assert (found.documents, found.done) == (4, True)


def test_a_change_is_taken_in_whatever_the_limit(docs: Path) -> None:
    for name in "abc":
        (docs / f"{name}.md").write_text(f"words of {name}")
    gather(docs, limit=2)
    (docs / "b.md").write_text("said better")
    found, documents = gather(docs, limit=2)
    assert {d.text for d in documents} == {"words of a", "said better"}
    assert (found.new, found.changed) == (0, 1)
