"""Plain questions and answers: one record in every usual shape, and the real campus files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunesmith.records import Example, Message, Outcome
from tunesmith.tasks.base import RowError, gold_check, score_all
from tunesmith.tasks.text import Text

Q, A = "What is 2 + 2?", "It is 4."
ASKED = (Message("user", Q),)
BELOW = (Message("user", f"{Q}\n\nBriefly."),)
WITH_SYSTEM = (Message("system", "Be brief."), Message("user", Q))
THREE = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", Q))


ANSWERED: dict[str, object] = {"role": "assistant", "content": A}
CALL: dict[str, object] = {**ANSWERED, "tool_calls": [{"id": "1"}]}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


def _openai(*turns: tuple[str, str]) -> dict[str, object]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def _sharegpt(*turns: tuple[str, str]) -> dict[str, object]:
    return {"conversations": [{"from": speaker, "value": value} for speaker, value in turns]}


@pytest.mark.parametrize(
    ("row", "messages"),
    [
        (_openai(("user", Q), ("assistant", A)), ASKED),
        (_openai(("system", "Be brief."), ("user", Q), ("assistant", A)), WITH_SYSTEM),
        (
            _openai(("user", "Hi"), ("assistant", "Hello"), ("user", Q), ("assistant", A)),
            THREE,
        ),
        (_sharegpt(("human", Q), ("gpt", A)), ASKED),
        (_sharegpt(("human", Q), ("gpt", A)) | {"system": "Be brief."}, WITH_SYSTEM),
        ({"instruction": Q, "input": "", "output": A}, ASKED),
        ({"instruction": Q, "input": "Briefly.", "output": A}, BELOW),
        ({"instruction": Q, "output": A, "system": "Be brief."}, WITH_SYSTEM),
        ({"instruction": Q, "response": A, "metadata": {"topic": "sums"}}, ASKED),
        ({"instruction": Q, "context": "Briefly.", "response": A}, BELOW),
        ({"prompt": Q, "completion": f"  {A}\n"}, ASKED),
        ({"prompt": Q, "response": A}, ASKED),
        ({"question": Q, "context": None, "answer": A}, ASKED),
        ({"instruction": Q, "input": "", "output": A, "history": [["Hi", "Hello"]]}, THREE),
        ({"instruction": Q, "output": A, "history": []}, ASKED),
        ({"instruction": Q, "output": A, "history": "of Rome"}, ASKED),
        (_openai(("developer", "Be brief."), ("user", Q), ("assistant", A)), WITH_SYSTEM),
        (_sharegpt(("human", Q), ("chatgpt", A)), ASKED),
        (
            {
                "messages": [
                    {"role": "user", "content": "Hi"},
                    {"role": "assistant", "content": "Hello", "weight": 0, "tool_calls": None},
                    {"role": "user", "content": [{"type": "text", "text": Q}]},
                    {"role": "assistant", "content": A, "weight": 1},
                ]
            },
            THREE,
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": f"{Q}\n"},
                            {"type": "text", "text": "Briefly."},
                        ],
                    },
                    {"role": "assistant", "content": A},
                ]
            },
            BELOW,
        ),
    ],
)
def test_every_shape_gives_the_same_example(
    row: dict[str, object], messages: tuple[Message, ...]
) -> None:
    draft = Text().shape(row)
    assert draft.messages == messages
    assert draft.target == A
    assert draft.label is None


def test_a_system_text_of_the_recipe_is_for_rows_that_bring_none() -> None:
    task = Text(system="Be kind.")
    assert task.shape({"prompt": Q, "completion": A}).messages[0] == Message("system", "Be kind.")
    own = task.shape({"prompt": Q, "completion": A, "system": "Be brief."})
    assert own.messages == WITH_SYSTEM


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "neither a chat nor"),
        ({"text": "x"}, "neither a chat nor a question with its answer: text"),
        ({"prompt": "", "completion": A}, "no prompt"),
        ({"prompt": Q, "completion": 4}, "completion is int, not text"),
        ({"instruction": Q, "input": 3, "output": A}, "input is int, not text"),
        (_openai(("user", Q)), "fewer than two turns"),
        (_openai(("user", Q), ("user", A)), "the last turn is not the assistant's"),
        (_openai(("system", Q), ("assistant", A)), "nobody asks anything"),
        (_openai(("user", Q), ("tool", A)), "a turn of messages is of a tool ('tool')"),
        (
            _sharegpt(("human", Q), ("function_call", "{}"), ("observation", "4"), ("gpt", A)),
            "a turn of conversations is of a tool ('function_call')",
        ),
        (_sharegpt(("human", Q), ("observation", "4"), ("gpt", A)), "of a tool ('observation')"),
        (_openai(("user", Q), ("alien", A)), "spoken by 'alien'"),
        ({"messages": [{"role": "user", "content": Q}, CALL]}, "a turn of messages calls a tool"),
        (
            {"messages": [{"role": "user", "content": Q}, {**ANSWERED, "weight": 0}]},
            "the last turn has weight 0: it is not to be learned",
        ),
        ({"messages": [{"role": "user", "content": [IMAGE]}, ANSWERED]}, "a part 'image_url'"),
        ({"messages": [{"role": "user", "content": []}, ANSWERED]}, "a turn of messages is empty"),
        ({"instruction": Q, "output": A, "history": [["Hi"]]}, "history is no list of pairs"),
        ({"instruction": Q, "output": A, "history": [["Hi", None]]}, "history is no list of"),
        (_openai(("user", Q), ("assistant", " ")), "a turn of messages is empty"),
        ({"messages": ["hello", "you"]}, "a turn of messages is str, not an object"),
        ({"conversations": [{"from": "human", "value": 1}] * 2}, "holds int, not text"),
    ],
)
def test_broken_rows_say_why(row: dict[str, object], reason: str) -> None:
    with pytest.raises(RowError) as caught:
        Text().shape(row)
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    "name", ["cs_106.json", "academic_calendar_33.json", "cost_of_attendance_35.json"]
)
def test_gold_answers_of_the_real_files_get_full_marks(shared_data: Path, name: str) -> None:
    rows = json.loads((shared_data / "campus" / name).read_text("utf-8"))
    task = Text()
    examples = [Example(d.messages, d.target) for d in map(task.shape, rows)]
    assert len(examples) == int(name.rpartition("_")[2].removesuffix(".json"))
    for check in gold_check(task, examples):
        assert check.full_marks == check.n, (check.metric, check.failures)


def test_space_is_no_answer_and_a_refusal_is_one() -> None:
    gold = Example((), "I'm sorry, but I can't tell.")
    blank, refused = score_all(Text(), [" \n", gold.target], [gold, gold])
    assert blank[0].outcome is Outcome.UNPARSED
    assert blank[1] == Text().zero()
    assert refused[0].outcome is Outcome.REFUSED
    assert refused[1] == dict.fromkeys(Text.metrics, 1.0)
