"""The command line as people meet it: help, JSON, exit codes, errors in two lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunesmith.cli.app import ORDER

VERBS = (
    ("demo",), ("run",), ("plan",), ("data", "check"), ("compare",), ("runs", "show"),
    ("runs", "rm"), ("report",), ("doctor",), ("schema",), ("nano", "path"), ("nano", "build"),
)  # fmt: skip


def tunesmith(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tunesmith", *arguments],
        env=os.environ | {"TUNESMITH_HOME": str(home), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def refused(result: subprocess.CompletedProcess[str], *said: str) -> None:
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for words in said:
        assert words in result.stderr


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_helps_with_an_example(verb: tuple[str, ...], tmp_path: Path) -> None:
    result = tunesmith(tmp_path, *verb, "--help")
    assert result.returncode == 0
    assert "Example" in result.stdout
    assert "--json" in result.stdout


def test_groups_help_when_they_are_called_bare(tmp_path: Path) -> None:
    for group in ("data", "nano"):
        assert f"Example: tunesmith {group}" in tunesmith(tmp_path, group, "--help").stdout
        bare = tunesmith(tmp_path, group)
        assert "Commands" in bare.stdout + bare.stderr


def test_verbs_are_listed_in_the_order_in_which_one_meets_them(tmp_path: Path) -> None:
    said = tunesmith(tmp_path, "--help").stdout
    places = [said.index(f"│ {verb} ") for verb in ORDER]
    assert places == sorted(places)


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m tunesmith schema | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("{", "")


def test_a_place_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "model"
    refused(tunesmith(tmp_path, "nano", "build", str(target)), "cannot make", str(target.parent))


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom tunesmith.cli.app import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "heavy = ['torch', 'transformers', 'peft', 'pandas', 'scipy', 'sklearn', 'plotly']\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_doctor_and_schema_speak_json(tmp_path: Path) -> None:
    examined = tunesmith(tmp_path, "doctor", "--json")
    assert examined.stderr.startswith("looking at cores"), "it says at once what takes its time"
    told = json.loads(examined.stdout)
    assert {"cores", "memory", "GPU", "bfloat16", "4-bit", "Graphviz", "hub"} <= set(told)
    schema = json.loads(tunesmith(tmp_path, "schema", "--json").stdout)
    assert "data" in schema["properties"]


def test_a_dry_run_names_the_origin_of_every_value(tmp_path: Path) -> None:
    result = tunesmith(
        tmp_path, "run", "orgaccess", "--dry-run", "--json", "--set", "training.lora_r=8"
    )
    told = json.loads(result.stdout)
    assert told["training.lora_r"] == {"value": 8, "from": told["training.lora_r"]["from"]}
    assert "--set" in told["training.lora_r"]["from"]
    assert "line" in told["training.lora_alpha"]["from"]
    assert told["training.adam_beta1"]["from"] == "default"
    assert not list(tmp_path.iterdir())


def test_no_runs_yet(tmp_path: Path) -> None:
    assert json.loads(tunesmith(tmp_path, "runs", "--json").stdout) == {"runs": []}
    refused(tunesmith(tmp_path, "runs", "show", "nothing", "--json"), "nothing")


def test_an_unknown_key_is_answered_with_the_nearest(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "name: mine\ntask: text\ndata:\n  sources:\n    a: {path: a.jsonl}\n"
        "training:\n  lerning_rate: 1e-4\n"
    )
    result = tunesmith(tmp_path, "run", str(recipe), "--json")
    refused(result, "mine.yaml", "7", "lerning_rate", "learning_rate")


def test_a_missing_recipe_file_and_model(tmp_path: Path) -> None:
    refused(tunesmith(tmp_path, "run", "nowhere.yaml"), "nowhere.yaml")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: mine\ntask: text\ndata:\n  sources:\n    a: {path: a.jsonl}\n")
    refused(tunesmith(tmp_path, "run", str(recipe)), "a.jsonl")
    rows = tmp_path / "a.jsonl"
    rows.write_text(
        "".join(json.dumps({"prompt": f"p{i}", "completion": f"c{i}"}) + "\n" for i in range(20))
    )
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text('{"model_type": "llama"}')
    sets = ("--set", f"data.sources.a.path={rows}", "--set", f"model.name={tmp_path / 'bare'}")
    refused(tunesmith(tmp_path, "run", str(recipe), *sets), "tokenizer", "bare")
    refused(
        tunesmith(tmp_path, "run", str(recipe), "--set", "methods.x.method=dorra"), "dorra", "lora"
    )
