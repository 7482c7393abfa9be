"""Access decisions: full, partial or rejected, for a request under role-based permissions.

The rows are those of OrgAccess (respai-lab/orgaccess): permissions as a JSON string, a query, an
expected response, a rationale. The answer puts the label first, so that it can be scored by the
likelihood of each label behind one and the same prompt, and so that a cut answer still decides.

An untuned model decides in its own words. It is read as kindly as can be done without a guess (a
sentence, a fence, JSON, a line "Decision: ..." further down), because a base that is not understood
makes every fine-tune look good.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from tunesmith.records import Example, Message, Outcome
from tunesmith.tasks.base import Draft, Parsed, RowError, Task, UnknownLabel, required_text
from tunesmith.tasks.refusal import is_refusal

SYSTEM = (
    "You decide whether a request to an organisation's assistant may be answered, given the "
    "permissions of the person who asks."
)

INSTRUCTIONS = """Answer with one of three decisions on the first line:
full - everything that is asked for is within the permissions
partial - a part of it is, or it is only under a condition that is not met yet
rejected - none of it is
Then give the reason in a line that begins with "Rationale:"."""

_MARKS = r"""[\s`*_\#>"'(\[\-]*"""
_LABELS = ("full", "partial", "rejected")
# One word, one meaning: whatever else stands in the data ("approve_budget") is set aside.
_ALIASES = {"reject": "rejected"}
_WORDS = "|".join((*_LABELS, *_ALIASES))
_LABEL = re.compile(rf"\b({_WORDS})\b", re.IGNORECASE)
_SAID = r"""(?:the\s+)?(?:(?:final|access|expected)[\s_]+)?
            (?:decision|answer|label|response|access|verdict|classification)"""
_FRONT = re.compile(
    rf"""{_MARKS}(?:json\s*)?
         (?:{_SAID}[\s`*_"']*(?:is)?\s*[:=\-]?\s*)?
         {_MARKS}(?P<label>{_WORDS})\b""",
    re.IGNORECASE | re.VERBOSE,
)
_MARKED = re.compile(
    rf"""^{_MARKS}{_SAID}[\s`*_"']*(?:is\s*)?[:=]{_MARKS}(?P<label>{_WORDS})\b""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
_LISTED = re.compile(rf"^[\d.)\s]*{_MARKS}({_WORDS})\b", re.IGNORECASE | re.MULTILINE)
_CLAUSE_END = re.compile(r"rationale|because|since|[.:;\n]|\s[-–—]+\s", re.IGNORECASE)
_OBJECT = re.compile(r"\{[^{}]*\}")
_KEYS = ("decision", "label", "expected_response", "response", "access", "answer")


class MissingLabel(UnknownLabel):
    """A row whose expected response is null: it spells no label, not even a wrong one."""

    def __init__(self) -> None:
        RowError.__init__(self, "the label is missing: expected_response is null")
        self.label = "None"


class AccessDecision(Task):
    """Decide full, partial or rejected, with a rationale.

    `instructions_first` puts the instructions before what varies, so that prompts share a long
    beginning; the default is the study's order, with the instructions last.
    """

    name = "access_decision"
    description = "full, partial or rejected for a request under role-based permissions"
    labels = _LABELS
    aliases: ClassVar[Mapping[str, str]] = _ALIASES
    metrics = ("accuracy",)
    primary = "accuracy"
    max_new_tokens = 128

    def __init__(self, instructions_first: bool = False) -> None:
        self.instructions_first = instructions_first

    def shape(self, row: Mapping[str, object]) -> Draft:
        """A row with permissions, query, expected_response and, if there is one, rationale.

        RowError where permissions or query are missing or no text, UnknownLabel where the expected
        response is neither a label nor an alias, MissingLabel where it is null.
        """
        permissions = required_text(_as_text(row, "permissions"), "permissions")
        query = required_text(row, "query")
        rationale = row.get("rationale")
        if rationale is not None and not isinstance(rationale, str):
            raise RowError(f"rationale is {type(rationale).__name__}, not text")
        if "expected_response" not in row:
            raise RowError("no expected_response")
        raw = row["expected_response"]
        if raw is None:
            raise MissingLabel
        if not isinstance(raw, str):
            raise UnknownLabel(str(raw))
        label = self.canonical_label(raw)
        reason = (rationale or "").strip()
        facts = f"Permissions:\n{permissions}\n\nRequest:\n{query}"
        parts = (INSTRUCTIONS, facts) if self.instructions_first else (facts, INSTRUCTIONS)
        return Draft(
            messages=(Message("system", SYSTEM), Message("user", "\n\n".join(parts))),
            target=f"{label}\nRationale: {reason}" if reason else label,
            label=label,
            raw_label=raw,
        )

    def parse(self, response: str) -> Parsed:
        """The decision of a response; unparsed where it names none, or several."""
        label = _decision(response)
        if label is not None:
            return Parsed(Outcome.SCORED, response, label)
        outcome = Outcome.REFUSED if is_refusal(response) else Outcome.UNPARSED
        return Parsed(outcome, response)

    def score(self, parsed: Parsed, example: Example) -> dict[str, float]:
        """`accuracy`: 1 if the label is the expected one, else 0."""
        return {"accuracy": float(parsed.label is not None and parsed.label == example.label)}


def facts_of(example: Example) -> tuple[str, str]:
    """The permissions and the request in the prompt of an example that `shape` made.

    ValueError where it is no such prompt.
    """
    text = example.messages[-1].content.removeprefix(INSTRUCTIONS).removesuffix(INSTRUCTIONS)
    head, mark, query = text.strip().partition("\n\nRequest:\n")
    if not mark or not head.startswith("Permissions:\n"):
        raise ValueError("no prompt of an access decision")
    return head.removeprefix("Permissions:\n"), query


def _as_text(row: Mapping[str, object], column: str) -> Mapping[str, object]:
    """The row, with an object in `column` (as JSON files hold it) written as JSON text."""
    value = row.get(column)
    if not isinstance(value, dict | list):
        return row
    return {**row, column: json.dumps(value, ensure_ascii=False)}


def _decision(response: str) -> str | None:
    """What stands in front, in a JSON object, behind "Decision:", or alone in the first line.

    A list of all the labels, one on each line, repeats the instructions and decides nothing.
    """
    if _named(" ".join(_LISTED.findall(response))) == set(_LABELS):
        return None
    front = _FRONT.match(response)
    if front is not None:
        (label,) = _named(front.group("label"))
        clause = _CLAUSE_END.split(response[front.end() :], maxsplit=1)[0]
        return label if _named(clause) <= {label} else None  # "full or partial" decides nothing
    lines = [line for line in response.splitlines() if line.strip(" `*#-")]
    for labels in (
        set(_in_objects(response)),
        _named(" ".join(match.group("label") for match in _MARKED.finditer(response))),
        _named(lines[0]) if lines else set(),
    ):
        if labels:
            return labels.pop() if len(labels) == 1 else None
    return None


def _named(text: str) -> set[str]:
    """The labels that a text names, aliases resolved."""
    found = (word.lower() for word in _LABEL.findall(text))
    return {_ALIASES.get(word, word) for word in found}


def _in_objects(response: str) -> Iterator[str]:
    for match in _OBJECT.finditer(response):
        try:
            value = json.loads(match.group())
        except ValueError:
            continue
        said = (str(value.get(key)).strip().lower() for key in _KEYS)
        yield from (_ALIASES.get(word, word) for word in said if word in {*_LABELS, *_ALIASES})
