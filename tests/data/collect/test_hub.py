"""Rows of a data set as documents: mapped fields, pinned to a commit, resumable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data.test_hub import NEW, OLD, Hub
from tunesmith.config.collect import HubSettings
from tunesmith.data.collect import Collected, Document, collect, read_documents
from tunesmith.errors import CollectError

ROWS = [
    {"q": "Why?", "a": {"text": "Because"}, "lic": "MIT", "n": 1, "tags": ["x", "y"]},
    {"q": "  ", "a": {"text": "Nothing"}, "lic": "", "n": 2, "tags": []},
    {"q": "How?", "a": {"text": "So"}, "lic": "", "n": 3, "tags": []},
    {"q": "When?", "a": {}, "lic": "", "n": 4, "tags": []},
]
FIELDS = {"text": "q", "answer": "a.text", "licence": "lic", "topic": "tags", "id": "n"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + "{broken\n")
    return path


def gather(
    path: Path, folder: Path, *, limit: int | None = None, refresh: bool = False, **other: Any
) -> tuple[Collected, list[Document]]:
    values = {"path": str(path), "fields": FIELDS, "licence": "CC0-1.0", "batch": 2}
    found = collect(HubSettings(**(values | other)), folder, limit=limit, refresh=refresh)
    return found, list(read_documents(found.file))


def test_fields_are_mapped(file: Path, tmp_path: Path) -> None:
    found, documents = gather(file, tmp_path / "c")
    assert [(d.text, d.answer, d.licence) for d in documents] == [
        ("Why?", "Because", "MIT"),
        ("How?", "So", "CC0-1.0"),
    ]
    assert documents[0].meta["topic"] == '["x", "y"]'
    assert documents[0].id.endswith(":1")
    assert found.skipped["no text"] == 1
    assert found.skipped["no answer"] == 1
    assert any(key.startswith("unreadable row: not JSON") for key in found.skipped)


def test_it_goes_on_at_its_row_and_only_in_the_same_file(file: Path, tmp_path: Path) -> None:
    found, documents = gather(file, tmp_path / "c", limit=1)
    assert (len(documents), found.done) == (1, False)
    file.write_text(file.read_text() + json.dumps(ROWS[0]) + "\n")
    with pytest.raises(CollectError, match="has changed since the collection began") as caught:
        gather(file, tmp_path / "c")
    assert "--refresh" in caught.value.hint
    found, _ = gather(file, tmp_path / "c", refresh=True)
    assert found.done


def test_a_refresh_leaves_no_row_that_is_gone(file: Path, tmp_path: Path) -> None:
    gather(file, tmp_path / "c")
    file.write_text(json.dumps(ROWS[2]) + "\n")
    found, documents = gather(file, tmp_path / "c", refresh=True)
    assert [d.text for d in documents] == ["How?"]
    assert found.removed == 1


def test_a_column_that_is_not_there_is_named(file: Path, tmp_path: Path) -> None:
    with pytest.raises(CollectError) as caught:
        gather(file, tmp_path / "c", fields={"text": "question"})
    assert "has no column question; it has q, a, lic, n, tags" in caught.value.message
    assert "{text: COLUMN}" in caught.value.hint
    with pytest.raises(ValueError, match="no column for text"):
        HubSettings(path="a/b", fields={"answer": "a"})


CLIENT = "import sys; from tunesmith.cli import main; sys.argv[0] = 'tunesmith'; main()"


def test_a_data_set_of_the_hub_at_one_commit(tmp_path: Path) -> None:
    def rows(*prompts: str) -> bytes:
        return "".join(json.dumps({"prompt": p}) + "\n" for p in prompts).encode()

    commits = {OLD: {"train.jsonl": rows("a", "b", "c")}, NEW: {"train.jsonl": rows("x")}}
    refs = {"main": OLD}
    with Hub("owner/questions", commits, refs) as hub:
        plain = {k: v for k, v in os.environ.items() if not k.upper().startswith(("HF_", "HUGG"))}
        plain |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1"}
        sets = ["--set", "path=owner/questions", "--set", "fields={text: prompt}"]
        sets += ["--set", "batch=1", "--home", str(tmp_path), "--json"]

        def run(*more: str) -> Any:
            done = subprocess.run(
                [sys.executable, "-c", CLIENT, "data", "collect", "hub", *sets, *more],
                capture_output=True,
                text=True,
                check=False,
                env=plain,
            )
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        first = run("--limit", "2")
        assert (first["documents"], first["done"]) == (2, False)
        refs["main"] = NEW  # the branch moves while the collection rests
        whole = run()
    documents = list(read_documents(Path(whole["file"])))
    assert [d.text for d in documents] == ["a", "b", "c"]
    assert {d.meta["revision"] for d in documents} == {OLD}
    assert documents[0].url == "https://huggingface.co/datasets/owner/questions"
    assert whole["done"]
