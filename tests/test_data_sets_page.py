"""The commands of docs/data-sets.md run on the files that the page shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tunesmith.cli.app import app

PAGE = Path(__file__).parent.parent / "docs" / "data-sets.md"
FILES = re.compile(r"^```\w+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ tunesmith (.+)$", re.MULTILINE)


def test_every_command_of_the_page_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = PAGE.read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    written = FILES.findall(page)
    assert [name for name, _ in written] == ["asked.jsonl", "made.jsonl", "faq.yaml"]
    for name, content in written:
        (tmp_path / name).write_text(content, "utf-8")
    commands = COMMAND.findall(page)
    assert len(commands) == 12
    said = {}
    for command in commands:
        found = CliRunner().invoke(app, shlex.split(command), env={"COLUMNS": "120"})
        assert found.exit_code == 0, (command, found.stderr)
        said[command] = found.stdout
    assert "supervised" in said["data show faq.yaml --shuffle --seed 1 --limit 3"]
    assert "test to training" in said["data diff faq-v1 faq"]
    made = ("faq-v1/sources/made/train.jsonl", "data_report.html", "openai.jsonl", "alpaca.jsonl")
    assert all((tmp_path / name).is_file() for name in made)
    credits = ("faq-v1/ATTRIBUTION.md", "openai.jsonl.ATTRIBUTION.md")
    assert all("CC-BY-SA-4.0" in (tmp_path / name).read_text("utf-8") for name in credits)
