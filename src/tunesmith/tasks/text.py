"""Plain question and answer: instruction data of any of the usual shapes.

Recognised by their columns: chat messages (OpenAI), ShareGPT conversations, Alpaca (instruction,
input, output), instruction and response, prompt and completion (as text, or as turns the way TRL
has them), question and answer. The answer is always the last turn, and what stands before it is the
prompt; Alpaca's `history` are turns, too. A row that calls tools is refused by name: a Message has
no place for a call or its result, and as plain words they would teach something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tunesmith.records import Example, Message, Outcome, Role
from tunesmith.tasks import wording
from tunesmith.tasks.base import Draft, Parsed, RowError, Task, required_text
from tunesmith.tasks.refusal import is_refusal

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",  # OpenAI's name for it since its reasoning models
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
}
TOOLS = frozenset({"tool", "function", "function_call", "observation"})
CHATS = ("messages", "conversations")
# Column of the question, columns of what it is about (where one is filled), column of the answer.
PAIRS = (
    ("instruction", ("input", "context"), "output"),
    ("instruction", ("input", "context"), "response"),
    ("prompt", (), "completion"),
    ("prompt", (), "response"),
    ("question", ("context",), "answer"),
)


class Text(Task):
    """Answer in words, held against the gold answer.

    `system` is the system text for rows that bring none; empty for none.
    """

    name = "text"
    description = "an answer in words to a question or an instruction"
    metrics: ClassVar[tuple[str, ...]] = ("rouge_l", "bleu", "exact")
    primary = "rouge_l"
    max_new_tokens = 256

    def __init__(self, system: str = "") -> None:
        self.system = system

    def shape(self, row: Mapping[str, object]) -> Draft:
        """A row of one of the shapes above; RowError where it is none or is not whole."""
        turns = _turns(row)
        if turns[-1].role != "assistant":
            raise RowError("the last turn is not the assistant's")
        if not any(turn.role == "user" for turn in turns):
            raise RowError("nobody asks anything")
        system = _optional(row, "system") or self.system
        if system and turns[0].role != "system":
            turns.insert(0, Message("system", system))
        return Draft(tuple(turns[:-1]), turns[-1].content.strip())

    def parse(self, response: str) -> Parsed:
        """Any text is an answer, a refusal too; nothing but space is none."""
        text = response.strip()
        if not text:
            return Parsed(Outcome.UNPARSED, text)
        return Parsed(Outcome.REFUSED if is_refusal(text) else Outcome.SCORED, text)

    def score(self, parsed: Parsed, example: Example) -> dict[str, float]:
        """`rouge_l`, `bleu` and `exact` against the gold answer; see `tasks.wording`.

        A refusal is scored as any other answer: where the gold answer declines, it is right.
        """
        if parsed.outcome not in {Outcome.SCORED, Outcome.REFUSED}:
            return self.zero()
        return {
            "rouge_l": wording.rouge_l(parsed.text, example.target),
            "bleu": wording.bleu(parsed.text, example.target),
            "exact": wording.exact(parsed.text, example.target),
        }


def _turns(row: Mapping[str, object]) -> list[Message]:
    """The turns of a row, at least two."""
    for column in CHATS:
        value = row.get(column)
        if isinstance(value, list | tuple):
            if len(value) < 2:
                raise RowError(f"{column} holds fewer than two turns")
            turns = [_turn(turn, column) for turn in value]
            if value[-1].get("weight") == 0:
                raise RowError("the last turn has weight 0: it is not to be learned")
            return turns
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, list | tuple) and isinstance(completion, list | tuple):
        if not (prompt and completion):
            raise RowError("prompt or completion holds no turn")
        return [_turn(t, "prompt") for t in prompt] + [_turn(t, "completion") for t in completion]
    for question, contexts, answer in PAIRS:
        if question in row and answer in row:
            about = (_optional(row, context) for context in contexts)
            parts = [required_text(row, question), *filter(None, about)]
            return [
                *_history(row.get("history")),
                Message("user", "\n\n".join(parts)),
                Message("assistant", required_text(row, answer)),
            ]
    raise RowError(f"neither a chat nor a question with its answer: {', '.join(row) or 'empty'}")


def _turn(turn: object, column: str) -> Message:
    """OpenAI's {role, content}, the content text or parts of text, or ShareGPT's {from, value}."""
    if not isinstance(turn, Mapping):
        raise RowError(f"a turn of {column} is {type(turn).__name__}, not an object")
    speaker, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    name = speaker.lower() if isinstance(speaker, str) else ""
    if name in TOOLS:
        raise RowError(f"a turn of {column} is of a tool ({speaker!r}), which no message can hold")
    if turn.get("tool_calls") or turn.get("function_call"):
        raise RowError(f"a turn of {column} calls a tool, which no message can hold")
    role = ROLES.get(name)
    if role is None:
        raise RowError(f"a turn of {column} is spoken by {speaker!r}, which is no chat role")
    if isinstance(content, list | tuple):
        content = "\n".join(_part(part, column) for part in content)
    if not isinstance(content, str):
        raise RowError(f"a turn of {column} holds {type(content).__name__}, not text")
    if not content.strip() and role != "system":
        raise RowError(f"a turn of {column} is empty")
    return Message(role, content)


def _part(part: object, column: str) -> str:
    """The text of one part of a content; joined by line breaks, as vLLM and llama.cpp do it."""
    kind, text = (part.get("type"), part.get("text")) if isinstance(part, Mapping) else (None, None)
    if kind != "text" or not isinstance(text, str):
        raise RowError(f"a turn of {column} holds a part {kind!r}, which is no text")
    return text


def _history(value: object) -> list[Message]:
    """Alpaca's earlier turns, [[question, answer], ...]; a column of another kind is no history."""
    turns: list[Message] = []
    for pair in value if isinstance(value, list | tuple) else ():
        match pair:
            case [str(question), str(answer)] if question.strip() and answer.strip():
                turns += [Message("user", question), Message("assistant", answer)]
            case _:
                raise RowError("history is no list of pairs of question and answer")
    return turns


def _optional(row: Mapping[str, object], column: str) -> str:
    value = row.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowError(f"{column} is {type(value).__name__}, not text")
    return value if value.strip() else ""
