"""The polite client against servers that are slow, busy, broken or gone."""

from __future__ import annotations

import email.utils
import gzip
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from data.collect.servers import Answer, Asked, Server, pages
from tunesmith.config.collect import NetworkSettings
from tunesmith.data.collect.answer import Reply, Wish
from tunesmith.data.collect.http import Http, RefusedError, retry_after
from tunesmith.errors import CollectError


def client(cache: Path | None = None, *, refresh: bool = False, **settings: Any) -> Http:
    values = {"interval_s": 0, "backoff_s": 0.01, "timeout_s": 20, "attempts": 3} | settings
    return Http(NetworkSettings(**values), cache or Path("cache.sqlite"), refresh=refresh)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ok(_: object = None) -> Answer:
    return Answer(b"fine")


def test_it_says_who_asks_and_keeps_its_distance() -> None:
    with Server(ok) as server, client(contact="me@example.org", interval_s=0.3) as http:
        for _ in range(3):
            assert http.get(server.url).text == "fine"
    gaps = [b.at - a.at for a, b in zip(server.asked, server.asked[1:], strict=False)]
    assert all(gap >= 0.29 for gap in gaps)
    agent = server.asked[0].headers["user-agent"]
    assert agent.startswith("tunesmith/")
    assert agent.endswith("(me@example.org)")


BODY = b"a long body " * 500
PACKED = gzip.compress(BODY)
BARE = zlib.compressobj(wbits=-15)
DEFLATED = {
    "gzip": PACKED,
    "deflate": zlib.compress(BODY),
    "bare": BARE.compress(BODY) + BARE.flush(),
}


def packed(kind: str, body: bytes) -> Answer:
    return Answer(body, headers={"Content-Encoding": "deflate" if kind == "bare" else kind})


TRANSIENT = {
    "busy": Answer(status=503),
    "too many": Answer(status=429),
    "gateway": Answer(status=502),
    "slow": Answer(BODY, delay=1.6),
    "cut": Answer(BODY, sent=700),
    "no gzip": Answer(BODY, headers={"Content-Encoding": "gzip"}),
    # Content-Length fits what is sent: only the packing itself says that something is missing.
    "cut gzip": packed("gzip", PACKED[: len(PACKED) // 2]),
    "gzip without its end": packed("gzip", PACKED[:-8]),
    "cut deflate": packed("deflate", DEFLATED["deflate"][:-5]),
    "cut bare deflate": packed("bare", DEFLATED["bare"][:-3]),
}


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT.keys())
@pytest.mark.parametrize("cached", [False, True])
def test_what_passes_is_tried_again(fault: Answer, cached: bool, tmp_path: Path) -> None:
    with Server(lambda _: Answer(BODY)) as server:
        server.faults.extend([fault, fault])
        with client(tmp_path / "cache.sqlite", timeout_s=1 if fault.delay else 20) as http:
            assert http.get(server.url, cached=cached).body == BODY
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("busy", "answers 503"),
        ("slow", "does not answer in time"),
        ("cut", "breaks off its answer"),
        ("no gzip", "sends a body that cannot be unpacked"),
        ("cut gzip", "breaks off its answer (the packed body has no end)"),
    ],
)
def test_what_does_not_pass_is_named(name: str, said: str) -> None:
    patience = 1 if name == "slow" else 20
    with (
        Server(lambda _: TRANSIENT[name]) as server,
        client(timeout_s=patience) as http,
        pytest.raises(CollectError) as caught,
    ):
        http.get(server.url)
    host = server.url.removeprefix("http://")
    assert caught.value.message.startswith(f"{host}: {said}")
    assert caught.value.message.endswith("tried 3 times.")
    assert len(server.asked) == 3


def test_waits_grow() -> None:
    with Server(ok) as server, client(backoff_s=0.1, attempts=4) as http:
        server.faults.extend([Answer(status=500)] * 3)
        http.get(server.url)
    gaps = [b.at - a.at for a, b in zip(server.asked, server.asked[1:], strict=False)]
    assert gaps[0] >= 0.09
    assert gaps[1] >= 0.19
    assert gaps[2] >= 0.39


def test_a_host_is_left_alone_as_long_as_it_asks() -> None:
    with Server(ok) as server, client() as http:
        server.faults.append(Answer(status=429, headers={"Retry-After": "1"}))
        assert http.get(server.url).body == b"fine"
        assert server.asked[1].at - server.asked[0].at >= 0.99
        http.pause(server.url, 0.3)
        http.get(server.url)
        assert server.asked[2].at - server.asked[1].at >= 0.29


def test_too_long_a_wait_is_an_error_at_once() -> None:
    with Server(ok) as server, client(longest_wait_s=5) as http:
        server.faults.append(Answer(status=503, headers={"Retry-After": "7200"}))
        began = time.monotonic()
        with pytest.raises(CollectError, match=r"left alone for 2\.0 h") as caught:
            http.get(server.url)
        assert "again in 2.0 h" in caught.value.hint
        with pytest.raises(CollectError, match="left alone for 120 min"):
            http.get(server.url)
        assert time.monotonic() - began < 4
    assert len(server.asked) == 1


def test_retry_after_in_its_two_forms() -> None:
    assert retry_after({}) is None
    assert retry_after({"retry-after": "120"}) == 120
    assert retry_after({"retry-after": "soon"}) is None
    then = email.utils.formatdate(time.time() + 90, usegmt=True)
    assert retry_after({"retry-after": then}) == pytest.approx(90, abs=2)
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


def test_a_final_status_is_not_tried_again() -> None:
    with (
        Server(lambda _: Answer(b"why", 404)) as server,
        client() as http,
        pytest.raises(RefusedError, match="answers 404 to /x") as caught,
    ):
        http.get(server.url + "/x", {"key": "secret"})
    assert caught.value.reply.body == b"why"
    assert "secret" not in caught.value.message + caught.value.hint
    assert len(server.asked) == 1


def test_a_dead_host_is_named() -> None:
    with Server(ok) as server:
        pass
    with (
        client(attempts=2) as http,
        pytest.raises(CollectError, match="cannot be reached") as caught,
    ):
        http.get(server.url)
    assert "network" in caught.value.hint
    with client() as http, pytest.raises(CollectError, match="protocol"):
        http.get("ftp://example.org")


def test_an_answer_may_be_too_large_packed_or_not() -> None:
    zeros = bytes(3_000_000)
    for answer in (
        Answer(zeros),
        Answer(gzip.compress(zeros), headers={"Content-Encoding": "gzip"}),
    ):
        server = Server(lambda _, a=answer: a)  # type: ignore[misc]
        refused = pytest.raises(CollectError, match="larger than 1 MB")
        with server, client(largest_mb=1) as http, refused:
            http.get(server.url)
        assert len(server.asked) == 1


def test_a_check_that_finds_fault_is_an_attempt() -> None:
    def check(reply: Reply) -> str | None:
        return None if reply.body == b"fine" else "sends nonsense"

    with Server(ok) as server, client() as http:
        server.faults.append(Answer(b"?"))
        assert http.get(server.url, wish=Wish(check)).body == b"fine"
        server.faults.extend([Answer(b"?")] * 3)
        with pytest.raises(CollectError, match="sends nonsense"):
            http.get(server.url, wish=Wish(check))


def test_pages_on_disk_are_asked_for_by_their_etag(tmp_path: Path) -> None:
    content: dict[str, str | bytes] = {"/a": "one"}
    with pages(content) as server:
        for _ in range(2):  # the second time in a new client, as after a restart
            with client(tmp_path / "cache.sqlite") as http:
                assert http.get(server.url + "/a", cached=True).text == "one"
        assert "if-none-match" not in server.asked[0].headers
        assert "if-none-match" in server.asked[1].headers
        content["/a"] = "two"
        with client(tmp_path / "cache.sqlite") as http:
            assert http.get(server.url + "/a", cached=True).text == "two"
            http.get(server.url + "/a")
        assert "if-none-match" in server.asked[2].headers
        assert "if-none-match" not in server.asked[3].headers


def test_an_answer_that_broke_off_is_never_kept(tmp_path: Path) -> None:
    with Server(
        lambda _: Answer(BODY, headers={"ETag": '"x"', "Cache-Control": "max-age=60"})
    ) as s:
        cut = Answer(BODY, headers={"ETag": '"x"', "Cache-Control": "max-age=60"}, sent=900)
        s.faults.extend([cut, cut])
        with client(tmp_path / "c.sqlite", attempts=1) as http, pytest.raises(CollectError):
            http.get(s.url, cached=True)
        with client(tmp_path / "c.sqlite") as http:
            assert http.get(s.url, cached=True).body == BODY
            assert http.get(s.url, cached=True).body == BODY  # fresh for a minute: not asked
    assert len(s.asked) == 3


@pytest.mark.parametrize("kind", DEFLATED)
def test_packed_bodies_come_whole(kind: str) -> None:
    twice = gzip.compress(BODY) + gzip.compress(b"more")
    with Server(lambda _: packed(kind, DEFLATED[kind])) as server, client() as http:
        assert http.get(server.url, cached=True).body == BODY
        assert http.get(server.url).body == BODY
        server.faults.append(packed("gzip", twice))
        assert http.get(server.url).body == BODY + b"more"
        server.faults.append(packed("gzip", b""))
        assert http.get(server.url).body == b""


def test_a_packed_body_that_is_cut_is_never_kept() -> None:
    headers = {"Content-Encoding": "gzip", "ETag": '"x"', "Cache-Control": "max-age=60"}
    cut, whole = Answer(PACKED[:-9], headers=headers), Answer(PACKED, headers=headers)
    with Server(lambda _: whole) as server:
        server.faults.append(cut)
        with client(attempts=1) as http, pytest.raises(CollectError, match="has no end"):
            http.get(server.url, cached=True)
        with client() as http:
            assert http.get(server.url, cached=True).body == BODY
            assert http.get(server.url, cached=True).body == BODY
    assert len(server.asked) == 2
    assert "if-none-match" not in server.asked[1].headers


def test_what_is_fresh_is_not_asked_for_and_a_refresh_asks_with_its_etag() -> None:
    content: dict[str, str | bytes] = {"/a": "one"}
    wish = Wish(fresh_s=60)
    with pages(content) as server:
        with client() as http:
            assert not http.get(server.url + "/a", cached=True, wish=wish).from_cache
        with client() as http:
            found = http.get(server.url + "/a", cached=True, wish=wish)
        assert (found.text, found.from_cache, len(server.asked)) == ("one", True, 1)
        with client(refresh=True) as http:
            found = http.get(server.url + "/a", cached=True, wish=wish)
        assert (found.text, found.from_cache) == ("one", True)
        assert "if-none-match" in server.asked[1].headers
        content["/a"] = "two"
        with client(refresh=True) as http:
            assert http.get(server.url + "/a", cached=True, wish=wish).text == "two"
        with client() as http:
            assert http.get(server.url + "/a", cached=True, wish=wish).text == "two"
    assert len(server.asked) == 3


def test_a_refresh_asks_by_the_day_of_change_too() -> None:
    day = "Wed, 21 Oct 2015 07:28:00 GMT"

    def reply(asked: Asked) -> Answer:
        same = asked.headers.get("if-modified-since") == day
        return Answer(b"" if same else b"x", 304 if same else 200, {"Last-Modified": day})

    with Server(reply) as server:
        for refresh in (False, True):
            with client(refresh=refresh) as http:
                assert http.get(server.url, cached=True, wish=Wish(fresh_s=60)).body == b"x"
    assert server.asked[1].headers["if-modified-since"] == day


def test_what_may_not_be_kept_is_asked_for_again() -> None:
    wish = Wish(keep=lambda reply: reply.body == b"fine", fresh_s=60)
    with Server(ok) as server, client() as http:
        server.faults.append(Answer(b"odd"))
        assert http.get(server.url, cached=True, wish=wish).body == b"odd"
        assert http.get(server.url, cached=True, wish=wish).body == b"fine"
        assert http.get(server.url, cached=True, wish=wish).from_cache


def test_a_secret_is_sent_and_neither_stored_nor_given_to_another_host(tmp_path: Path) -> None:
    wish = Wish(fresh_s=60, secret={"key": "hush-hush"})
    with Server(ok) as other, Server(ok) as server, client() as http:
        http.get(server.url, {"a": 1}, cached=True, wish=wish)
        assert server.asked[0].query == {"a": "1", "key": "hush-hush"}
        server.faults.append(Answer(status=302, headers={"Location": other.url + "/x"}))
        http.get(server.url, {"a": 2}, cached=True, wish=wish)
        assert other.asked[0].query == {}
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or b"hush-hush" not in file.read_bytes()


def test_a_host_is_left_alone_by_the_next_process_too() -> None:
    with Server(ok) as server:
        with client(interval_s=0.6) as http:
            http.get(server.url)
        with client() as http:  # whatever distance it would keep itself
            http.get(server.url)
            server.faults.append(Answer(status=429, headers={"Retry-After": "1"}))
        with client(attempts=1) as http, pytest.raises(CollectError, match="429"):
            http.get(server.url)
        with client() as http:
            http.get(server.url)
            http.pause(server.url, 900)
        with client(longest_wait_s=5) as http, pytest.raises(CollectError, match="for 15 min"):
            http.get(server.url)
    gaps = [b.at - a.at for a, b in zip(server.asked, server.asked[1:], strict=False)]
    assert gaps[0] >= 0.59
    assert gaps[2] >= 0.99
    assert len(server.asked) == 4


ASKS = """
import sys
from pathlib import Path
from tunesmith.config.collect import NetworkSettings
from tunesmith.data.collect.http import Http
with Http(NetworkSettings(interval_s=0.25), Path("cache.sqlite")) as http:
    for _ in range(3):
        http.get(sys.argv[1])
"""


def test_two_processes_ask_in_turn() -> None:
    with Server(ok) as server:
        command = [sys.executable, "-c", ASKS, server.url]
        both = [subprocess.Popen(command) for _ in range(2)]
        assert [process.wait(30) for process in both] == [0, 0]
    gaps = [b.at - a.at for a, b in zip(server.asked, server.asked[1:], strict=False)]
    assert len(gaps) == 5
    assert min(gaps) >= 0.24
