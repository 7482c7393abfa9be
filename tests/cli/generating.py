"""What the tests of `tunesmith data generate` share: a recipe with documents, and the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from data.generate.cases import document
from tunesmith.cli.data import data
from tunesmith.data.collect.document import to_json

COUNT = 12


def set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-good")
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TUNESMITH_STORE", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def recipe_in(tmp_path: Path) -> Callable[..., Path]:
    """Writes a recipe whose generation `qa` asks the endpoint at a URL, beside its documents."""
    lines = [to_json(document(i)) + "\n" for i in range(COUNT)]
    (tmp_path / "documents.jsonl").write_text("".join(lines), "utf-8")

    def write(url: str, **changes: Any) -> Path:
        endpoint = {
            "kind": "openai",
            "model": "small",
            "base_url": url,
            "key_env": "TEST_KEY",
            "price": {"input": 1.0, "output": 10.0},
            "max_tokens": 500,
            "concurrency": 2,
            "retries": 1,
            "backoff": 0.01,
            **changes.pop("endpoint", {}),
        }
        values = {
            "name": "stats",
            "task": "text",
            "data": {
                "sources": {"qa": {"path": "rows.jsonl"}},
                "generate": {
                    "qa": {
                        "kind": "questions",
                        "from": "documents.jsonl",
                        "endpoint": endpoint,
                        "per_document": 2,
                        **changes,
                    }
                },
            },
        }
        file = tmp_path / "recipe.yaml"
        file.write_text(yaml.safe_dump(values), "utf-8")
        return file

    return write


def typed(recipe: Path, *arguments: str) -> Result:
    command = ["generate", "qa", "--recipe", str(recipe), *arguments]
    return CliRunner().invoke(data, command, env={"COLUMNS": "100"})


def rows_of(found: Result) -> list[dict[str, Any]]:
    file = Path(json.loads(found.stdout)["file"])
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]
