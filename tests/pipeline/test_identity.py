"""A stage is done again when, and only when, something that goes into it has changed."""

from __future__ import annotations

import json
from pathlib import Path

from small_runs import Ear
from tunesmith.config import load_recipe
from tunesmith.models import nano
from tunesmith.pipeline import forecast_recipe

TASK = """
from tunesmith.records import Message
from tunesmith.tasks.base import Draft, Parsed, Task
from tunesmith.records import Outcome


class Mine(Task):
    name = "mine"
    description = "a task of one's own"
    metrics = ("exact",)
    primary = "exact"

    def shape(self, row):
        return Draft((Message("user", "{greeting} " + row["q"]),), row["a"])

    def parse(self, response):
        return Parsed(Outcome.SCORED, response)

    def score(self, parsed, example):
        return {{"exact": float(parsed.text == example.target)}}
"""


def write(folder: Path, *, greeting: str = "Hello", answer: str = "a") -> Path:
    (folder / "mine.py").write_text(TASK.format(greeting=greeting))
    rows = ({"q": f"question {i}", "a": f"{answer}{i}"} for i in range(30))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = folder / "mine.yaml"
    recipe.write_text(
        f"name: mine\ntask: {folder / 'mine.py'}:Mine\ndata:\n  sources:\n"
        f"    rows: {{path: {folder / 'rows.jsonl'}}}\n"
    )
    return recipe


def data_artefacts(home: Path) -> set[Path]:
    return set(home.glob("artefacts/data-*"))


def prepare(recipe: Path, home: Path) -> int:
    """Number of data artefacts after planning, which prepares the data."""
    forecast_recipe(load_recipe(recipe), home=home, listener=Ear())
    return len(data_artefacts(home))


def test_the_source_of_an_own_task_counts(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert prepare(write(tmp_path), home) == 1
    assert prepare(write(tmp_path), home) == 1
    assert prepare(write(tmp_path, answer="b"), home) == 2
    assert prepare(write(tmp_path, greeting="Good day"), home) == 3


def test_the_manifest_says_what_went_in(tmp_path: Path) -> None:
    home = tmp_path / "home"
    prepare(write(tmp_path), home)
    (artefact,) = data_artefacts(home)
    inputs = json.loads((artefact / "manifest.json").read_text("utf-8"))["inputs"]
    assert inputs["seed"] == 42
    assert [f["name"] for f in inputs["sources"][0]["files"]] == ["rows.jsonl"]
    assert len(inputs["sources"][0]["files"][0]["sha256"]) == 64
    assert "tokenizer.json" in inputs["tokenizer"]["files"]
    assert nano.path().is_dir()
