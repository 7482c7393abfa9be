"""Finding a task by name, reading labels, and the check of the scorers on gold answers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.errors import ConfigError
from tunesmith.records import Example, Message, Outcome
from tunesmith.tasks.base import (
    Draft,
    Parsed,
    RowError,
    Task,
    UnknownLabel,
    available_tasks,
    get_task,
    gold_check,
    required_text,
    score_all,
)

FILE = """
from tunesmith.records import Outcome
from tunesmith.tasks.base import Draft, Parsed, Task

class Echo(Task):
    name = "echo"
    description = "say it again"
    metrics = ("same",)
    primary = "same"

    def __init__(self, loud=False):
        self.loud = loud

    def shape(self, row):
        return Draft((), str(row["text"]))

    def parse(self, response):
        return Parsed(Outcome.SCORED, response)

    def score(self, parsed, example):
        return {"same": float(parsed.text == example.target)}
"""


class Colour(Task):
    """A small task with a grader that has a fault: it never takes violet."""

    name = "colour"
    description = "name the colour"
    labels = ("red", "blue", "violet")
    aliases: ClassVar[Mapping[str, str]] = {"dark red": "red"}
    metrics = ("right",)
    primary = "right"

    def shape(self, row: Mapping[str, object]) -> Draft:
        raw = required_text(row, "colour")
        label = self.canonical_label(raw)
        return Draft((Message("user", "Which?"),), label, label, raw)

    def parse(self, response: str) -> Parsed:
        label = response.strip().lower()
        if label in self.labels:
            return Parsed(Outcome.SCORED, response, label)
        return Parsed(Outcome.UNPARSED, response)

    def score(self, parsed: Parsed, example: Example) -> dict[str, float]:
        return {"right": float(parsed.label == example.label and parsed.label != "violet")}


@pytest.mark.parametrize("name", ["access_decision", "dot_graph", "text"])
def test_built_in_tasks_keep_their_promises(name: str) -> None:
    task = get_task(name)
    assert task.name == name
    assert name in available_tasks()
    assert task.primary in task.metrics
    assert task.description
    assert all(label == label.casefold().strip() for label in task.labels)
    assert set(task.aliases.values()) <= set(task.labels)
    assert task.zero() == dict.fromkeys(task.metrics, 0.0)
    assert task.max_new_tokens > 0


@given(st.sampled_from(["access_decision", "dot_graph", "text"]), st.text(), st.text(min_size=1))
def test_any_answer_is_read_and_scored_between_0_and_1(
    name: str, response: str, target: str
) -> None:
    task = get_task(name)
    label = task.labels[0] if task.labels else None
    ((parsed, scores),) = score_all(task, [response], [Example((), target, label)])
    assert tuple(scores) == task.metrics
    assert all(0.0 <= value <= 1.0 for value in scores.values())
    if parsed.outcome is Outcome.UNPARSED:
        assert scores == task.zero()
        assert parsed.label is None
    assert parsed.outcome is not Outcome.FAILED


def test_a_task_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "echo_task.py"
    path.write_text(FILE)
    for name in (str(path), f"{path}:Echo"):
        task = get_task(name, {"loud": True})
        assert task.name == "echo"
        assert task.judge == ""
        assert gold_check(task, [Example((), "hello")])[0].full_marks == 1


@pytest.mark.parametrize(
    ("content", "suffix", "message"),
    [
        (None, "", "does not exist"),
        ("x = 1", "", "defines 0 tasks"),
        ("x = 1", ":Nope", "defines no Nope"),
        ("x = 1", ":x", "is not a Task"),
        ("1 / 0", "", "ZeroDivisionError"),
        (FILE.replace("def score", "def rate"), ":Echo", "does not define score"),
        (FILE + "\nclass Other(Echo):\n    name = 'other'\n", "", "defines 2 tasks"),
    ],
)
def test_a_file_that_is_no_task(
    tmp_path: Path, content: str | None, suffix: str, message: str
) -> None:
    path = tmp_path / "task.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        get_task(f"{path}{suffix}")


def test_unknown_names_and_options_are_explained() -> None:
    with pytest.raises(ConfigError, match="acess_decision") as caught:
        get_task("acess_decision")
    assert "access_decision" in caught.value.hint
    with pytest.raises(ConfigError, match="no option 'promt'") as caught:
        get_task("dot_graph", {"promt": "code"})
    assert "prompt" in caught.value.hint
    with pytest.raises(ConfigError, match="prompt is code or text"):
        get_task("dot_graph", {"prompt": "picture"})


def test_labels_are_repaired_and_never_guessed() -> None:
    task = Colour()
    for raw, label in (("red", "red"), (" Red\n", "red"), ("Dark  RED", "red"), ("BLUE", "blue")):
        assert task.canonical_label(raw) == label
        assert task.shape({"colour": raw}).raw_label == raw
    for raw in ("crimson", "re", "red!", "red blue"):
        with pytest.raises(UnknownLabel) as caught:
            task.canonical_label(raw)
        assert caught.value.label == raw
        assert raw in caught.value.reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [({}, "no x"), ({"x": None}, "no x"), ({"x": " "}, "no x"), ({"x": 3}, "x is int, not text")],
)
def test_missing_text_is_a_row_error(row: dict[str, object], reason: str) -> None:
    with pytest.raises(RowError) as caught:
        required_text(row, "x")
    assert caught.value.reason == reason


def test_gold_check_finds_a_grader_that_fails_its_own_answers() -> None:
    answers = ["red", "violet", "blue", "violet"]
    examples = [Example((), a, a, {}, f"f:{i}") for i, a in enumerate(answers, 1)]
    (check,) = gold_check(Colour(), examples)
    assert (check.metric, check.n, check.full_marks) == ("right", 4, 2)
    assert check.failures == ("f:2", "f:4")
    unplaced = Example((), "violet", "violet")
    assert gold_check(Colour(), [unplaced])[0].failures == (unplaced.id,)
    assert gold_check(Colour(), [])[0].n == 0


def test_score_all_is_score_for_each() -> None:
    task = Colour()
    examples = [Example((), "red", "red"), Example((), "blue", "blue")]
    assert score_all(task, ["red", "pink"], examples) == [
        (Parsed(Outcome.SCORED, "red", "red"), {"right": 1.0}),
        (Parsed(Outcome.UNPARSED, "pink"), {"right": 0.0}),
    ]
    with pytest.raises(ValueError, match="zip"):
        score_all(task, ["red"], examples)


def test_tasks_import_no_model_library_and_no_heavy_one() -> None:
    code = (
        "import sys; from tunesmith.tasks.base import get_task, available_tasks;"
        "import tunesmith.tasks.scorers; [get_task(n) for n in available_tasks()];"
        "heavy = {'torch', 'transformers', 'sacrebleu', 'rouge_score', 'nltk', 'pandas', 'numpy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
