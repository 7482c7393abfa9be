"""Recipes written to a folder and read back."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tunesmith.config import Resolved, load_recipe

Read = Callable[..., Resolved]

HEAD = "name: mine\ntask: text\ndata:\n  sources:\n    rows: {path: rows.jsonl}\n"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write the lines below a minimal recipe of five lines (or below none) and load it."""

    def write_and_load(body: str = "", *, head: str = HEAD, **options: object) -> Resolved:
        path = tmp_path / "mine.yaml"
        path.write_text(head + textwrap.dedent(body), "utf-8")
        return load_recipe(path, **options)  # type: ignore[arg-type]

    return write_and_load
