"""Shape: what a row looks like, said aloud, and the Example that a Task makes of it.

The shapes are those that instruction data comes in: chat messages (OpenAI), ShareGPT
conversations, Alpaca (instruction, input, output), instruction and response, prompt and
completion, question and answer. For a generic task they are made one, chat messages with the
answer last, before the task sees the row; a task with columns of its own gets the row as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tunesmith.data.source import RawRow, Source
from tunesmith.records import Example, Message, Reject
from tunesmith.tasks.base import Draft, RowError, Task, UnknownLabel

LOOKED_AT = 64  # rows from which the shape is told
META = ("difficulty", "url", "kind", "topic", "category", "language")
# Columns of the question, of what it speaks of, and of the answer, most telling first.
PAIRS: tuple[tuple[str, str, str, str], ...] = (
    ("Alpaca", "instruction", "input", "output"),
    ("instruction/response", "instruction", "input", "response"),
    ("instruction/response", "instruction", "context", "response"),
    ("prompt/completion", "prompt", "", "completion"),
    ("prompt/response", "prompt", "", "response"),
    ("question/answer", "question", "context", "answer"),
)
CHATS = (("chat messages", "messages"), ("ShareGPT", "conversations"))
SPEAKERS = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
}
GENERIC = "text"  # the task that takes the shapes above


@dataclass(frozen=True, slots=True)
class Shape:
    """A recognised shape: its name, a sentence for the reader, and the columns it speaks of."""

    name: str
    says: str
    question: str = ""
    context: str = ""
    answer: str = ""


class Shaped(NamedTuple):
    """What became of one row: an Example or a Reject, and what was seen on the way.

    `prompt_key` is there wherever the prompt could be rendered, also for a row whose label nobody
    knows; `repaired` is the spelling that was repaired, `unknown` the one that could not be.
    """

    example: Example | None
    reject: Reject | None
    prompt_key: str | None = None
    repaired: str | None = None
    unknown: str | None = None


def recognise(rows: Sequence[Mapping[str, Any]]) -> Shape | None:
    """The generic shape of some rows by their columns; None where it is none of them."""
    columns = [set(row) for row in rows]
    every = set.intersection(*columns) if columns else set()
    some = set.union(*columns) if columns else set()
    for name, column in CHATS:
        if column in every and any(isinstance(row[column], list | tuple) for row in rows):
            return Shape(name, f"{name}: the last turn of {column!r} is the answer", column)
    for name, question, context, answer in PAIRS:
        if {question, answer} <= every and (name != "Alpaca" or context in some):
            used = context if context in some else ""
            beside = f", {used!r} stands below it" if used else ""
            says = f"{name}: {question!r} is the prompt{beside}, {answer!r} the answer"
            return Shape(name, says, question, used, answer)
    if {"instruction", "output"} <= every:
        says = "Alpaca without input: 'instruction' is the prompt, 'output' the answer"
        return Shape("Alpaca", says, "instruction", "", "output")
    return None


def guess_task(columns: set[str]) -> str:
    """Name of the built-in task that rows with these columns are for."""
    if {"permissions", "query", "expected_response"} <= columns:
        return "access_decision"
    if "output_dot" in columns:
        return "dot_graph"
    return GENERIC


def map_fields(row: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """The row with each target name of `fields` added; KeyError names a column that is not there.

    A column may be a path into an object: "metadata.topic".
    """
    mapped = dict(row)
    for target, column in fields.items():
        if column in row:
            mapped[target] = row[column]
            continue
        value: Any = row
        for key in column.split("."):
            if not isinstance(value, Mapping) or key not in value:
                raise KeyError(column)
            value = value[key]
        mapped[target] = value
    return mapped


def to_example(raw: RawRow, task: Task, shape: Shape | None, source: Source) -> Shaped:
    """Make an Example of a raw row, or say why it is set aside. Never raises for a bad row."""
    if raw.row is None:
        return Shaped(None, Reject(raw.place, raw.error or "unreadable", {}))
    try:
        row = map_fields(raw.row, source.fields) if source.fields else raw.row
        if shape is not None and task.name == GENERIC:
            row = as_chat(row, shape)
        draft = task.shape(row)
        example = _example(draft, raw, source)
    except KeyError as error:
        return Shaped(None, Reject(raw.place, f"no column {error.args[0]!r}", raw.row))
    except UnknownLabel as error:
        reject = Reject(raw.place, error.reason, raw.row)
        return Shaped(None, reject, _key_without_label(row, task, error.label), None, error.label)
    except RowError as error:
        return Shaped(None, Reject(raw.place, error.reason, raw.row))
    repaired = draft.raw_label if draft.raw_label != draft.label else None
    return Shaped(example, None, example.prompt_key, repaired)


def as_chat(row: Mapping[str, Any], shape: Shape) -> Mapping[str, Any]:
    """A row of a generic shape as chat messages with the answer last; RowError where it cannot."""
    if not shape.answer:
        turns = [_turn(turn, shape.question) for turn in _list(row, shape.question)]
        system = row.get("system")
        if isinstance(system, str) and system.strip() and turns and turns[0]["role"] != "system":
            turns.insert(0, {"role": "system", "content": system})
        return {**row, "messages": turns}
    question = _text(row, shape.question)
    context = row.get(shape.context) if shape.context else None
    if context is not None and not isinstance(context, str):
        raise RowError(f"{shape.context!r} holds {_kind(context)}, not text")
    system = row.get("system")
    turns = [{"role": "system", "content": system}] if isinstance(system, str) and system else []
    turns.append({"role": "user", "content": f"{question}\n\n{context}" if context else question})
    turns.append({"role": "assistant", "content": _text(row, shape.answer)})
    return {**row, "messages": turns}


def _turn(turn: Any, column: str) -> dict[str, str]:
    if not isinstance(turn, Mapping):
        raise RowError(f"a turn of {column!r} is {_kind(turn)}, not an object")
    speaker = turn.get("role", turn.get("from"))
    content = turn.get("content", turn.get("value"))
    role = SPEAKERS.get(speaker.lower()) if isinstance(speaker, str) else None
    if role is None:
        raise RowError(f"a turn of {column!r} is spoken by {speaker!r}, which is no chat role")
    if not isinstance(content, str):
        raise RowError(f"a turn of {column!r} holds {_kind(content)}, not text")
    return {"role": role, "content": content}


def _list(row: Mapping[str, Any], column: str) -> Sequence[Any]:
    value = row.get(column)
    if not isinstance(value, list | tuple) or not value:
        raise RowError(f"{column!r} holds {_kind(value)}, not a list of turns")
    return value


def _text(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    if not isinstance(value, str):
        raise RowError(f"{column!r} holds {_kind(value)}, not text")
    if not value.strip():
        raise RowError(f"{column!r} is empty")
    return value


def _example(draft: Draft, raw: RawRow, source: Source) -> Example:
    if not draft.target.strip():
        raise RowError("the answer is empty")
    messages = tuple(draft.messages)
    for text in (*(m.content for m in messages), draft.target):
        if not _encodes(text):
            raise RowError("holds half of a surrogate pair: no text in UTF-8")
    return Example(messages, draft.target, draft.label, _meta(raw.row or {}, source), raw.place)


def _meta(row: Mapping[str, Any], source: Source) -> dict[str, str]:
    meta: dict[str, str] = {}
    for inner in (row.get("metadata"), row.get("meta")):
        if isinstance(inner, Mapping):
            meta |= {k: v for k, v in inner.items() if isinstance(v, str) and _encodes(v)}
    for key in META:
        value = row.get(key)
        if isinstance(value, str) and value and _encodes(value):
            meta[key] = value
    meta["source"] = source.name
    if source.licence:
        meta["licence"] = source.licence
    if source.role != "split":
        meta["role"] = source.role
    else:
        meta.pop("role", None)
    return meta


def _key_without_label(row: Mapping[str, Any], task: Task, label: str) -> str | None:
    """Prompt key of a row whose only fault is its label: it counts among the duplicates.

    Which column is the label's only the task knows: the one that holds this spelling, and that
    makes the row usable once it holds a label of the vocabulary.
    """
    for column, value in row.items():
        if value == label or (value is None and label == "None"):
            try:
                draft = task.shape({**row, column: task.labels[0]})
            except RowError:
                continue
            return Example(tuple(draft.messages), draft.target).prompt_key
    return None


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    names = {list: "a list", dict: "an object", bool: "a truth value", str: "text"}
    names |= {int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)


def prompt_of(messages: Sequence[Message]) -> str:
    """The last message of a prompt in one line of at most 80 characters, for people."""
    text = " ".join(messages[-1].content.split()) if messages else ""
    return text if len(text) <= 80 else text[:79] + "…"
