"""Complaints in a recipe's own words: file, line, key, and the nearest known key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tunesmith.config import legacy
from tunesmith.config.model import Recipe
from tunesmith.errors import ConfigError

OriginKind = Literal["recipe", "profile", "set", "translated", "default"]

# pydantic's kinds of complaint about a type, in words that a recipe's owner knows.
_PLAINLY: Mapping[str, str] = {
    "model_type": "must hold keys and values",
    "dict_type": "must hold keys and values",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from; `line` counts from 1 in the recipe's file."""

    kind: OriginKind
    line: int | None = None
    note: str = ""

    def __str__(self) -> str:
        where = f", line {self.line}" if self.line else ""
        return f"{self.kind}{where}" + (f" ({self.note})" if self.note else "")


def explain(
    name: str,
    origins: Mapping[str, Origin],
    error: ValidationError,
    *,
    under: tuple[str, ...] = (),
    whole: type[BaseModel] = Recipe,
) -> ConfigError:
    """The first complaint, in the words of the recipe; an unknown key before all others.

    A file made for another tool lacks what we need and holds what we do not know: what its keys
    are called here helps its owner more than what is missing.
    """
    complaints = error.errors(include_url=False)
    known = known_keys(whole)
    first = next((c for c in complaints if c["type"] == "extra_forbidden"), complaints[0])
    dotted = _dotted(first, under)
    where = _where(name, origins, dotted)
    if first["type"] == "extra_forbidden":
        return _unknown(where, dotted, known)
    if first["type"].startswith("union_tag"):
        return _no_kind(where, dotted, first, known)
    if first["type"] == "missing":
        return ConfigError(f"{where}{dotted} is missing", hint=_describe(dotted, known))
    message = _message([c for c in complaints if _dotted(c, under) == dotted])
    if not dotted and (named := re.match(r"methods\.[\w-]+|model\.dtype", message)):
        dotted = named.group()  # said of the whole recipe, but meant of one key
        where = _where(name, origins, dotted)
        message = message.removeprefix(dotted).lstrip(": ")
    given = first.get("input")
    shown = f" (got {given!r})" if isinstance(given, (str, int, float, bool)) else ""
    expected = first.get("ctx", {}).get("expected", "")
    hint = _describe(dotted, known)
    if first["type"] == "literal_error" and isinstance(given, str):
        near = difflib.get_close_matches(given, re.findall(r"'([^']+)'", expected), n=1)
        hint = (f"did you mean {near[0]}? " if near else "") + hint
    return ConfigError(f"{where}{dotted}: {message}{shown}", hint=hint)


def _dotted(complaint: ErrorDetails, under: tuple[str, ...]) -> str:
    """The key that a complaint is about, without the names that pydantic gives a union's ways."""
    parts = [*under, *(str(p) for p in complaint["loc"])]
    if parts[:1] == ["data"] and parts[1:2] in (["generate"], ["collect"]):
        del parts[3:4]  # the kind, by which pydantic tells the settings of one apart
    branch = re.compile(r"^(literal|tuple|bool|\w+Settings|function)\b")
    return ".".join(p for p in parts if not branch.match(p))


def _message(complaints: Sequence[ErrorDetails]) -> str:
    """What is wrong with one value; where it may be of several kinds, all of them."""
    said = []
    for complaint in complaints:
        plain = _PLAINLY.get(complaint["type"])
        message = plain or complaint["msg"].removeprefix("Value error, ")
        said.append(re.sub(r"^Input should be", "must be", message))
    if not all(message.startswith("must be ") for message in said):
        return said[0]
    kinds = dict.fromkeys(message.removeprefix("must be ") for message in said)
    return "must be " + ", or ".join(kinds)


def _unknown(where: str, dotted: str, known: Mapping[str, str]) -> ConfigError:
    parent, _, last = dotted.rpartition(".")
    if last in legacy.ELSEWHERE:
        return ConfigError(
            f"{where}unknown key {dotted}", hint=f"did you mean {legacy.ELSEWHERE[last]}?"
        )
    if last == "trust_remote_code":
        return ConfigError(
            f"{where}{dotted} is not offered: a model's own code is never run",
            hint="use a model that transformers knows",
        )
    general = _general(dotted).rpartition(".")[0]
    siblings = {key.rpartition(".")[2] for key in known if key.rpartition(".")[0] == general}
    near = difflib.get_close_matches(last, siblings, n=1, cutoff=0.55)
    if near:
        meant = f"{parent}.{near[0]}" if parent else near[0]
    else:
        leaves = {key.rpartition(".")[2]: key for key in known}
        close = difflib.get_close_matches(last, leaves, n=1, cutoff=0.7)
        meant = leaves[close[0]] if close else ""
    hint = f"did you mean {meant}?" if meant else f"known here: {', '.join(sorted(siblings))}"
    return ConfigError(f"{where}unknown key {dotted}", hint=hint)


def _no_kind(
    where: str, dotted: str, complaint: ErrorDetails, keys: Mapping[str, str]
) -> ConfigError:
    """Settings of several kinds that say none, or one that nobody knows."""
    context = complaint.get("ctx", {})
    known = re.findall(r"'([^']+)'", context.get("expected_tags", ""))
    given = str(context.get("tag", ""))
    near = difflib.get_close_matches(given, known, n=1)
    hint = (f"did you mean {near[0]}? " if near else "") + f"kinds: {', '.join(known)}"
    if not known:
        hint = _describe(f"{dotted}.kind", keys)
    said = f"kind: {given!r} is not known" if given else "kind is missing"
    return ConfigError(f"{where}{dotted}.{said}", hint=hint)


def _where(name: str, origins: Mapping[str, Origin], dotted: str) -> str:
    """Where the person wrote a key: the file and its line, the profile, or the command line."""
    origin = _nearest(origins, dotted)
    if origin is None:
        return f"{name}: "
    if origin.kind == "set":
        return "--set: "
    if origin.kind == "profile":
        return f"{name}, profile {origin.note}: "
    file = origin.note if origin.kind == "recipe" and origin.note else name
    return f"{file}, line {origin.line}: " if origin.line else f"{file}: "


def _nearest(origins: Mapping[str, Origin], dotted: str) -> Origin | None:
    """Origin of a key, or of the first key under it, or of its nearest parent."""
    origin = origins.get(dotted)
    if origin is not None:
        return origin
    under = [o for key, o in origins.items() if key.startswith(dotted + ".")]
    if under:
        return min(under, key=lambda o: o.line or 0)
    parent = dotted.rpartition(".")[0]
    return _nearest(origins, parent) if parent else None


def known_keys(whole: type[BaseModel] = Recipe) -> dict[str, str]:
    """Every key of a recipe, dotted, with its description; NAME stands for a name of yours."""
    return dict(_fields(whole, ""))


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, info in model.model_fields.items():
        known = info.alias or name
        dotted = f"{prefix}.{known}" if prefix else known
        yield dotted, info.description or ""
        for inner in _models(info.annotation):
            named = str(info.annotation).startswith("dict[")
            yield from _fields(inner, f"{dotted}.NAME" if named else dotted)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _general(dotted: str) -> str:
    """A key as `known_keys` writes it: NAME for a source's or a variant's own name."""
    parts = dotted.split(".")
    if len(parts) > 2 and parts[0] == "data" and parts[1] in ("sources", "collect", "generate"):
        parts[2] = "NAME"
    if len(parts) > 2 and parts[:2] == ["search", "ranges"]:
        parts[2] = "NAME"
    if len(parts) > 1 and parts[0] == "tasks":
        parts[1] = "NAME"
    if len(parts) > 3 and parts[0] == "methods" and parts[2] == "training":
        parts = parts[2:]
    elif len(parts) > 1 and parts[0] == "methods":
        parts[1] = "NAME"
    return ".".join(parts)


def _describe(dotted: str, known: Mapping[str, str]) -> str:
    parts = _general(dotted).split(".")
    for length in range(len(parts), 0, -1):
        description = known.get(".".join(parts[:length]))
        if description:
            return description
    return "see `tunesmith schema`"
