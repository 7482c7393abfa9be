"""A recipe that names a frozen version as its data, with any task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunesmith.config import load_recipe
from tunesmith.data.versions import read_version
from tunesmith.errors import DataError
from tunesmith.pipeline.freezing import Frozen, freeze_recipe
from tunesmith.records import Example

ACCESS = """
name: NAME
task: access_decision
data:
  sources:
    cases: {path: PATH, licence: MIT, origin: human}
  test: 0.2
"""


def recipe(folder: Path, name: str, path: str, task: str = "access_decision") -> Path:
    file = folder / f"{name}.yaml"
    text = ACCESS.replace("NAME", name).replace("PATH", path)
    file.write_text(text.replace("access_decision", task))
    return file


def frozen(file: Path, *sets: str) -> Frozen:
    return freeze_recipe(load_recipe(str(file), sets=sets), home=file.parent / "home")


def rows(found: Frozen) -> dict[str, Example]:
    splits = read_version(found.version.directory)
    return {e.id: e for e in (*splits.train, *splits.validation, *splits.test)}


@pytest.fixture
def first(tmp_path: Path) -> Frozen:
    labels = ("full", "partial", "rejected")
    cases = [
        {
            "permissions": "{}",
            "query": f"Show {i}",
            "expected_response": labels[i % 3],
            "rationale": "r",
            "author": "Ann",
        }
        for i in range(30)
    ]
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    return frozen(recipe(tmp_path, "first", "cases.jsonl"))


def test_labels_and_credit_come_along(first: Frozen, tmp_path: Path) -> None:
    name = f"first@{first.version.id[:7]}"
    second = frozen(recipe(tmp_path, "second", name))
    before, after = rows(first), rows(second)
    assert {i: e.label for i, e in after.items()} == {i: e.label for i, e in before.items()}
    assert {e.meta["author"] for e in after.values()} == {"Ann"}
    tests = frozen(
        recipe(tmp_path, "tests", name), "data.sources.cases.split=test", "data.test=0.5"
    )
    assert rows(tests).keys() == {e.id for e in read_version(first.version.directory).test}
    # The same rows, divided the same way: the same version, whatever it was made from.
    assert second.version.id == first.version.id
    manifest = json.loads((tests.version.directory / "manifest.json").read_text())
    assert manifest["inputs"]["repeat"]["source cases"].startswith("rows.jsonl sha256:")


def test_a_version_for_another_task_is_refused(first: Frozen, tmp_path: Path) -> None:
    chats = [{"question": f"{i}?", "answer": f"{i}."} for i in range(10)]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    chat = frozen(recipe(tmp_path, "chat", "chats.jsonl", "text"))
    with pytest.raises(DataError):
        frozen(recipe(tmp_path, "wrong", f"chat@{chat.version.id[:7]}"))
