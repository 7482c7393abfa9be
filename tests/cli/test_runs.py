"""Looking back at a run: every answer of it, and where its adapters lie."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tunesmith.cli.app import app
from tunesmith.records import Adapter, Answer, Example, Message, Outcome
from tunesmith.store.home import store_of
from tunesmith.store.nouns import Provenance, Status, Variant
from tunesmith.store.store import Store

TEST = tuple(Example((Message("user", f"Wie spät ist es? {i}"),), f"{i} Uhr") for i in range(3))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with one finished run of two variants."""
    with Store.open(store_of(tmp_path)) as store:
        run = store.start_run(
            "clock",
            runs=tmp_path / "runs",
            recipe_text="name: clock\n",
            resolved={"evaluation": {"confidence": 0.95}},
            provenance=Provenance(),
        )
        store.record_examples(run.id, TEST, twins=[])
        for name, kind in (("baseline", "untuned"), ("lora", "trained")):
            store.record_variant(run.id, Variant(name, kind, ""))  # type: ignore[arg-type]
            given = [
                Answer(e.id, f"{name} says", Outcome.SCORED, scores={"exact": 0.0}) for e in TEST
            ]
            store.record_answers(run.id, name, given)
        store.record_adapter(
            run.id,
            Adapter("lora", "lora", tmp_path / "here", "nano", 1, 2, 3.0, 4, 5, 6, 0.5),
        )
        store.finish_run(run.id, Status.DONE)
    return tmp_path


def said(home: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["runs", "show", "clock", "--home", str(home), *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_answer_is_a_json_line(home: Path) -> None:
    rows = [json.loads(line) for line in said(home, "--answers").splitlines()]
    assert [row["id"] for row in rows] == [e.id for e in TEST]
    assert rows[1]["prompt"] == [{"role": "user", "content": "Wie spät ist es? 1"}]
    assert rows[1]["target"] == "1 Uhr"
    assert rows[1]["answers"]["lora"] == {
        "response": "lora says", "outcome": "scored", "label": None, "scores": {"exact": 0.0},
    }  # fmt: skip
    assert json.loads(said(home, "--answers", "--json"))["examples"] == rows


def test_it_says_where_the_adapter_lies(home: Path) -> None:
    assert f"adapter lora {home / 'here'}" in said(home)
