"""Shape: what a row looks like, said aloud, and the Example that a Task makes of it.

The shapes are those that instruction data comes in: chat messages (OpenAI), ShareGPT
conversations, Alpaca (instruction, input, output), instruction and response, prompt and
completion, question and answer. The task `text` reads them all; here it is told which one a source
has, so that this can be said, and so that the task reads the columns that were named and no others.
A task with columns of its own gets the row as it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tunesmith.data.collect.document import KEYS
from tunesmith.data.formats import from_whole, is_whole
from tunesmith.data.near import prompt_text
from tunesmith.data.source import RawRow, Source
from tunesmith.errors import DataError
from tunesmith.records import TOGETHER, Example, Message, Reject
from tunesmith.tasks.base import Draft, RowError, Task, UnknownLabel
from tunesmith.tasks.text import CHATS, PAIRS, Text

LOOKED_AT = 64  # rows from which the shape is told
META = ("difficulty", "kind", "topic", "category", "language")
CREDIT = ("title", "author", "date", "url", "answer_url", "citation")  # what attribution takes
NAMES = {  # of a shape, by its answer's column; and of Alpaca, whose answer is called output
    "messages": "chat messages",
    "conversations": "ShareGPT",
    "output": "Alpaca",
    "response": "instruction/response",
    "completion": "prompt/completion",
    "answer": "question/answer",
}
COLLECTED = re.compile(r"(stackexchange|arxiv|graphviz|machine|file|hub):\S")
GENERIC = "text"  # the task that takes the shapes above
NULL_LABEL = "the label is missing: its value is null"


@dataclass(frozen=True, slots=True)
class Shape:
    """A recognised shape: its name, a sentence for the reader, and the columns it speaks of."""

    name: str
    says: str
    question: str = ""
    context: tuple[str, ...] = ()
    answer: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a row must have for this shape, and those that it may have."""
        return tuple(c for c in (self.question, *self.context, self.answer) if c)

    def narrow(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row with the shape's own columns alone; a row of another shape as it is."""
        if self.question not in row or (self.answer and self.answer not in row):
            return row
        return {c: row[c] for c in (*self.columns, "system", "history") if c in row}


class MissingColumnError(Exception):
    """A row lacks the column (or the path into an object) that a field mapping names."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


class Shaped(NamedTuple):
    """What became of one row: an Example or a Reject, and what was seen on the way.

    `prompt_key` is there wherever the prompt could be rendered, also for a row whose label nobody
    knows, and then with its `prompt` as it is compared; `repaired` is the spelling that was
    repaired, `unknown` the one that could not be.
    """

    example: Example | None
    reject: Reject | None
    prompt_key: str | None = None
    prompt: str | None = None
    repaired: str | None = None
    unknown: str | None = None


def recognise(rows: Sequence[Mapping[str, Any]], named: Collection[str] = ()) -> Shape | None:
    """The generic shape of some rows by their columns; None where they have none in common.

    `named` are columns that the recipe's field mapping names: where a row could be read in two
    ways, the one that uses most of them is meant.
    """
    columns = [set(row) for row in rows]
    every = set.intersection(*columns) if columns else set()
    some = set.union(*columns) if columns else set()
    found = [_chat(c) for c in CHATS if c in every and any(_is_list(row[c]) for row in rows)]
    for question, contexts, answer in PAIRS:
        if {question, answer} <= every:
            found.append(_pair(question, tuple(c for c in contexts if c in some), answer))
    wanted = set(named)
    return max(found, key=lambda shape: len(wanted & set(shape.columns)), default=None)


def _chat(column: str) -> Shape:
    name = NAMES[column]
    return Shape(name, f"{name}: the last turn of {column!r} is the answer", column)


def _pair(question: str, context: tuple[str, ...], answer: str) -> Shape:
    name = "prompt/response" if (question, answer) == ("prompt", "response") else NAMES[answer]
    below = " and ".join(map(repr, context))
    beside = f", {below} below it" if below else ""
    says = f"{name}: {question!r} is the prompt{beside}, {answer!r} the answer"
    return Shape(name, says, question, context, answer)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def guess_task(columns: set[str]) -> str:
    """Name of the built-in task that rows with these columns are for."""
    if {"permissions", "query", "expected_response"} <= columns:
        return "access_decision"
    if "output_dot" in columns:
        return "dot_graph"
    return GENERIC


def map_fields(row: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """The row with each target name of `fields` added; MissingColumnError where one is not there.

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
                raise MissingColumnError(column)
            value = value[key]
        mapped[target] = value
    return mapped


def to_example(raw: RawRow, task: Task, shape: Shape | None, source: Source) -> Shaped:
    """Make an Example of a raw row, or say why it is set aside. Never raises for a bad row."""
    if raw.row is None:
        return Shaped(None, Reject(raw.place, raw.error or "unreadable", {}))
    try:
        whole = map_fields(raw.row, source.fields) if source.fields else raw.row
        row = whole if shape is None else shape.narrow(whole)
        draft = _made(whole, task) or task.shape(row)
        example = _example(draft, whole, raw.place, source)
    except MissingColumnError as error:
        return Shaped(None, Reject(raw.place, f"no column {error.column!r}", raw.row))
    except UnknownLabel as error:
        missing, twin = _with_a_label(row, task, error.label)
        reject = Reject(raw.place, NULL_LABEL if missing else error.reason, raw.row)
        unknown = None if missing else error.label
        if twin is None:
            return Shaped(None, reject, unknown=unknown)
        return Shaped(None, reject, twin.prompt_key, prompt_text(twin), unknown=unknown)
    except RowError as error:
        return Shaped(None, Reject(raw.place, error.reason, raw.row))
    repaired = draft.raw_label if draft.raw_label != draft.label else None
    return Shaped(example, None, example.prompt_key, repaired=repaired)


def _made(row: Mapping[str, Any], task: Task) -> Draft | None:
    """The Draft of a row that was an Example already (`data export --format jsonl`, versions).

    None for any other row, and for the tasks that read chats themselves.
    """
    if not is_whole(row) or isinstance(task, Text):
        return None
    try:
        made = from_whole(row, "")
    except DataError as error:
        raise RowError(error.message) from error
    if task.labels and made.label not in task.labels:
        raise UnknownLabel(str(made.label))
    return Draft(made.messages, made.target, made.label, made.label)


def _example(draft: Draft, row: Mapping[str, Any], place: str, source: Source) -> Example:
    if not draft.target.strip():
        raise RowError("the answer is empty")
    messages = tuple(draft.messages)
    for text in (*(m.content for m in messages), draft.target):
        if not _encodes(text):
            raise RowError("holds half of a surrogate pair: no text in UTF-8")
    meta = {**draft.meta, **_meta(row, source)}
    return Example(messages, draft.target, draft.label, meta, place)


def _meta(row: Mapping[str, Any], source: Source) -> dict[str, str]:
    meta: dict[str, str] = {}
    for inner in (row.get("metadata"), row.get("meta")):
        if isinstance(inner, Mapping):
            meta |= {k: v for k, v in inner.items() if isinstance(v, str) and _encodes(v)}
    for key in (*META, *CREDIT):
        value = row.get(key)
        if isinstance(value, str) and value and _encodes(value):
            meta[key] = value
    cited = row.get("citation")
    if isinstance(cited, Mapping):  # as generated rows have it
        found = {"citation": cited.get("source"), "quote": cited.get("quote")}
        meta |= {k: v for k, v in found.items() if isinstance(v, str) and v and _encodes(v)}
    group = _group(row)
    if group and _encodes(group):
        meta[TOGETHER] = group
    score = row.get("score")
    if isinstance(score, int | float) and not isinstance(score, bool):
        meta["score"] = str(score)
    said = (row.get("licence"), row.get("license"), meta.pop("license", None))
    meta["source"] = source.name
    # A row's own word goes before the recipe's, which speaks of a whole source.
    named = [text for text in (*said, meta.get("licence"), source.licence) if isinstance(text, str)]
    known = [text for text in named if text and _encodes(text)]
    meta |= {"licence": known[0]} if known else {}
    if source.role != "split":
        meta["role"] = source.role
    else:
        meta.pop("role", None)
    return meta


def _group(row: Mapping[str, Any]) -> str:
    """What a row was made from, "" where nothing is known: rows of one group are never parted.

    The column `split_group` says it (`fields: {split_group: COLUMN}`); a generated row cites its
    document; a collected document is itself what others are made from, and known by its id.
    """
    citation = row.get("citation")
    cited = citation.get("source") if isinstance(citation, Mapping) else None
    own = row.get("id")
    document = row.keys() >= set(KEYS) or (isinstance(own, str) and COLLECTED.match(own))
    found = (row.get(TOGETHER), cited, own if document else None)
    plain = (str(x) for x in found if isinstance(x, str | int) and not isinstance(x, bool))
    return next((text for text in plain if text), "")


def _with_a_label(row: Mapping[str, Any], task: Task, label: str) -> tuple[bool, Example | None]:
    """Whether a label is missing (null, and no spelling "None"), and the Example of a row whose
    only fault it is: its prompt counts among the duplicates.

    Which column is the label's only the task knows: the one that holds this spelling, and that
    makes the row usable once it holds a label of the vocabulary.
    """
    for column, value in row.items():
        if value == label or str(value) == label:
            try:
                draft = task.shape({**row, column: task.labels[0]})
            except RowError:
                continue
            example = Example(tuple(draft.messages), draft.target)
            return value is None, example if _encodes(prompt_text(example)) else None
    return False, None


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def prompt_of(messages: Sequence[Message]) -> str:
    """The last message of a prompt in one line of at most 80 characters, for people."""
    text = " ".join(messages[-1].content.split()) if messages else ""
    return text if len(text) <= 80 else text[:79] + "…"
