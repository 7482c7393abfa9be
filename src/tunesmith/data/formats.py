"""Formats that other programs train from: one row for each Example, and what a row cannot hold.

| name | row | read by |
|---|---|---|
| chatml | {"messages": [{"role", "content"}]} | most trainers |
| openai | the same, held to the rules of OpenAI's fine-tuning files | OpenAI's API |
| sharegpt | {"conversations": [{"from", "value"}]} | Axolotl, LLaMA-Factory |
| alpaca | {"instruction", "input", "output"} | the same, and older scripts |
| trl | {"prompt": [turns], "completion": [turns]} | TRL |
| trl-plain | {"prompt", "completion"} as text | TRL |
| jsonl | all that an Example holds | Tunesmith |

A row that a format cannot carry is refused by name or counted as skipped, never bent to fit. All
but `jsonl` leave label and metadata behind, and that is counted, too. `data.shape` reads all of
them back. Sources: OpenAI, *Supervised fine-tuning* (rules of a chat file); TRL, *Dataset formats
and types* (prompt-completion).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.errors import DataError
from tunesmith.records import Example, Message
from tunesmith.store.whole import whole_file

Row = dict[str, Any]
SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}
SHOWN = 3  # places of rows that a format cannot carry
OPENAI_FEWEST = 10  # rows that OpenAI asks for in one file
OPENAI_BYTES = 512_000_000  # of one uploaded file
OPENAI_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
OPENAI_KEYS = frozenset(
    "role content name weight tool_calls tool_call_id function_call refusal".split()
)


class CannotCarryError(ValueError):
    """A format has no place for something that an Example holds; `reason` names it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Exported:
    """Rows in a format, and the examples that they are of (`kept`); `skipped` counts those that it
    cannot carry by reason (with some places), `lost` what the others left behind, `warnings` say
    why its reader may still not take the file."""

    rows: tuple[Row, ...]
    kept: tuple[Example, ...]
    skipped: Mapping[str, tuple[int, tuple[str, ...]]]
    lost: Mapping[str, int]
    warnings: tuple[str, ...] = ()


def chat(example: Example) -> list[dict[str, str]]:
    """All turns, the answer last."""
    turns = [{"role": m.role, "content": m.content} for m in example.messages]
    return [*turns, {"role": "assistant", "content": example.target}]


def _chatml(example: Example) -> Row:
    return {"messages": chat(example)}


def _openai(example: Example) -> Row:
    row = _chatml(example)
    problems = openai_problems(row)
    if problems:
        raise CannotCarryError(problems[0])
    return row


def _sharegpt(example: Example) -> Row:
    turns = chat(example)
    return {"conversations": [{"from": SPEAKERS[t["role"]], "value": t["content"]} for t in turns]}


def _alpaca(example: Example) -> Row:
    return {"instruction": _one_question(example), "input": "", "output": example.target}


def _trl(example: Example) -> Row:
    turns = chat(example)
    return {"prompt": turns[:-1], "completion": turns[-1:]}


def _trl_plain(example: Example) -> Row:
    return {"prompt": _one_question(example), "completion": example.target}


def _jsonl(example: Example) -> Row:
    return {
        "id": example.id,
        "messages": chat(example),
        "label": example.label,
        "meta": dict(example.meta),
        "place": example.place,
    }


FORMATS: Mapping[str, Callable[[Example], Row]] = {
    "chatml": _chatml,
    "openai": _openai,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "trl": _trl,
    "trl-plain": _trl_plain,
    "jsonl": _jsonl,
}
WHOLE = "jsonl"  # the format that holds all of an Example


def export(examples: Sequence[Example], name: str, *, skip: bool = False) -> Exported:
    """The examples in the format `name`.

    Raises DataError for an unknown format, and where it cannot carry every row, unless `skip` says
    to leave such rows out and count them.
    """
    if name not in FORMATS:
        raise DataError(f"there is no format {name!r}.", hint=f"It is one of {', '.join(FORMATS)}.")
    rows: list[Row] = []
    kept: list[Example] = []
    places: dict[str, list[str]] = {}
    for example in examples:
        try:
            rows.append(FORMATS[name](example))
            kept.append(example)
        except CannotCarryError as error:
            places.setdefault(error.reason, []).append(example.place or example.id)
    skipped = {reason: (len(at), tuple(at[:SHOWN])) for reason, at in places.items()}
    if skipped and not skip:
        told = "; ".join(
            f"{count:,} rows hold {reason} ({', '.join(at)})"
            for reason, (count, at) in skipped.items()
        )
        raise DataError(
            f"{name} cannot carry {len(examples) - len(kept):,} of {len(examples):,} rows: {told}.",
            hint="Choose chatml or sharegpt, or leave those rows out with --skip.",
        )
    warnings = openai_warnings(rows) if name == "openai" else ()
    lost = {} if name == WHOLE else _lost(kept)
    return Exported(tuple(rows), tuple(kept), skipped, lost, tuple(warnings))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line, in UTF-8, written beside its place and renamed into it."""
    try:
        with whole_file(path) as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written: {error.strerror}",
            hint="Check the disk and the permissions, or name another place.",
        ) from error


def is_whole(row: Mapping[str, Any]) -> bool:
    """Whether a row is one of the format `jsonl`."""
    return {"id", "messages", "label", "meta", "place"} <= set(row)


def from_whole(row: Mapping[str, Any], place: str) -> Example:
    """The Example of a row of the format `jsonl`; DataError where it is none."""
    try:
        turns = tuple(Message(t["role"], t["content"]) for t in row["messages"])
        label = row["label"]
        meta = {str(k): str(v) for k, v in dict(row["meta"]).items()}
        target = turns[-1].content
        return Example(turns[:-1], target, None if label is None else str(label), meta, place)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise DataError(
            f"{place}: not a row as `tunesmith data export --format jsonl` writes it.",
            hint="Export it again, or remove the line.",
        ) from error


def openai_problems(row: Mapping[str, Any]) -> list[str]:
    """What in a row breaks the rules of OpenAI's fine-tuning files; nothing where none does."""
    turns = row.get("messages")
    if not isinstance(turns, list) or not turns:
        return ["no list of messages"]
    problems = [problem for turn in turns if (problem := _openai_turn(turn))]
    if problems:
        return problems
    spoken = [turn for turn in turns if turn["role"] == "assistant"]
    if not spoken:
        problems.append("no turn of the assistant")
    elif turns[-1]["role"] != "assistant":
        problems.append("a last turn that is not the assistant's")
    elif all(turn.get("weight") == 0 for turn in spoken):
        problems.append("no turn of the assistant with a weight")
    return problems


def openai_warnings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What of a whole file breaks those rules."""
    warnings = []
    if len(rows) < OPENAI_FEWEST:
        warnings.append(f"OpenAI takes no file of fewer than {OPENAI_FEWEST} rows: {len(rows)}")
    size = sum(len(json.dumps(row, ensure_ascii=False).encode()) + 1 for row in rows)
    if size > OPENAI_BYTES:
        warnings.append(f"OpenAI takes no file over {OPENAI_BYTES // 10**6} MB: {size // 10**6} MB")
    return warnings


def _openai_turn(turn: Any) -> str:
    """What is wrong with one turn; nothing where it is as the rules ask."""
    if not isinstance(turn, dict):
        return "a turn that is no object"
    strange = sorted(set(turn) - OPENAI_KEYS)
    role, content, weight = turn.get("role"), turn.get("content"), turn.get("weight", 1)
    spoken = role == "assistant"
    called = spoken and bool(turn.get("tool_calls") or turn.get("function_call"))
    rules = (
        (bool(strange), f"a turn with the key {''.join(strange[:1])!r}"),
        (role not in OPENAI_ROLES, f"a turn of the role {role!r}"),
        (not isinstance(content, str | list) and not called, "a turn without content"),
        (content == "" and spoken and not called, "an empty answer"),
        (
            ("weight" in turn and not spoken) or weight not in (0, 1),
            "a weight that is not 0 or 1 on a turn of the assistant",
        ),
    )
    return next((problem for broken, problem in rules if broken), "")


def _one_question(example: Example) -> str:
    """The only turn of a prompt; CannotCarryError where there are others."""
    roles = Counter(message.role for message in example.messages)
    if roles["system"]:
        raise CannotCarryError("a system turn")
    if len(example.messages) != 1 or not roles["user"]:
        raise CannotCarryError("several turns" if len(example.messages) > 1 else "no question")
    return example.messages[0].content


def _lost(examples: Sequence[Example]) -> dict[str, int]:
    """How many rows have a label, or a metadata key, that stays behind."""
    lost: Counter[str] = Counter()
    for example in examples:
        lost.update(["label"] if example.label is not None else [])
        lost.update(f"meta.{key}" for key in example.meta)
    return dict(lost)
