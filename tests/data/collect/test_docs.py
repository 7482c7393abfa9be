"""The pages in docs/sources say what the code does: its settings, and examples that are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tunesmith.config.collect import KINDS, MODELS, collector_settings

FOLDER = Path(__file__).parents[3] / "docs" / "sources"
PAGES = KINDS
BEGIN, END = "<!-- settings -->\n", "<!-- end of settings -->"


def table(kind: str) -> str:
    """The settings of a kind as the page shows them."""
    rows = ["| setting | default | what it says |", "|---|---|---|"]
    for name, info in MODELS[kind].model_fields.items():
        if name != "kind":
            default = "needed" if info.is_required() else f"`{info.default!r}`"
            rows.append(f"| `{name}` | {default} | {info.description} |")
    return "\n".join(rows) + "\n"


def put(page: str, text: str) -> str:
    """The page with its table replaced."""
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}{text}{END}{rest.split(END)[1]}"


@pytest.mark.parametrize("kind", PAGES)
def test_the_settings_are_those_of_the_code(kind: str) -> None:
    page = (FOLDER / f"{kind}.md").read_text("utf-8")
    assert put(page, table(kind)) == page, f"docs/sources/{kind}.md: its table is not the code's"


@pytest.mark.parametrize("kind", PAGES)
def test_the_examples_are_read(kind: str) -> None:
    page = (FOLDER / f"{kind}.md").read_text("utf-8")
    examples = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.+?)```", page, re.S)]
    assert examples
    for example in examples:
        for name, values in example["data"]["collect"].items():
            assert collector_settings(values, name).wishes()["kind"] == kind
        for source in example["data"]["sources"].values():
            assert source["collect"] in example["data"]["collect"]
