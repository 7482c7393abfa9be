"""`learn`, `lineage` and `rollback` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from small_topics import write_topics
from tunesmith.cli.app import app


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, words)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sessions beside one another, learned in one command."""
    folder = tmp_path_factory.mktemp("learned")
    recipe = write_topics(folder)
    words = ("learn", str(recipe), "--all", "--strategy", "beside", "--home", str(folder))
    done = invoke(*words, "--set", "data.sources.three=null", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["lineage"] == "topics"
    assert [s["topic"] for s in told["sessions"]] == ["one", "two"]
    assert {s["strategy"] for s in told["sessions"]} == {"beside"}
    return folder


def test_the_chain_is_drawn(home: Path) -> None:
    done = invoke("lineage", "--home", str(home))
    assert done.exit_code == 0
    assert "1 one beside" in done.stdout
    assert "accuracy by topic, behind each session" in done.stdout
    assert "backward transfer" in done.stdout
    told = json.loads(invoke("lineage", "topics", "--home", str(home), "--json").stdout)
    (forgotten,) = told["forgetting"]
    assert (forgotten["session"], forgotten["topic"], forgotten["n"]) == (2, "one", 6)
    assert forgotten["verdict"] in {"better", "worse", "no evidence", "equivalent"}
    assert [g["session"] for g in told["general_perplexity"]] == [0, 1, 2]


def test_going_back_and_forth(home: Path) -> None:
    told = json.loads(invoke("rollback", "--home", str(home), "--json").stdout)
    assert told["current"] == 1
    assert [s["number"] for s in told["other_branches"]] == [2]
    again = invoke("rollback", "2", "--home", str(home))
    assert again.exit_code == 0
    assert "2 two beside" in again.stdout
    assert "current" in again.stdout
    far = invoke("rollback", "9", "--home", str(home))
    assert far.exit_code == 2
    assert "topics has no session 9" in far.stderr


def test_what_cannot_be_is_told_before_anything_is_done(home: Path, tmp_path: Path) -> None:
    nothing = invoke("lineage", "--home", str(tmp_path))
    assert nothing.exit_code == 2
    assert "tunesmith learn RECIPE begins one" in " ".join(nothing.stderr.split())
    both = invoke("learn", "campus", "--all", "--topic", "dining", "--home", str(tmp_path))
    assert both.exit_code == 2
    assert "exclude one another" in both.stderr
    wrong = invoke("learn", "campus", "--strategy", "melt", "--home", str(tmp_path))
    assert wrong.exit_code == 2
    assert "melt" in wrong.stderr or "lineage.strategy" in wrong.stderr
