"""Read a recipe: YAML with line numbers, profiles, `--set`; every value knows where it came from.

PyYAML and not ruamel: its node graph carries line and column of every key, which is all that an
error message needs, and it imports in a tenth of the time.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ValidationError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tunesmith.config import legacy
from tunesmith.config.model import Recipe
from tunesmith.errors import ConfigError

OriginKind = Literal["recipe", "profile", "set", "translated", "default"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from; `line` counts from 1 in the recipe's file."""

    kind: OriginKind
    line: int | None = None
    note: str = ""

    def __str__(self) -> str:
        where = f", line {self.line}" if self.line else ""
        return f"{self.kind}{where}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True, slots=True)
class Resolved:
    """A recipe with its provenance: dotted key -> Origin, and one line for each translation."""

    recipe: Recipe
    origins: Mapping[str, Origin]
    notes: tuple[str, ...]
    path: Path | None
    text: str

    def origin(self, key: str) -> Origin:
        """Where the value of a dotted key came from; the nearest parent decides."""
        parts = key.split(".")
        for length in range(len(parts), 0, -1):
            found = self.origins.get(".".join(parts[:length]))
            if found is not None:
                return found
        return Origin("default")


@dataclass
class _Draft:
    """A recipe under way: nested values, and where each leaf came from."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    name: str = "recipe"


def load_recipe(
    source: str | Path, *, sets: Sequence[str] = (), profile: str | None = None
) -> Resolved:
    """Read the recipe in a file (or a shipped one by its name) and resolve every value.

    Order of strength: the file it `extends`, the file, the profile, `--set`. Raises ConfigError
    naming file, line and key, with the nearest known key where one is unknown.
    """
    path = find_recipe(source)
    draft = _Draft(name=path.name)
    text = _read_file(path, draft, seen=())
    profiles = draft.values.pop("profiles", {}) or {}
    if profile is not None:
        if not isinstance(profiles, dict) or profile not in profiles:
            raise ConfigError(
                f"{path.name} has no profile {profile!r}",
                hint=f"it has {', '.join(sorted(profiles)) or 'none'}",
            )
        _merge(draft, profiles[profile], Origin("profile", note=profile))
    for item in sets:
        _apply_set(draft, item)
    _translate(draft)
    return Resolved(
        recipe=_validate(draft),
        origins=draft.origins,
        notes=tuple(draft.notes),
        path=path,
        text=text,
    )


def find_recipe(source: str | Path) -> Path:
    """The file itself, or the shipped recipe of that name."""
    path = Path(source)
    if path.is_file():
        return path
    if path.is_dir():
        raise ConfigError(f"{path} is a folder, not a recipe", hint="name the YAML file in it")
    shipped = shipped_recipes()
    if str(source) in shipped:
        return shipped[str(source)]
    near = difflib.get_close_matches(Path(str(source)).stem, shipped, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(
        f"there is no recipe {source}",
        hint=f"{meant}shipped recipes: {', '.join(sorted(shipped)) or 'none'}",
    )


def shipped_recipes() -> dict[str, Path]:
    """Recipes that come with Tunesmith, by name."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "recipes", package.parent.parent / "recipes"):
        if folder.is_dir():
            return {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    return {}


class _Loader(yaml.SafeLoader):
    """YAML with the numbers that people mean: `2e-4` is a float, as in YAML 1.2."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def _read_file(path: Path, draft: _Draft, seen: tuple[Path, ...]) -> str:
    if path.resolve() in seen:
        raise ConfigError(f"{path.name} extends itself", hint="remove the circle of `extends`")
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 (byte {error.start})", hint="save the recipe as UTF-8 text"
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="check the path") from error
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(
            f"{path.name}, line {line}: {error.problem or 'not YAML'}",
            hint="check indentation, quotes and colons there",
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path.name}: {error}", hint="remove what is not text") from error
    if node is None:
        raise ConfigError(f"{path.name} is empty", hint="see `tunesmith schema` for its keys")
    if not isinstance(node, MappingNode):
        raise ConfigError(
            f"{path.name} holds no mapping of keys to values", hint="see `tunesmith schema`"
        )
    values, lines = _plain(node, path.name)
    parent = values.pop("extends", None)
    if parent is not None:
        base = path.parent / str(parent)
        if not base.is_file():
            raise ConfigError(
                f"{path.name}, line {lines['extends']}: no file {base}",
                hint="extends is relative to the recipe's own folder",
            )
        _read_file(base, draft, (*seen, path.resolve()))
    _merge_lines(draft, values, lines, note=path.name if seen or parent else "")
    return text


def _plain(node: Node, name: str, prefix: str = "") -> tuple[dict[str, Any], dict[str, int]]:
    """Values of a mapping node, and the line of every dotted key in it."""
    lines: dict[str, int] = {}
    loader = _Loader("")

    def build(item: Node, at: str) -> Any:
        if isinstance(item, MappingNode):
            result: dict[str, Any] = {}
            for key_node, value_node in item.value:
                key = str(loader.construct_object(key_node, deep=True))
                line = key_node.start_mark.line + 1
                dotted = f"{at}.{key}" if at else key
                if key in result:
                    raise ConfigError(
                        f"{name}, line {line}: {dotted} stands twice", hint="keep one of the two"
                    )
                lines[dotted] = line
                result[key] = build(value_node, dotted)
            return result
        if isinstance(item, SequenceNode):
            return [build(entry, f"{at}.{i}") for i, entry in enumerate(item.value)]
        assert isinstance(item, ScalarNode)
        return loader.construct_object(item, deep=True)

    return build(node, prefix), lines


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        dotted = f"{prefix}.{key}" if prefix else key
        if isinstance(value, dict) and value:
            yield from _leaves(value, dotted)
        else:
            yield dotted, value


def _merge_lines(
    draft: _Draft, values: dict[str, Any], lines: Mapping[str, int], note: str
) -> None:
    for dotted, value in _leaves(values):
        if dotted.startswith("profiles."):
            continue
        _put(draft, dotted, value, Origin("recipe", lines.get(dotted), note))
    if "profiles" in values:
        draft.values.setdefault("profiles", {}).update(values["profiles"] or {})


def _merge(draft: _Draft, values: Any, origin: Origin) -> None:
    if not isinstance(values, dict):
        raise ConfigError(
            f"profile {origin.note} holds no mapping", hint="write keys and values under it"
        )
    for dotted, value in _leaves(values):
        _put(draft, dotted, value, origin)


def _put(draft: _Draft, dotted: str, value: Any, origin: Origin) -> None:
    *parents, last = dotted.split(".")
    place = draft.values
    for part in parents:
        inner = place.get(part)
        if not isinstance(inner, dict):
            inner = place[part] = {}
        place = inner
    # A path stands for a generator and the other way round: the stronger word replaces the other.
    if parents[:2] == ["data", "sources"] and last in {"path", "generate"} and value is not None:
        other = "generate" if last == "path" else "path"
        place.pop(other, None)
        draft.origins.pop(".".join([*parents, other]), None)
    place[last] = value
    for known in [key for key in draft.origins if key.startswith(dotted + ".")]:
        del draft.origins[known]
    draft.origins[dotted] = origin


def _apply_set(draft: _Draft, item: str) -> None:
    key, equals, text = item.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(
            f"--set {item!r} is not KEY=VALUE", hint="for example --set training.learning_rate=1e-4"
        )
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key}: {text!r} is no YAML value", hint="quote it") from error
    _put(draft, key, value, Origin("set", note="--set"))


def _translate(draft: _Draft) -> None:
    for dotted, value in list(_leaves(draft.values)):
        origin = draft.origins.get(dotted, Origin("recipe"))
        translation = legacy.OLDER.get(dotted)
        if translation is not None:
            _remove(draft, dotted)
            note = f"{dotted} is called {translation.target} now"
            _put(draft, translation.target, translation.value(value), _translated(origin, dotted))
            draft.notes.append(note)
        elif dotted in legacy.DROPPED:
            _remove(draft, dotted)
            draft.notes.append(f"{dotted} is left out: {legacy.DROPPED[dotted]}")
        elif (precision := legacy.precision_note(dotted, value)) is not None:
            dtype, note = precision
            _remove(draft, dotted)
            if dtype:
                _put(draft, "model.dtype", dtype, _translated(origin, dotted))
            draft.notes.append(note)


def _translated(origin: Origin, dotted: str) -> Origin:
    return Origin("translated", origin.line, f"from {dotted}")


def _remove(draft: _Draft, dotted: str) -> None:
    *parents, last = dotted.split(".")
    place = draft.values
    for part in parents:
        place = place[part]
    del place[last]
    draft.origins.pop(dotted, None)


def _validate(draft: _Draft) -> Recipe:
    sources = draft.values.get("data", {})
    if isinstance(sources, dict) and isinstance(sources.get("sources"), dict):
        kept = {k: v for k, v in sources["sources"].items() if v is not None}
        sources["sources"] = kept
    try:
        recipe = Recipe.model_validate(draft.values)
        for variant in recipe.methods:
            _check_method_training(draft, recipe, variant)
    except ValidationError as error:
        raise _explain(draft, error, ()) from error
    return recipe


def _check_method_training(draft: _Draft, recipe: Recipe, variant: str) -> None:
    try:
        recipe.method_settings(variant)
    except ValidationError as error:
        raise _explain(draft, error, ("methods", variant, "training")) from error


def _explain(draft: _Draft, error: ValidationError, prefix: tuple[str, ...]) -> ConfigError:
    """The first complaint, in the words of the recipe."""
    first = error.errors(include_url=False)[0]
    parts = [*prefix, *(str(p) for p in first["loc"])]
    # A union's branch names are pydantic's, not the recipe's.
    parts = [
        p for p in parts if not re.match(r"^(literal|tuple|bool|SourceSettings|function)\b", p)
    ]
    dotted = ".".join(parts)
    line = _line(draft, dotted)
    where = f"{draft.name}, line {line}: " if line else f"{draft.name}: "
    if first["type"] == "extra_forbidden":
        return _unknown(where, dotted)
    if first["type"] == "missing":
        return ConfigError(f"{where}{dotted} is missing", hint=_describe(dotted))
    message = first["msg"].removeprefix("Value error, ")
    given = first.get("input")
    shown = f" (got {given!r})" if isinstance(given, (str, int, float, bool)) else ""
    expected = first.get("ctx", {}).get("expected", "")
    hint = _describe(dotted)
    if first["type"] == "literal_error" and isinstance(given, str):
        known = re.findall(r"'([^']+)'", expected)
        near = difflib.get_close_matches(given, known, n=1)
        hint = (f"did you mean {near[0]}? " if near else "") + hint
    return ConfigError(f"{where}{dotted}: {message}{shown}", hint=hint)


def _unknown(where: str, dotted: str) -> ConfigError:
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
    siblings = {key.rpartition(".")[2] for key in known_keys() if key.rpartition(".")[0] == parent}
    near = difflib.get_close_matches(last, siblings, n=1, cutoff=0.55)
    if near:
        meant = f"{parent}.{near[0]}" if parent else near[0]
    else:
        leaves = {key.rpartition(".")[2]: key for key in known_keys()}
        close = difflib.get_close_matches(last, leaves, n=1, cutoff=0.7)
        meant = leaves[close[0]] if close else ""
    hint = f"did you mean {meant}?" if meant else f"known here: {', '.join(sorted(siblings))}"
    return ConfigError(f"{where}unknown key {dotted}", hint=hint)


def _line(draft: _Draft, dotted: str) -> int | None:
    """Line of a key, or of the first key under it, or of its nearest parent."""
    origin = draft.origins.get(dotted)
    if origin is not None:
        return origin.line
    under = [o.line for k, o in draft.origins.items() if k.startswith(dotted + ".") and o.line]
    if under:
        return min(under)
    parent = dotted.rpartition(".")[0]
    return _line(draft, parent) if parent else None


def known_keys() -> dict[str, str]:
    """Every key of a recipe, dotted, with its description; NAME stands for a name of yours."""
    return dict(_fields(Recipe, ""))


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, info in model.model_fields.items():
        dotted = f"{prefix}.{name}" if prefix else name
        yield dotted, info.description or ""
        for inner in _models(info.annotation):
            named = str(info.annotation).startswith("dict[")
            yield from _fields(inner, f"{dotted}.NAME" if named else dotted)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _describe(dotted: str) -> str:
    parts = dotted.split(".")
    if len(parts) > 2 and parts[:2] == ["data", "sources"]:
        parts[2] = "NAME"
    if parts and parts[0] == "methods" and len(parts) > 1:
        parts = (
            ["training", *parts[3:]]
            if parts[2:3] == ["training"]
            else ["methods", "NAME", *parts[2:]]
        )
    known = known_keys()
    for length in range(len(parts), 0, -1):
        description = known.get(".".join(parts[:length]))
        if description:
            return description
    return "see `tunesmith schema`"
