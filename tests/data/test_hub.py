"""Hub data sets over the hub's own wire format, in processes that know no other hub.

`Hub` is a local HTTP server that answers as the Hugging Face hub does, as far as reading a data set
goes: the card by branch, tag or commit, the tree, the facts of paths, and the files with their
`X-Repo-Commit` and `ETag`; errors carry the hub's `X-Error-Code`. It keeps what it was `asked`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from data.collect.servers import Local
from tunesmith.data.hub import looks_like_hub_id

Commit = Mapping[str, bytes]  # path -> content


class Hub(Local):
    """`commits` of one data set by their hash, `refs` (branch or tag) to hashes."""

    def __init__(self, name: str, commits: Mapping[str, Commit], refs: Mapping[str, str]) -> None:
        self.asked: list[str] = []
        known = {"name": name, "commits": commits, "refs": refs, "asked": self.asked}
        super().__init__(_Handler, known)


class _Handler(BaseHTTPRequestHandler):
    name: ClassVar[str]
    commits: ClassVar[Mapping[str, Commit]]
    refs: ClassVar[Mapping[str, str]]
    asked: ClassVar[list[str]]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        self.asked.append(f"{self.command} {path}")
        if path.startswith("/api/datasets/owner/gated"):
            self._refuse(403, "GatedRepo", "Access to this data set is restricted.")
        elif found := re.fullmatch(rf"/api/datasets/{self.name}(?:/revision/(.+))?", path):
            self._card(found[1] or "main")
        elif found := re.fullmatch(rf"/api/datasets/{self.name}/tree/([^/]+)/?(.*)", path):
            self._tree(found[1], found[2])
        elif found := re.fullmatch(rf"/api/datasets/{self.name}/paths-info/(.+)", path):
            self._paths(found[1], body)
        elif found := re.fullmatch(rf"/datasets/{self.name}/resolve/([^/]+)/(.+)", path):
            self._file(found[1], found[2])
        elif path.startswith("/api/datasets/"):
            # To a stranger the hub says 401 of what is not there and of what is private alike.
            self._refuse(401, "RepoNotFound", "Invalid username or password.")
        else:
            self._refuse(404, "EntryNotFound", "Entry not found")

    def _commit(self, revision: str) -> str | None:
        sha = self.refs.get(revision, revision)
        if sha in self.commits:
            return sha
        self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return None

    def _card(self, revision: str) -> None:
        if sha := self._commit(revision):
            siblings = [{"rfilename": path} for path in self.commits[sha]]
            card = {"_id": "1", "id": self.name, "sha": sha, "private": False, "tags": []}
            self._json({**card, "siblings": siblings, "gated": False, "disabled": False})

    def _tree(self, revision: str, folder: str) -> None:
        if sha := self._commit(revision):
            deep = parse_qs(urlsplit(self.path).query).get("recursive", [""])[0].lower() == "true"
            inside = [p for p in self.commits[sha] if not folder or p.startswith(f"{folder}/")]
            if folder and not inside:
                self._refuse(404, "EntryNotFound", f"{folder} does not exist")
                return
            depth = folder.count("/") + 2 if folder else 1
            names = {p if deep else "/".join(p.split("/")[:depth]): p for p in inside}
            facts = [
                self._facts(sha, name)
                if name == path
                else {"type": "directory", "oid": "0" * 40, "size": 0, "path": name}
                for name, path in sorted(names.items())
            ]
            self._json(facts)

    def _paths(self, revision: str, body: bytes) -> None:
        if sha := self._commit(revision):
            try:
                paths = json.loads(body)["paths"]
            except ValueError:
                paths = parse_qs(body.decode())["paths"]
            self._json([self._facts(sha, path) for path in paths if path in self.commits[sha]])

    def _facts(self, sha: str, path: str) -> dict[str, object]:
        content = self.commits[sha][path]
        return {"type": "file", "oid": _etag(content), "size": len(content), "path": path}

    def _file(self, revision: str, path: str) -> None:
        if sha := self._commit(revision):
            content = self.commits[sha].get(path)
            if content is None:
                self._refuse(404, "EntryNotFound", "Entry not found")
            else:
                self._send(200, content, {"X-Repo-Commit": sha, "ETag": f'"{_etag(content)}"'})

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str) -> None:
        content = json.dumps({"error": message}).encode()
        self._send(status, content, {"X-Error-Code": code, "X-Error-Message": message})

    def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and status == 200:
            first, last = int(asked[1]), int(asked[2] or len(content) - 1)
            whole, content, status = len(content), content[first : last + 1], 206
            headers = {**headers, "Content-Range": f"bytes {first}-{last}/{whole}"}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _etag(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()


OLD, NEW = "0123456789abcdef" * 2 + "01234567", "fedcba9876543210" * 2 + "fedcba98"


def lines(*prompts: str) -> bytes:
    rows = [{"prompt": p, "completion": p.upper()} for p in prompts]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


CARD = b"""---
configs:
- config_name: plain
  data_files:
  - {split: train, path: plain/train.jsonl}
  - {split: test, path: plain/test.jsonl}
- config_name: small
  data_files: small.jsonl
---
# Questions
"""
CLIENT = """
import json, sys
from tunesmith.data.read import read_rows, resolve
from tunesmith.data.source import Source
from tunesmith.errors import TunesmithError
answers = []
for source in json.loads(sys.argv[1]):
    try:
        pinned = resolve(Source("s", **source))
        rows = [[raw.place, raw.row] for raw in read_rows(pinned)]
        answers.append({"revision": pinned.revision, "kind": pinned.kind, "rows": rows})
    except TunesmithError as error:
        answers.append({"message": error.message, "hint": error.hint})
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    commits = {
        OLD: {"train.jsonl": lines("old")},
        NEW: {
            "README.md": CARD,
            "plain/train.jsonl": lines("new", "newer"),
            "plain/test.jsonl": lines("held out"),
            "small.jsonl": lines("small"),
        },
    }
    with Hub("owner/questions", commits, {"main": NEW, "v1": OLD}) as served:
        yield served


def ask(
    hub: Hub, folder: Path, *sources: dict[str, str], offline: bool = False
) -> list[dict[str, Any]]:
    """What a process finds whose hub is `hub` and whose cache is `folder`."""
    plain = {k: v for k, v in os.environ.items() if not k.upper().startswith(("HF_", "HUGGING"))}
    environment = plain | {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder), "NO_PROXY": "127.0.0.1"}
    if offline:
        environment["HF_HUB_OFFLINE"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, json.dumps(sources)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def found(hub: Hub, cache: Path) -> list[dict[str, Any]]:
    return ask(
        hub,
        cache,
        {"path": "owner/questions", "revision": "v1"},
        {"path": "owner/questions:plain", "split": "train"},
        {"path": "owner/questions:small"},
    )


def test_a_tag_is_pinned_to_its_commit_and_read_there(
    hub: Hub, found: list[dict[str, Any]]
) -> None:
    row = {"prompt": "old", "completion": "OLD"}
    assert found[0] == {"revision": OLD, "kind": "hub", "rows": [["owner/questions/train:1", row]]}
    read = [asked for asked in hub.asked if re.search(r"/resolve/\w+/train\.jsonl$", asked)]
    assert read
    assert all(OLD in asked for asked in read)


def test_main_a_configuration_and_a_split(found: list[dict[str, Any]]) -> None:
    assert found[1]["revision"] == NEW
    assert [row["prompt"] for _, row in found[1]["rows"]] == ["new", "newer"]
    assert [row["prompt"] for _, row in found[2]["rows"]] == ["small"]


def test_what_is_cached_is_read_without_the_hub_and_never_passed_for_another_commit(
    hub: Hub, cache: Path, found: list[dict[str, Any]]
) -> None:
    small = {"path": "owner/questions:small", "revision": NEW}
    same, other = ask(hub, cache, small, {**small, "revision": OLD}, offline=True)
    assert same == found[2]
    assert "holds commit fedcba987654, not 0123456789ab" in other["message"]
    assert "online" in other["hint"]


MISSING: tuple[tuple[dict[str, str], tuple[str, ...]], ...] = (
    ({"path": "owner/questions", "revision": "v2"}, ("no revision 'v2'", "branch, a tag")),
    ({"path": "owner/nothing"}, ("neither a file here", "spelling")),
    ({"path": "owner/nothing", "revision": OLD}, ("owner/nothing", "cannot be loaded")),
    ({"path": "owner/gated"}, ("gated", "Accept its terms")),
    ({"path": "owner/questions:plain", "split": "dev"}, ("no split 'dev'", "train, test")),
    ({"path": "owner/questions:plain"}, ("no split was named", "train, test")),
    ({"path": "owner/questions:huge"}, ("'huge'", "'plain', 'small'")),
    ({"path": "owner/questions"}, ("Config name is missing", "'plain', 'small'")),
)


def test_what_is_missing_is_named(hub: Hub, tmp_path: Path) -> None:
    answers = ask(hub, tmp_path, *(source for source, _ in MISSING))
    for answer, (_, said) in zip(answers, MISSING, strict=True):
        text = f"{answer['message']} {answer['hint']}"
        assert all(word in text for word in said), text
        assert "\n" not in text


def test_a_hub_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with Hub("owner/questions", {}, {}) as gone:
        pass
    (answer,) = ask(gone, tmp_path, {"path": "owner/questions"})
    assert "the hub cannot be asked" in answer["message"]
    assert "local copy" in answer["hint"]


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("respai-lab/orgaccess", True),
        ("owner/name:easy", True),
        ("name", False),
        ("a/b/c", False),
        ("/data/rows", False),
        ("../data/rows", False),
        ("owner/na me", False),
    ],
)
def test_what_a_hub_id_looks_like(path: str, is_one: bool) -> None:
    assert looks_like_hub_id(path) is is_one
