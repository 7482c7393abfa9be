"""Shapes: recognised by looking, said aloud, and read as they were said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.collect.document import KEYS
from tunesmith.data.shape import Shaped, guess_task, map_fields, recognise, to_example
from tunesmith.data.source import RawRow, Source
from tunesmith.records import Message
from tunesmith.tasks.base import get_task

USER, ANSWER = Message("user", "Why?"), "Because."
TURNS = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
SAID = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]
SHAPES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("chat messages", {"messages": TURNS}),
    ("ShareGPT", {"conversations": SAID}),
    ("Alpaca", {"instruction": "Why?", "input": "", "output": "Because."}),
    ("Alpaca", {"instruction": "Why?", "output": "Because."}),
    ("instruction/response", {"instruction": "Why?", "response": "Because."}),
    ("prompt/completion", {"prompt": "Why?", "completion": "Because."}),
    ("prompt/response", {"prompt": "Why?", "response": "Because."}),
    ("question/answer", {"question": "Why?", "answer": "Because."}),
)


def shaped(row: dict[str, Any], task: str = "text", **rest: Any) -> Shaped:
    source = Source("s", "f.jsonl", **rest)
    mapped = map_fields(row, source.fields) if source.fields else row
    shape = recognise([mapped], source.fields) if task == "text" else None
    return to_example(RawRow("f.jsonl:1", row), get_task(task), shape, source)


def reason(row: dict[str, Any], task: str = "text", **rest: Any) -> str:
    found = shaped(row, task, **rest)
    assert found.example is None
    assert found.reject is not None
    assert found.reject.place == "f.jsonl:1"
    assert found.reject.row == row
    return found.reject.reason


@pytest.mark.parametrize(("name", "row"), SHAPES)
def test_each_shape_is_told_and_gives_the_same_example(name: str, row: dict[str, Any]) -> None:
    shape = recognise([{**row, "id": 1}, row])
    assert shape is not None
    assert shape.name == name
    assert shape.says.startswith(name)
    found = shaped({**row, "id": 1}).example
    assert found is not None
    assert (found.messages, found.target) == ((USER,), ANSWER)


def test_what_the_question_speaks_of_stands_below_it() -> None:
    for row in (
        {"instruction": "Sum up", "input": "A text", "output": "Short"},
        {"question": "Sum up", "context": "A text", "answer": "Short"},
        {"instruction": "Sum up", "context": "A text", "response": "Short"},
    ):
        found = shaped(row).example
        assert found is not None
        assert found.messages == (Message("user", "Sum up\n\nA text"),)
        shape = recognise([row])
        assert shape is not None
        assert "below it" in shape.says


def test_a_long_chat_keeps_its_turns_and_its_system_text() -> None:
    turns = [
        {"from": "system", "value": "Be brief"},
        *SAID,
        {"from": "human", "value": "And then?"},
        {"from": "gpt", "value": "Nothing."},
    ]
    found = shaped({"conversations": turns}).example
    assert found is not None
    assert [m.role for m in found.messages] == ["system", "user", "assistant", "user"]
    assert found.target == "Nothing."
    beside = shaped({"system": "Be brief", "messages": TURNS}).example
    assert beside is not None
    assert beside.messages == (Message("system", "Be brief"), USER)


def test_rows_of_no_common_shape_are_read_one_by_one() -> None:
    rows = [dict(SHAPES[4][1]), dict(SHAPES[5][1])]
    assert recognise(rows) is None
    assert recognise([]) is None
    assert recognise([{"text": "only text"}]) is None
    # Told from the first rows, met later: a row of another shape is still read by its columns.
    found = to_example(
        RawRow("f:9", rows[1]), get_task("text"), recognise([rows[0]]), Source("s", "f")
    )
    assert found.example is not None
    assert found.example.target == ANSWER


def test_a_field_mapping_decides_between_two_readings() -> None:
    row = {"instruction": "Why?", "output": "draft", "final": {"text": "Because."}}
    found = shaped(row, fields={"response": "final.text"}).example
    assert found is not None
    assert found.target == ANSWER


def test_a_column_that_is_not_there_is_named() -> None:
    row = {"q": "Why?", "a": {"text": "Because."}}
    fields = {"instruction": "q", "response": "a.text"}
    found = shaped(row, fields=fields).example
    assert found is not None
    assert found.target == ANSWER
    lost = to_example(
        RawRow("f:1", {"q": "Why?", "a": "text"}),
        get_task("text"),
        None,
        Source("s", "f", fields=fields),
    )
    assert lost.reject is not None
    assert lost.reject.reason == "no column 'a.text'"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"instruction": 3, "response": "x"}, "instruction is int"),
        ({"instruction": "x", "response": None}, "no response"),
        ({"instruction": "x", "response": " \n"}, "no response"),
        ({"instruction": "x", "response": ["y"]}, "response is list"),
        ({"messages": [TURNS[0]]}, "fewer than two turns"),
        ({"messages": [*TURNS, TURNS[0]]}, "not the assistant's"),
        ({"messages": ["Why?", "Because."]}, "not an object"),
        ({"messages": [{"role": "alien", "content": "x"}, TURNS[1]]}, "'alien'"),
        ({"messages": [{"role": "user", "content": None}, TURNS[1]]}, "NoneType"),
        ({"prompt": "half \ud83d", "completion": "x"}, "surrogate"),
        ({"text": "x"}, "neither a chat nor a question"),
        ({}, "empty"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(row: dict[str, Any], said: str) -> None:
    assert said in reason(row)


def test_the_prompt_of_a_row_with_an_unknown_label_is_known() -> None:
    row = {"permissions": "{}", "query": "Show", "expected_response": "full", "rationale": "r"}
    good = shaped(row, "access_decision")
    for label in ("approve_budget", None, 3):
        bad = shaped({**row, "expected_response": label, "user_role": "full"}, "access_decision")
        assert bad.example is None
        assert bad.unknown == (None if label is None else str(label))
        assert bad.prompt_key == good.prompt_key
        assert bad.prompt is not None
        assert "Show" in bad.prompt
    also_broken = shaped({**row, "expected_response": "?", "query": ""}, "access_decision")
    assert also_broken.prompt_key is None


def test_a_label_is_repaired_through_case_space_and_alias_alone() -> None:
    row = {"permissions": "{}", "query": "Show", "rationale": "r"}
    for written, label, repaired in (
        ("rejected", "rejected", None),
        (" Rejected ", "rejected", " Rejected "),
        ("reject", "rejected", "reject"),
    ):
        found = shaped({**row, "expected_response": written}, "access_decision")
        assert found.example is not None
        assert (found.example.label, found.repaired) == (label, repaired)
    assert "approve_budget" in reason(
        {**row, "expected_response": "approve_budget"}, "access_decision"
    )


def test_meta_comes_from_the_source_and_from_the_row() -> None:
    row = {
        **SHAPES[4][1],
        "difficulty": "hard",
        "metadata": {"topic": "fees", "count": 3, "source": "overridden"},
    }
    found = shaped(row, licence="MIT", role="test").example
    assert found is not None
    assert found.meta == {
        "difficulty": "hard",
        "topic": "fees",
        "source": "s",
        "licence": "MIT",
        "role": "test",
    }
    own = shaped({**row, "licence": "CC-BY-SA-3.0", "author": "Ann"}, licence="MIT").example
    assert own is not None
    assert (own.meta["licence"], own.meta["author"]) == ("CC-BY-SA-3.0", "Ann")
    # A row's own column never makes it a test row.
    plain = shaped({**row, "metadata": {"role": "test"}}).example
    assert plain is not None
    assert "role" not in plain.meta


def test_the_origin_of_a_row_is_its_own_word_its_citation_or_the_document_that_it_is() -> None:
    row = {"question": "Why?", "answer": "Because."}
    document = dict.fromkeys(KEYS, "") | row | {"id": "stackexchange:stats:1", "meta": {}}
    cited = {**row, "id": "x#1", "citation": {"source": "stackexchange:stats:1", "quote": "so"}}

    def origin(row: dict[str, Any], **more: Any) -> str | None:
        example = shaped(row, **more).example
        assert example is not None
        return example.meta.get("split_group")

    assert origin(document) == origin(cited) == "stackexchange:stats:1"
    assert origin({**cited, "split_group": "case 7"}) == "case 7"
    assert origin({**row, "case": "7"}, fields={"split_group": "case"}) == "7"
    assert origin({**row, "id": "1"}) is None
    assert origin({**row, "id": "stackexchange:stats:1"}) == "stackexchange:stats:1"
    assert origin({**row, "split_group": 7}) == "7"
    # A column that happens to be called so is no origin: an experiment has a control group.
    assert origin({**row, "group": "control", "metadata": {"group": "control"}}) is None


def test_earlier_turns_of_alpaca_come_first() -> None:
    row = {"instruction": "Why?", "input": "", "output": "Because.", "history": [["Hi", "Hello"]]}
    found = shaped(row).example
    assert found is not None
    assert found.messages == (Message("user", "Hi"), Message("assistant", "Hello"), USER)


def test_whom_to_credit_stays_with_the_row() -> None:
    said = {
        "title": "When may I stop?",
        "author": "Ann Author (https://example.org/users/1)",
        "date": "2014-05-06",
        "url": "https://example.org/q/1",
        "answer_url": "https://example.org/a/2",
    }
    row = {"question": "Why?", "answer": "Because.", **said}
    found = shaped(row, licence="CC-BY-SA-3.0").example
    assert found is not None
    assert found.meta == said | {"source": "s", "licence": "CC-BY-SA-3.0"}
    cited = shaped({**row, "citation": {"source": "arxiv:1", "quote": "so it is"}}).example
    assert cited is not None
    assert (cited.meta["citation"], cited.meta["quote"]) == ("arxiv:1", "so it is")
    plain = shaped({**row, "citation": "Author (2014)"}).example
    assert plain is not None
    assert plain.meta["citation"] == "Author (2014)"
    assert "quote" not in plain.meta


def test_the_task_is_told_from_the_columns() -> None:
    assert guess_task({"permissions", "query", "expected_response", "id"}) == "access_decision"
    assert guess_task({"input_text", "input_code", "output_dot"}) == "dot_graph"
    assert guess_task({"messages"}) == "text"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
COLUMNS = st.sampled_from(
    "messages conversations instruction input output response prompt completion system metadata "
    "permissions query expected_response output_dot input_text".split()
)


@given(st.dictionaries(COLUMNS, JSON, max_size=5))
def test_no_row_whatever_raises(row: dict[str, Any]) -> None:
    for task in ("text", "access_decision", "dot_graph"):
        found = shaped(row, task)
        assert (found.example is None) != (found.reject is None)
