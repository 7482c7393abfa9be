"""What is exported comes back equal, and what a format cannot carry is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.data.formats import (
    FORMATS,
    CannotCarryError,
    export,
    from_whole,
    is_whole,
    openai_problems,
    write_rows,
)
from tunesmith.data.read import read_rows
from tunesmith.data.shape import recognise, to_example
from tunesmith.data.source import Source
from tunesmith.errors import DataError
from tunesmith.records import Example, Message
from tunesmith.tasks.base import get_task

# As the reading layer makes them: no blank turn, no half of a surrogate pair, a stripped answer.
SAID = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
TURNS = st.lists(st.tuples(SAID, SAID), max_size=2)


@st.composite
def examples(draw: st.DrawFn, plain: bool = False) -> Example:
    messages = [] if plain or draw(st.booleans()) else [Message("system", draw(SAID))]
    for question, answer in [] if plain else draw(TURNS):
        messages += [Message("user", question), Message("assistant", answer)]
    messages.append(Message("user", draw(SAID)))
    return Example(
        tuple(messages),
        draw(SAID.map(str.strip)),
        draw(st.none() | st.sampled_from(["yes", "no"])),
        draw(st.dictionaries(st.sampled_from(["url", "kind"]), SAID)) | {"source": "s"},
        "f.jsonl:1",
    )


def read_back(path: Path) -> list[Example]:
    """As a recipe reads a file: recognised by its columns, shaped by the task `text`."""
    raws = list(read_rows(Source("s", str(path))))
    task, source = get_task("text"), Source("s", str(path))
    shape = recognise([raw.row for raw in raws if raw.row is not None])
    found = [to_example(raw, task, shape, source) for raw in raws]
    assert [it.reject for it in found if it.reject] == []
    return [it.example for it in found if it.example is not None]


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "jsonl"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_goes_out_comes_back(tmp_path: Path, name: str, data: st.DataObject) -> None:
    whole = data.draw(st.lists(examples(plain=name in ("alpaca", "trl-plain")), min_size=1))
    sent = export(whole, name)
    assert not sent.skipped
    write_rows(tmp_path / "out.jsonl", sent.rows)
    back = read_back(tmp_path / "out.jsonl")
    assert [(e.messages, e.target) for e in back] == [(e.messages, e.target) for e in whole]
    labelled = sum(e.label is not None for e in whole)
    assert sent.lost.get("label", 0) == labelled
    assert sent.lost["meta.source"] == len(whole)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(examples(), min_size=1))
def test_jsonl_holds_everything(tmp_path: Path, whole: list[Example]) -> None:
    sent = export(whole, "jsonl")
    assert not sent.lost
    write_rows(tmp_path / "out.jsonl", sent.rows)
    lines = (tmp_path / "out.jsonl").read_bytes().decode().removesuffix("\n").split("\n")
    rows = [json.loads(line) for line in lines]
    assert all(map(is_whole, rows))
    back = [from_whole(row, "f.jsonl:1") for row in rows]
    assert back == whole
    assert [row["id"] for row in rows] == [e.id for e in whole]
    # A recipe reads it, too; what its task has no place for is not there.
    again = read_back(tmp_path / "out.jsonl")
    assert [(e.messages, e.target) for e in again] == [(e.messages, e.target) for e in whole]


@given(st.lists(examples(), max_size=6), st.sampled_from(["alpaca", "trl-plain"]))
def test_what_cannot_be_carried_is_counted_by_name(whole: list[Example], name: str) -> None:
    fits = [e for e in whole if len(e.messages) == 1]
    sent = export(whole, name, skip=True)
    assert len(sent.rows) == len(fits)
    assert sum(count for count, _ in sent.skipped.values()) == len(whole) - len(fits)
    assert set(sent.skipped) <= {"a system turn", "several turns"}
    if len(fits) < len(whole):
        with pytest.raises(DataError, match="cannot carry") as told:
            export(whole, name)
        assert "--skip" in told.value.hint


def test_refusals_name_places() -> None:
    several = Example(
        (Message("user", "a"), Message("assistant", "b"), Message("user", "c")), "d", place="f:3"
    )
    with pytest.raises(DataError, match=r"1 of 1 rows: 1 rows hold several turns \(f:3\)"):
        export([several], "alpaca")
    with pytest.raises(DataError, match="no format 'parquet'"):
        export([several], "parquet")
    with pytest.raises(CannotCarryError, match="an empty answer"):
        FORMATS["openai"](Example((Message("user", "a"),), ""))


GOOD: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?", "name": "ada"},
        {"role": "assistant", "content": "Because.", "weight": 1},
    ]
}


def changed(at: int, **turn: Any) -> dict[str, Any]:
    turns = [dict(t) for t in GOOD["messages"]]
    turns[at] |= turn
    return {"messages": turns}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (GOOD, None),
        ({"messages": []}, "no list of messages"),
        ({"prompt": "a"}, "no list of messages"),
        ({"messages": ["a"]}, "a turn that is no object"),
        (changed(1, role="human"), "a turn of the role 'human'"),
        (changed(1, content=None), "a turn without content"),
        (changed(2, content=""), "an empty answer"),
        (changed(2, content=None, tool_calls=[{"id": "1"}]), None),
        (changed(2, weight=0.5), "a weight that is not 0 or 1 on a turn of the assistant"),
        (changed(1, weight=1), "a weight that is not 0 or 1 on a turn of the assistant"),
        (changed(2, weight=0), "no turn of the assistant with a weight"),
        (changed(2, role="user", weight=1), None),
        (changed(1, loss=True), "a turn with the key 'loss'"),
        ({"messages": GOOD["messages"][:2]}, "no turn of the assistant"),
        ({"messages": GOOD["messages"][::-1]}, "a last turn that is not the assistant's"),
    ],
)
def test_the_rules_of_openai(row: dict[str, Any], problem: str | None) -> None:
    found = openai_problems(row)
    if row == changed(2, role="user", weight=1):
        assert found == ["a weight that is not 0 or 1 on a turn of the assistant"]
    else:
        assert found == ([problem] if problem else [])


def test_openai_wants_ten_rows() -> None:
    one = Example((Message("user", "a"),), "b")
    assert export([one] * 10, "openai").warnings == ()
    [warning] = export([one] * 9, "openai").warnings
    assert "fewer than 10 rows: 9" in warning


@pytest.mark.parametrize("name", ["trl", "trl-plain"])
def test_trl_and_datasets_take_it(tmp_path: Path, name: str) -> None:
    from datasets import load_dataset
    from trl.data_utils import is_conversational, maybe_apply_chat_template

    from tiny_models import tiny_tokenizer

    whole = [Example((Message("user", f"q{i}"),), f"a{i}") for i in range(12)]
    write_rows(tmp_path / "out.jsonl", export(whole, name).rows)
    loaded = load_dataset(
        "json", data_files=str(tmp_path / "out.jsonl"), split="train", cache_dir=str(tmp_path)
    )
    assert loaded.num_rows == 12
    assert set(loaded.column_names) == {"prompt", "completion"}
    first = loaded[0]
    assert is_conversational(first) is (name == "trl")
    text = maybe_apply_chat_template(first, tiny_tokenizer())
    assert text["completion"].startswith("a0")


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_rows(tmp_path / "file" / "out.jsonl", [])
    with pytest.raises(DataError, match=r"f:1: not a row as"):
        from_whole({"id": "", "messages": [], "label": None, "meta": {}, "place": ""}, "f:1")
