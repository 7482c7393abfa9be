"""One cache for several collections, and a collection that is brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data.collect.servers import Answer, StackExchange, answer, question
from data.collect.test_stack_exchange import many, settings
from tunesmith.data.collect import Collected, collect, read_documents
from tunesmith.errors import CollectError


def shared(server: StackExchange, folder: Path, **other: Any) -> Collected:
    """Collected with the one cache of a home."""
    refresh = other.pop("refresh", False)
    cache = folder.parent / "http.sqlite"
    return collect(settings(server, **other), folder, cache=cache, refresh=refresh)


def test_a_day_old_page_is_not_asked_for_by_another_collection(tmp_path: Path) -> None:
    with StackExchange(many(11)) as server:
        one = shared(server, tmp_path / "one")
        calls, server.quota = len(server.asked), 0
        server.backoffs.append(900)
        two = shared(server, tmp_path / "two", min_answer_score=0)
        assert len(server.asked) == calls == 6
    assert one.documents == two.documents == 10


def test_a_quota_of_an_earlier_day_stops_nobody(tmp_path: Path) -> None:
    with StackExchange(many(11), quota=2) as server:
        with pytest.raises(CollectError, match="quota"):
            shared(server, tmp_path / "one")
        server.quota = 300
        found = shared(server, tmp_path / "two")  # its first page comes from the disk
    assert (found.documents, len(server.asked)) == (10, 6)


def test_a_refresh_adds_what_is_new_and_replaces_what_changed(tmp_path: Path) -> None:
    with StackExchange(many(11)) as server:
        first = shared(server, tmp_path / "c")
        assert first.finished
        again = shared(server, tmp_path / "c")
        assert (again.new, again.finished, len(server.asked)) == (0, first.finished, 6)
        server.questions = [question(99, answers=[answer(5000)]), *many(11)]
        changed = server.questions[3]
        server.questions[3] = changed | {"body": "<p>Said better</p>"}
        found = shared(server, tmp_path / "c", refresh=True)
    assert (found.documents, found.new, found.changed, found.repeated) == (11, 1, 1, 9)
    documents = list(read_documents(found.file))
    assert len({d.id for d in documents}) == len(documents) == 11
    assert [d.text for d in documents].count("Said better") == 1


def test_a_refresh_that_was_stopped_goes_on_and_serves_nothing_old(tmp_path: Path) -> None:
    fault = Answer(status=503)
    with StackExchange(many(11)) as server:
        shared(server, tmp_path / "c")
        server.questions = [q | {"score": 50} for q in server.questions]
        server.faults.extend([None, None, fault, fault, fault])
        with pytest.raises(CollectError, match="10 documents are saved"):
            shared(server, tmp_path / "c", refresh=True)
        asked = len(server.asked)
        found = shared(server, tmp_path / "c")  # without the word
        assert len(server.asked) - asked == 4  # two pages of three with their answers
    assert (found.documents, found.changed, found.done) == (10, 6, True)
    assert {d.meta["score"] for d in read_documents(found.file)} == {"50"}


def test_a_refresh_of_a_limited_collection_walks_as_far(tmp_path: Path) -> None:
    with StackExchange(many(21), quota=1000) as server:
        shared(server, tmp_path / "c", limit=8)
        server.questions = [question(99, answers=[answer(5000)]), *many(21)]
        found = shared(server, tmp_path / "c", limit=8, refresh=True)
        assert (found.documents, found.new, found.done) == (9, 1, False)
        found = shared(server, tmp_path / "c", limit=8, refresh=True)
        assert (found.documents, found.new, found.repeated) == (9, 0, 8)
        found = shared(server, tmp_path / "c", limit=8)
        assert (found.new, found.pages) == (0, 0)


def test_a_dead_host_says_what_is_saved(tmp_path: Path) -> None:
    with StackExchange(many(11)) as server:
        shared(server, tmp_path / "c", limit=4)
    with pytest.raises(CollectError, match="cannot be reached") as caught:
        shared(server, tmp_path / "c")
    assert f"4 documents are saved in {tmp_path / 'c'}" in caught.value.message
    assert "The same command goes on from there" in caught.value.hint
