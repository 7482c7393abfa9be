"""`tunesmith study` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from small_studies import write_study
from tunesmith.cli.app import app
from tunesmith.store.store import Store


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, ("study", *words))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a method that diverges, done for the other one."""
    folder = tmp_path_factory.mktemp("studied")
    wild = "  wild: {method: lora, training: {lora_alpha: 1.0e+38, max_grad_norm: 0}}\n"
    file = write_study(folder, methods=wild + "  lora:\n")
    done = invoke(str(file), "--home", str(folder), "--only", "lora", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["runs"], told["trials"], told["made"], told["failures"]) == (2, 2, 4, [])
    (row,) = told["tasks"]["colours"]["methods"]
    assert (row["method"], row["seeds"], row["failed"]) == ("lora", 2, 0)
    assert row["held_out_loss"]["mean"] > 0
    with Store.open(folder) as store:
        trials = [r.validation_loss for r in store.study_runs("small") if r.trial is not None]
    assert row["search_loss"] == min(t for t in trials if t is not None)
    assert row["held_out_loss"]["sd"] is not None
    assert told["tasks"]["colours"]["primary"] == "accuracy"
    assert "seeds 2/2" in done.stderr
    return folder


def test_a_table_with_the_means_and_what_failed(home: Path) -> None:
    done = invoke(str(home / "small.yaml"), "--home", str(home))
    assert done.exit_code == 1
    assert "±" in done.stdout
    assert "search" in done.stdout
    assert "0 of 2" in done.stdout
    assert "8 trainings, 2 of them now" in done.stdout
    assert "failed: wild" in done.stderr
    told = json.loads(invoke(str(home / "small.yaml"), "--home", str(home), "--json").stdout)
    assert told["made"] == 0
    assert len(told["failures"]) == 4
    rows = told["tasks"]["colours"]["methods"]
    assert [(row["method"], row["search_loss"] is None) for row in rows] == [
        *(("wild", True), ("lora", False))
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--engine", "steam"), "there is no engine 'steam'"),
        (("--only", "loraa"), "the study has no method 'loraa'"),
        (("--task", "sums"), "the study has no task 'sums'"),
    ],
)
def test_what_cannot_be_is_told(home: Path, words: tuple[str, ...], said: str) -> None:
    done = invoke(str(home / "small.yaml"), "--home", str(home), *words)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.split())


def test_a_study_is_no_recipe(home: Path) -> None:
    done = CliRunner().invoke(app, ("run", "methods", "--home", str(home)))
    assert done.exit_code == 2
    assert "there is no recipe methods" in done.stderr
