"""`tunesmith data prepare` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from tunesmith.cli.app import app

LONG = "A sentence that is long enough to be kept by a least of fifty characters."


def rows_file(folder: Path) -> Path:
    rows = [{"question": f"Question {i}?", "answer": LONG if i % 2 else "No."} for i in range(6)]
    file = folder / "qa.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def test_files_and_a_recipe_give_the_same(tmp_path: Path) -> None:
    file = rows_file(tmp_path)
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "name: r\ntask: text\ndata:\n  sources: {qa: {path: qa.jsonl}}\n"
        "  quality: {min_characters: 50}\n"
    )
    out = [tmp_path / "one", tmp_path / "two"]
    home = ["--home", str(tmp_path / "home"), "--json"]
    typed = [
        ["data", "prepare", str(file), "--set", "min_characters=50", "--out", str(out[0]), *home],
        ["data", "prepare", str(recipe), "--out", str(out[1]), *home],
    ]
    facts = []
    for arguments in typed:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        facts.append(json.loads(result.stdout))
    assert facts[0]["kept"] == facts[1]["kept"] == 3
    assert facts[0]["reasons"] == {"too_short": 3}
    kept = [(folder / "kept/qa.jsonl").read_text("utf-8") for folder in out]
    assert kept[0] == kept[1]


def test_mistakes_are_named(tmp_path: Path) -> None:
    file = str(rows_file(tmp_path))
    for wrong, said in (
        (["--set", "min_chars=5"], "min_chars"),
        (["--set", "actions.refusal=drop"], "refusals"),
        (["--set", "nonsense"], "KEY=VALUE"),
        (["--profile", "x"], "recipe"),
    ):
        result = CliRunner().invoke(app, ["data", "prepare", file, *wrong])
        assert result.exit_code == 2
        assert said in result.output + (result.stderr or "")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("x")
    to = ["--out", str(tmp_path / "mine")]
    result = CliRunner().invoke(app, ["data", "prepare", file, *to])
    assert result.exit_code == 2
    assert (tmp_path / "mine/file").read_text() == "x"
