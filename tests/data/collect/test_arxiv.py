"""arXiv over the Atom feed of its API, through the kept client library."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from data.collect.servers import Answer, Arxiv, Paper, pdf
from tunesmith.config.collect import ArxivSettings
from tunesmith.data.collect import Collected, Document, collect, read_documents
from tunesmith.data.collect.arxiv import query
from tunesmith.errors import CollectError

WORDS = "Randomised experiments compare two groups of users by their mean."


def gather(
    server: Arxiv, folder: Path, *, limit: int | None = None, **other: Any
) -> tuple[Collected, list[Document]]:
    values = {"base_url": server.url, "categories": ["stat.ME"], "page_size": 2, "interval_s": 0}
    values |= {"backoff_s": 0.01, "attempts": 3, "timeout_s": 20}
    found = collect(ArxivSettings(**(values | other)), folder, limit=limit)
    return found, list(read_documents(found.file))


def papers(count: int, **other: Any) -> list[Paper]:
    return [Paper(f"2401.{n:05}v1", **other) for n in range(count)]


def test_every_page_with_its_metadata(tmp_path: Path) -> None:
    sent = papers(5, title="On\n  $p$-values &amp; more", summary="We show\nthat $x < y$.")
    with Arxiv(sent) as server:
        found, documents = gather(server, tmp_path)
    assert [d.id for d in documents] == [f"arxiv:{p.name.removesuffix('v1')}" for p in sent]
    assert [a.query["start"] for a in server.asked] == ["0", "2", "4"]
    asked = server.asked[0].query
    assert (asked["search_query"], asked["sortBy"], asked["sortOrder"]) == (
        "(cat:stat.ME)",
        "submittedDate",
        "descending",
    )
    one = documents[0]
    assert one.meta["version"] == "1"
    assert one.text == "We show that $x < y$."
    assert one.url == "https://arxiv.org/abs/2401.00000v1"
    assert (one.licence, one.author) == ("CC0-1.0", "Ada Author, Ben Author")
    assert one.date == "2024-01-02T12:00:00+00:00"
    assert one.meta["categories"] == "stat.ME, stat.AP"
    assert found.done


def test_the_query() -> None:
    assert query(["stat.ME", "stat.AP"], ['A/B "test"', "bandit"]) == (
        '(cat:stat.ME OR cat:stat.AP) AND (all:"A/B test" OR all:"bandit")'
    )
    with pytest.raises(ValueError, match="neither categories nor terms"):
        ArxivSettings(terms=[' "'])


def test_calls_keep_their_distance_pdfs_too(tmp_path: Path) -> None:
    assert ArxivSettings(terms="x").interval_s == 3.0
    with Arxiv(papers(2, pdf=pdf(WORDS))) as server:
        gather(server, tmp_path, interval_s=0.3, pdf=True)
    assert server.paths == ["/api/query", "/pdf/2401.00000v1", "/pdf/2401.00001v1"]
    gaps = [b.at - a.at for a, b in zip(server.asked, server.asked[1:], strict=False)]
    assert all(gap >= 0.29 for gap in gaps)


def test_pdfs_with_and_without_text(tmp_path: Path) -> None:
    sent = [
        Paper("2401.00001v1", pdf=pdf(WORDS, WORDS)),
        Paper("2401.00002v1", pdf=pdf("", "")),
        Paper("2401.00003v1", pdf=b"%PDF-1.4 broken"),
        Paper("2401.00004v1"),
    ]
    with Arxiv(sent) as server:
        found, documents = gather(server, tmp_path, pdf=True)
    whole, pictures, broken, refused = documents
    assert f"## Paper\n\n{WORDS}\n\n{WORDS}" in whole.text
    assert whole.licence == ""  # the authors' own, which the API does not say
    assert pictures.text == broken.text == refused.text == "An abstract."
    assert pictures.licence == "CC0-1.0"
    assert pictures.meta["pdf"] == "PDF without text (pictures of pages?)"
    assert broken.meta["pdf"].startswith("PDF cannot be read")
    assert refused.meta["pdf"] == "PDF refused with status 404"
    assert sum(found.skipped.values()) == 3


@pytest.mark.parametrize(
    "fault",
    [
        Answer(status=503),
        Answer(status=429, headers={"Retry-After": "0"}),
        Answer(b"<feed", headers={"Content-Type": "application/atom+xml"}),
        Answer(b"<html><body>Rate exceeded.</body></html>"),
        Answer(b"x" * 5000, sent=100),
        Answer(b"", delay=1.6),
    ],
    ids=["503", "429", "cut feed", "HTML", "cut body", "time-out"],
)
def test_a_bad_answer_is_asked_for_again(tmp_path: Path, fault: Answer) -> None:
    with Arxiv(papers(3)) as server:
        server.faults.extend([None, fault])
        _, documents = gather(server, tmp_path, timeout_s=1 if fault.delay else 20)
    assert len(documents) == 3
    assert len(server.asked) == 3


def test_an_empty_page_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    with Arxiv(papers(6)) as server:
        empty = server.feed([], 2, 2)
        server.faults.extend([None, empty])
        _, documents = gather(server, tmp_path / "a")
        assert len(documents) == 6
        server.faults.extend([None, *[empty] * 3])
        with pytest.raises(CollectError, match="unexpectedly empty at paper 2") as caught:
            gather(server, tmp_path / "b")
        assert "2 documents are saved" in caught.value.message
        server.faults.append(empty)  # the first page that the resumed process asks for
        with pytest.raises(CollectError, match="sends no paper at 2 of the 6"):
            gather(server, tmp_path / "b")
        _, documents = gather(server, tmp_path / "b")
    assert len({d.id for d in documents}) == 6


def test_a_question_that_arxiv_does_not_take(tmp_path: Path) -> None:
    with Arxiv([]) as server:
        error = (
            b"<?xml version='1.0'?><feed xmlns='http://www.w3.org/2005/Atom' "
            b"xmlns:opensearch='http://a9.com/-/spec/opensearch/1.1/'>"
            b"<opensearch:totalResults>1</opensearch:totalResults><entry>"
            b"<id>https://arxiv.org/api/errors#incorrect</id><title>Error</title>"
            b"<summary>incorrect query</summary></entry></feed>"
        )
        server.faults.append(Answer(error))
        with pytest.raises(CollectError, match="incorrect query") as caught:
            gather(server, tmp_path)
    assert "categories" in caught.value.hint
    with pytest.raises(ValueError, match="no arXiv category"):
        ArxivSettings(categories=["statistics (all)"])


def test_a_feed_with_other_dates(tmp_path: Path) -> None:
    with Arxiv(papers(1)) as server:
        feed = server.feed(server.papers, 0, 2)
        server.faults.append(Answer(feed.body.replace(b"2024-01-02T12:00:00Z", b"yesterday")))
        with pytest.raises(CollectError, match="not the Atom that this version knows"):
            gather(server, tmp_path)


def test_a_limit_and_nothing_found(tmp_path: Path) -> None:
    with Arxiv(papers(6)) as server:
        found, documents = gather(server, tmp_path / "a", limit=3)
        assert (len(documents), found.done) == (3, False)
        assert len(server.asked) == 2
    with Arxiv([]) as server:
        found, documents = gather(server, tmp_path / "b")
    assert (documents, found.done) == ([], True)


def test_pages_are_asked_for_once_a_day_and_a_new_version_replaces_the_old(tmp_path: Path) -> None:
    with Arxiv(papers(5)) as server:
        cache = tmp_path / "http.sqlite"
        values = {"base_url": server.url, "categories": "stat.ME", "page_size": 2, "interval_s": 0}
        settings = ArxivSettings(**values, backoff_s=0.01, attempts=2)
        collect(settings, tmp_path / "one", cache=cache)
        two = collect(settings, tmp_path / "two", cache=cache)
        assert (two.documents, len(server.asked)) == (5, 3)
        later = Paper("2401.00003v2", summary="Corrected.")
        server.papers = [Paper("2402.00001v1"), *server.papers[:3], later, *server.papers[4:]]
        found = collect(settings, tmp_path / "two", cache=cache, refresh=True)
        assert len(server.asked) == 6
    assert (found.documents, found.new, found.changed, found.repeated) == (6, 1, 1, 4)
    by_id = {d.id: d for d in read_documents(found.file)}
    assert len(by_id) == 6
    assert by_id["arxiv:2401.00003"].text == "Corrected."
    assert by_id["arxiv:2401.00003"].meta["version"] == "2"


def test_a_pdf_that_is_cut_is_asked_for_again(tmp_path: Path) -> None:
    body = gzip.compress(pdf(WORDS))
    with Arxiv(papers(1, pdf=pdf(WORDS))) as server:
        cut = Answer(body[:-20], headers={"Content-Encoding": "gzip", "ETag": '"x"'})
        server.faults.extend([None, cut])
        _, documents = gather(server, tmp_path, pdf=True)
    assert server.paths == ["/api/query", *["/pdf/2401.00000v1"] * 2]
    assert WORDS in documents[0].text


def test_a_dead_host_says_what_is_saved(tmp_path: Path) -> None:
    with Arxiv(papers(4)) as server:
        gather(server, tmp_path, limit=2)
    with pytest.raises(CollectError, match="cannot be reached") as caught:
        gather(server, tmp_path)
    assert "2 documents are saved" in caught.value.message
    assert "The same command goes on from there" in caught.value.hint
