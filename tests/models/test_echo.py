"""The scripted model."""

from __future__ import annotations

import pytest

from tunesmith.models.echo import Echo
from tunesmith.records import Example, Message


def asked(*texts: str) -> list[Example]:
    return [Example((Message("system", "s"), Message("user", text)), "gold") for text in texts]


def test_without_a_script_it_repeats_the_question() -> None:
    batches = list(Echo(batch_size=2).replies(asked("a", "b c", "d")))
    assert [[(r.index, r.response, r.tokens) for r in batch] for batch in batches] == [
        [(0, "a", 1), (1, "b c", 2)],
        [(2, "d", 1)],
    ]


def test_a_mapping_answers_what_it_knows() -> None:
    (batch,) = Echo({"a": "one"}).replies(asked("a", "b"))
    assert batch[0].response == "one"
    assert batch[1].response == ""
    assert "script" in batch[1].failure


def test_a_function_sees_the_messages_and_not_the_gold_answer() -> None:
    (batch,) = Echo(lambda messages: f"{len(messages)} {messages[0].role}").replies(asked("a"))
    assert batch[0].response == "2 system"


def test_a_batch_holds_at_least_one() -> None:
    with pytest.raises(ValueError, match="batch_size"):
        Echo(batch_size=0)
