"""Stack Exchange over the wire format of API 2.3."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from data.collect.servers import (
    Answer,
    StackExchange,
    answer,
    api_error,
    json_answer,
    question,
)
from tunesmith.config.collect import StackExchangeSettings
from tunesmith.data.collect import Collected, Document, collect, read_documents
from tunesmith.data.collect.stack_exchange import licence_of
from tunesmith.errors import CollectError


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STACKEXCHANGE_KEY", raising=False)


def settings(server: StackExchange, **other: Any) -> StackExchangeSettings:
    values = {"base_url": server.url + "/2.3", "interval_s": 0, "backoff_s": 0.01, "attempts": 3}
    return StackExchangeSettings(**(values | {"page_size": 4, "timeout_s": 20} | other))


def gather(
    server: StackExchange, folder: Path, **other: Any
) -> tuple[Collected, dict[int, Document]]:
    found = collect(settings(server, **other), folder)
    return found, {int(d.id.rpartition(":")[2]): d for d in read_documents(found.file)}


def many(count: int, **other: Any) -> list[Any]:
    return [
        question(n, answers=[answer(1000 + n, accepted=True)], **other) for n in range(1, count)
    ]


def test_every_page_is_read_and_every_answer_is_compressed(tmp_path: Path) -> None:
    with StackExchange(many(11)) as server:
        found, documents = gather(server, tmp_path)
    assert list(documents) == list(range(1, 11))
    assert found.done
    listed = [a.query["page"] for a in server.asked if a.path == "/2.3/questions"]
    assert listed == ["1", "2", "3"]
    one = documents[1]
    assert (one.id, one.source) == ("stackexchange:stats:1", "stack_exchange")
    assert one.title == "Title & 1"
    assert (one.text, one.answer) == ("Body **1**", "Answer 1001")
    assert one.licence == "CC-BY-SA-4.0"
    assert "question by user1 (https://stats.stackexchange.com/users/1/user1)" in one.author
    assert "answer by user1001 (" in one.author
    assert one.url == "https://stats.stackexchange.com/questions/1/title-1"
    assert one.meta["answer_url"] == "https://stats.stackexchange.com/a/1001"
    assert one.date == "2020-09-13T12:26:41+00:00"


def test_which_answer(tmp_path: Path) -> None:
    both = [answer(10, score=2, accepted=True), answer(11, score=9)]
    questions = [
        question(1, answers=both),
        question(2, answers=[answer(20, score=2), answer(21, score=7)]),
        question(3, answers=[answer(30, score=0, accepted=True), answer(31, score=1)]),
        question(4, answers=[answer(40, score=0)]),
        question(5),
        question(6, score=0, answers=both),
    ]
    with StackExchange(questions) as server:
        found, documents = gather(server, tmp_path / "best", sort="creation")
        assert {n: d.answer for n, d in documents.items()} == {
            1: "Answer 10",
            2: "Answer 21",
            3: "Answer 31",
        }
        assert [documents[n].meta["accepted"] for n in (1, 2, 3)] == ["yes", "no", "no"]
        assert found.skipped == {
            "no answer": 1,
            "no answer of min_answer_score": 1,
            "question below min_score": 1,
        }
        found, documents = gather(server, tmp_path / "accepted", answers="accepted", min_score=-5)
        assert {n: d.answer for n, d in documents.items()} == {1: "Answer 10", 6: "Answer 10"}
        assert found.skipped == {"no accepted answer": 3, "no answer of min_answer_score": 1}


def test_more_answers_than_a_page_holds(tmp_path: Path) -> None:
    crowd = [answer(1000 + i) for i in range(130)]
    best = answer(5000, score=50)
    with StackExchange([question(1, answers=[*crowd, best])]) as server:
        _, documents = gather(server, tmp_path)
    assert documents[1].answer == "Answer 5000"


def test_tags_scores_and_days_are_asked_for(tmp_path: Path) -> None:
    questions = [
        question(1, answers=[answer(10)], tags=["a"]),
        question(2, answers=[answer(20)], tags=["a", "b"]),
        question(3, answers=[answer(30)], tags=["b"], score=1),
        question(4, answers=[answer(40)], tags=["c"]),
        question(5, answers=[answer(50)], tags=["a"], creation_date=1_300_000_000),
    ]
    with StackExchange(questions) as server:
        found, documents = gather(
            server, tmp_path / "x", tags=["a", "b"], min_score=2, since=date(2020, 1, 1)
        )
        assert list(documents) == [1, 2]
        assert found.repeated == 1  # question 2 bears both tags
        first = server.asked[0].query
        assert (first["tagged"], first["min"], first["sort"]) == ("a", "2", "votes")
        assert first["fromdate"] == "1577836800"
        _, documents = gather(server, tmp_path / "y", tags="a;b")
        assert list(documents) == [2]


def test_formulas_and_code_come_through(tmp_path: Path) -> None:
    body = (
        "<p>Is $\\hat{\\beta}_1 * x_i &lt; 2$ and *not* $$\\sum_{i=1}^n w_i\\\\ x_i$$?</p>"
        '<pre class="lang-r"><code>lm(y ~ x_1) # a * b\n</code></pre>'
        "<ul><li>one</li><li><a href='https://e.org/a_b'>two_b</a></li></ul>"
    )
    with StackExchange([question(1, body=body, answers=[answer(10)])]) as server:
        _, documents = gather(server, tmp_path)
    text = documents[1].text
    assert "$\\hat{\\beta}_1 * x_i < 2$ and \\*not\\* $$\\sum_{i=1}^n w_i\\\\ x_i$$?" in text
    assert "```r\nlm(y ~ x_1) # a * b\n```" in text
    assert "- one\n- [two\\_b](https://e.org/a_b)" in text


def test_the_licence_depends_on_the_day() -> None:
    def dated(year: int, month: int, day: int, **said: str) -> str:
        at = int((date(year, month, day) - date(1970, 1, 1)).total_seconds()) + 3600
        return licence_of({"creation_date": at, **said})

    # https://stackoverflow.com/help/licensing
    assert dated(2011, 4, 7) == "CC-BY-SA-2.5"
    assert dated(2011, 4, 8) == "CC-BY-SA-3.0"
    assert dated(2018, 5, 1) == "CC-BY-SA-3.0"
    assert dated(2018, 5, 2) == "CC-BY-SA-4.0"
    assert dated(2011, 1, 1, content_license="CC BY-SA 4.0") == "CC-BY-SA-4.0"


def test_two_licences_and_authors_who_left(tmp_path: Path) -> None:
    old = answer(10, content_license="CC BY-SA 3.0", owner={"user_type": "does_not_exist"})
    asked = question(1, answers=[old])
    with StackExchange([asked]) as server:
        _, documents = gather(server, tmp_path)
    assert documents[1].licence == "CC-BY-SA-3.0 AND CC-BY-SA-4.0"
    assert documents[1].author.endswith("answer by an author who left")


def test_backoff_is_obeyed(tmp_path: Path) -> None:
    with StackExchange(many(3)) as server:
        server.backoffs.extend([1, None])
        gather(server, tmp_path)
    assert server.asked[1].at - server.asked[0].at >= 0.99


def test_a_short_throttle_is_waited_for(tmp_path: Path) -> None:
    fault = api_error(
        502,
        "throttle_violation",
        "too many requests from this IP, more requests available in 1 seconds",
    )
    with StackExchange(many(3)) as server:
        server.faults.append(fault)
        found, _ = gather(server, tmp_path)
    assert found.documents == 2
    assert server.asked[1].at - server.asked[0].at >= 0.99


def test_a_long_throttle_is_said(tmp_path: Path) -> None:
    fault = api_error(
        502,
        "throttle_violation",
        "too many requests from this IP, more requests available in 82216 seconds",
    )
    with StackExchange(many(11)) as server:
        server.faults.extend([None, None, fault])
        with pytest.raises(CollectError) as caught:
            gather(server, tmp_path)
        assert "left alone for 22.8 h" in caught.value.message
        assert "4 documents are saved" in caught.value.message
        assert len(server.asked) == 3
        with pytest.raises(CollectError, match=r"left alone for 22\.8 h"):  # the next sitting knows
            gather(server, tmp_path)
        assert len(server.asked) == 3
        shutil.rmtree(tmp_path / ".http.hosts")  # as if the time were over
        found, _ = gather(server, tmp_path)
    assert found.documents == 10


def test_a_quota_that_is_gone(tmp_path: Path) -> None:
    with StackExchange(many(11), quota=4) as server:
        with pytest.raises(CollectError) as caught:
            gather(server, tmp_path)
        assert "the quota of 300 calls a day is used up. 8 documents are saved" in str(caught.value)
        assert "tomorrow, or put an API key into STACKEXCHANGE_KEY" in caught.value.hint
        assert len(server.asked) == 4
        server.quota = 300
        found, documents = gather(server, tmp_path)
    assert sorted(documents) == list(range(1, 11))
    assert (found.new, found.repeated) == (2, 0)


def test_a_key_is_used_and_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "right")
    with StackExchange(many(3)) as server:
        gather(server, tmp_path, key_env="MY_KEY")
        assert {a.query["key"] for a in server.asked} == {"right"}
        for file in tmp_path.rglob("*"):
            assert file.is_dir() or b"right" not in file.read_bytes()
        monkeypatch.setenv("MY_KEY", "wrong-one")
        with pytest.raises(CollectError) as caught:
            gather(server, tmp_path / "w", key_env="MY_KEY")
    assert "bad_parameter: `key` doesn't match a known application" in caught.value.message
    assert "environment variable MY_KEY" in caught.value.hint
    assert "wrong-one" not in caught.value.message + caught.value.hint


def test_far_pages_need_a_key(tmp_path: Path) -> None:
    with StackExchange(many(60), quota=1000) as server, pytest.raises(CollectError) as caught:
        gather(server, tmp_path, page_size=2)
    assert "page above 25 requires" in caught.value.message
    assert "50 documents are saved" in caught.value.message
    assert "stackapps.com" in caught.value.hint


def without(item: Any, key: str) -> Any:
    return {k: v for k, v in item.items() if k != key}


CHANGED = {
    "no items": json_answer({"results": [], "has_more": False}),
    "no has_more": json_answer({"items": []}),
    "no body": json_answer({"items": [without(many(2)[0], "body")], "has_more": False}),
    "no score": json_answer({"items": [without(many(2)[0], "score")], "has_more": False}),
    "not objects": json_answer({"items": ["a"], "has_more": False}),
}


@pytest.mark.parametrize("changed", CHANGED.values(), ids=CHANGED.keys())
def test_a_change_of_the_schema_is_named(tmp_path: Path, changed: Answer) -> None:
    with StackExchange(many(3)) as server:
        server.faults.append(changed)
        with pytest.raises(
            CollectError, match=r"not the API 2\.3 that this version knows"
        ) as caught:
            gather(server, tmp_path)
        assert "Nothing was saved yet" in caught.value.message
        found, _ = gather(server, tmp_path)  # what nobody knows is not kept for a day
    assert found.documents == 2


@pytest.mark.parametrize(
    "fault",
    [
        Answer(b'{"items": [{"question_id": 1', headers={"Content-Type": "application/json"}),
        Answer(b"<html>Offline for maintenance</html>"),
        Answer(
            json_answer({"items": list(range(99))}).body[:60], headers={"Content-Encoding": "gzip"}
        ),
        json_answer({"error_id": 500, "error_name": "internal_error"}, status=500),
        json_answer({"error_id": 503, "error_name": "temporarily_unavailable"}, status=503),
    ],
    ids=["cut JSON", "HTML", "cut gzip", "500", "503"],
)
def test_a_bad_answer_is_asked_for_again(tmp_path: Path, fault: Answer) -> None:
    with StackExchange(many(3)) as server:
        server.faults.extend([fault, fault])
        found, documents = gather(server, tmp_path)
    assert list(documents) == [1, 2]
    assert Counter(server.paths)["/2.3/questions"] == 3
    assert found.done


def test_a_site_that_is_unknown(tmp_path: Path) -> None:
    with StackExchange([]) as server:
        server.faults.append(api_error(400, "bad_parameter", "No site found for name `x`"))
        with pytest.raises(CollectError, match="No site found for name `x`"):
            gather(server, tmp_path, site="x")


def test_nothing_found_is_no_error(tmp_path: Path) -> None:
    with StackExchange([]) as server:
        found, _ = gather(server, tmp_path)
    assert (found.documents, found.done) == (0, True)
    assert json.loads((tmp_path / "state.json").read_text())["done"] is True


def test_a_limit_gives_every_tag_its_share(tmp_path: Path) -> None:
    questions = [
        question(n, answers=[answer(10_000 + n)], tags=["abc"[n // 300]]) for n in range(900)
    ]
    three = {"tags": ["a", "b", "c"], "page_size": 100, "limit": 250}
    with StackExchange(questions, quota=1000) as server:
        _, documents = gather(server, tmp_path, **three)
        assert Counter(d.meta["tags"] for d in documents.values()) == {"a": 84, "b": 83, "c": 83}
        assert len(server.asked) == 6
        _, documents = gather(server, tmp_path, **(three | {"limit": 10_000}))
    assert Counter(d.meta["tags"] for d in documents.values()) == {"a": 300, "b": 300, "c": 300}
    listed = Counter(a.query["tagged"] for a in server.asked if a.path == "/2.3/questions")
    # A fourth page says that there is no more only where the third was not the last.
    assert listed == {"a": 3, "b": 3, "c": 3}


def test_a_tag_that_ends_early_is_not_asked_again(tmp_path: Path) -> None:
    sizes = {"a": 1, "b": 9, "c": 5}
    questions = [
        question(10 * i + n, answers=[answer(1000 + 10 * i + n)], tags=[tag])
        for i, (tag, size) in enumerate(sizes.items())
        for n in range(size)
    ]
    with StackExchange(questions) as server:
        found, documents = gather(server, tmp_path, tags=list(sizes))
        state = json.loads((tmp_path / "state.json").read_text())
    assert (len(documents), found.done, state["cursor"]) == (15, True, None)
    listed = Counter(a.query["tagged"] for a in server.asked if a.path == "/2.3/questions")
    assert listed == {"a": 1, "b": 3, "c": 2}
