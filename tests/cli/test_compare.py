"""`tunesmith compare` as people and programs call it: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest


def tunesmith(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tunesmith", "compare", *arguments],
        env=os.environ | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def answers(path: Path, right: float, n: int = 200) -> str:
    draw = random.Random(path.name)
    rows = (
        {"id": i, "response": "yes" if draw.random() < right else "no", "label": "yes"}
        for i in range(n)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    return answers(tmp_path / "old.jsonl", 0.45), answers(tmp_path / "new.jsonl", 0.75)


def test_it_says_the_verdict_for_people(files: tuple[str, str]) -> None:
    result = tunesmith(*files, "--scorer", "label")
    assert result.returncode == 0, result.stderr
    said = " ".join(result.stdout.split())
    assert "label on the same 200 examples" in said
    assert said.count("better") == 1
    assert "new is better than old: label" in said
    assert "percentage points (95% interval +" in said
    assert "p < 0.001" in said
    assert "Traceback" not in result.stderr


def test_json_is_one_object_alone_on_stdout(files: tuple[str, str]) -> None:
    told = json.loads(tunesmith(*files, "--scorer", "label", "--json").stdout)
    assert set(told["a"]) == {"value", "n", "ci"}
    (found,) = told["comparisons"]
    assert (found["a"], found["b"], found["n"], found["verdict"]) == ("old", "new", 200, "better")
    assert found["ci"][0] < told["b"]["value"] - told["a"]["value"] < found["ci"][1]


def test_a_condition_that_holds_exits_with_1_and_still_speaks(files: tuple[str, str]) -> None:
    old, new = files
    worse = tunesmith(new, old, "--scorer", "label", "--fail-if", "worse", "--json")
    assert worse.returncode == 1
    assert json.loads(worse.stdout)["comparisons"][0]["verdict"] == "worse"
    assert "--fail-if worse: it holds" in worse.stderr
    assert tunesmith(old, new, "--scorer", "label", "--fail-if", "worse").returncode == 0


def test_what_a_user_gets_wrong_is_said_in_two_lines(
    files: tuple[str, str], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": 1, "response": "x", "label": "x"}\n{oops\n')
    for arguments, said in (
        ((files[0], str(bad), "--scorer", "label"), "bad.jsonl:2: not JSON"),
        ((files[0], str(tmp_path / "gone.jsonl"), "--scorer", "label"), "No such file"),
        ((*files, "--scorer", "lable"), "did you mean label?"),
        ((*files, "--scorer", "label", "--fail-if", "worst"), "did you mean worse?"),
        ((*files, "--scorer", "label", "--margin", "3"), "equivalence margin is 3.0"),
    ):
        result = tunesmith(*arguments)
        assert result.returncode == 2, result.stderr
        assert result.stdout == ""
        assert said in result.stderr
        assert "hint:" in result.stderr
        assert "Traceback" not in result.stderr
