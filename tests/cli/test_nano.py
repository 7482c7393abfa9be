"""`nano build`: where it writes, and what it never overwrites."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tunesmith.cli.app import app
from tunesmith.cli.nano import beside
from tunesmith.errors import ConfigError
from tunesmith.models import nano


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("names", [["config.json"], ["notes.txt"], ["card.json", "notes.txt"]])
def test_a_folder_of_something_else_is_refused_and_untouched(
    tmp_path: Path, names: list[str]
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in names:
        (folder / name).write_text("mine")
    before = content(tmp_path)
    result = CliRunner().invoke(app, ["nano", "build", str(folder), "--steps", "1"])
    assert result.exit_code == 2
    assert "it is no nano of an earlier build" in result.stderr
    assert "new or empty" in result.stderr
    assert content(tmp_path) == before


def test_a_file_and_the_folder_one_stands_in_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="file is a file"), beside(tmp_path / "file"):
        pass
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ConfigError, match="the folder you stand in"), beside(Path()):
        pass


def test_an_older_nano_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "nano"
    shutil.copytree(nano.path(), folder)
    with beside(folder) as partial:
        (partial / "card.json").write_text("new")
        assert "config.json" in content(folder)
    assert content(tmp_path) == {"nano/card.json": b"new"}


@pytest.mark.parametrize("empty", [True, False])
def test_a_new_or_empty_folder_is_filled(tmp_path: Path, empty: bool) -> None:
    folder = tmp_path / "deep" / "nano"
    if empty:
        folder.mkdir(parents=True)
    with beside(folder) as partial:
        (partial / "card.json").write_text("new")
    assert content(tmp_path) == {"deep/nano/card.json": b"new"}


def test_a_build_that_breaks_off_leaves_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "nano"
    shutil.copytree(nano.path(), folder)
    before = content(tmp_path)
    with pytest.raises(KeyboardInterrupt), beside(folder) as partial:
        (partial / "card.json").write_text("half")
        raise KeyboardInterrupt
    assert content(tmp_path) == before
