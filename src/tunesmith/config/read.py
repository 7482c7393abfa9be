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

# Parts of a recipe that may be left empty: they then stand at their defaults.
SECTIONS = frozenset({"model", "training", "methods", "evaluation", "report", "task_options"})

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
    profiles: dict[str, Any] = field(default_factory=dict)
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
    if profile is not None:
        if profile not in draft.profiles:
            raise ConfigError(
                f"{path.name} has no profile {profile!r}",
                hint=f"it has {', '.join(sorted(draft.profiles)) or 'none'}",
            )
        _merge(draft, draft.profiles[profile], Origin("profile", note=profile))
    for item in sets:
        _apply_set(draft, item)
    return Resolved(
        recipe=_validate(draft),
        origins=draft.origins,
        notes=tuple(dict.fromkeys(draft.notes)),
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


class Loader(yaml.SafeLoader):
    """YAML with the values that people mean, as in YAML 1.2: `2e-4` is a float, `no` is a word
    (`eval_strategy: no`), and only true and false are truth values."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


class _Dumper(yaml.SafeDumper):
    """Quotes what `Loader` would take for a number or a truth value."""

    yaml_implicit_resolvers = Loader.yaml_implicit_resolvers


def dump_yaml(values: Mapping[str, Any]) -> str:
    """YAML that `Loader` reads back as it was, keys in their order."""
    return str(
        yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
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
        node = yaml.compose(text, Loader=Loader)
        if node is None:
            raise ConfigError(f"{path.name} is empty", hint="see `tunesmith schema` for its keys")
        if not isinstance(node, MappingNode):
            raise ConfigError(
                f"{path.name} holds no mapping of keys to values", hint="see `tunesmith schema`"
            )
        values, lines = _plain(node, path.name)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(
            f"{path.name}, line {line}: {error.problem or 'not YAML'}",
            hint="check indentation, quotes and colons there",
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path.name}: {error}", hint="remove what is not text") from error
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
    loader = Loader("")
    above: list[Node] = []

    def build(item: Node, at: str) -> Any:
        if isinstance(item, ScalarNode):
            return loader.construct_object(item, deep=True)
        if item in above:  # an alias of something that it stands in
            raise ConfigError(f"{name}: {at} holds itself", hint="an alias (*) closes a circle")
        above.append(item)
        if isinstance(item, MappingNode):
            built: Any = mapping(item, at)
        else:
            assert isinstance(item, SequenceNode)
            built = [build(entry, f"{at}.{i}") for i, entry in enumerate(item.value)]
        above.pop()
        return built

    def mapping(item: MappingNode, at: str) -> dict[str, Any]:
        own = {str(key.value) for key, _ in item.value}
        if len(own) < len(item.value):
            keys = [str(key.value) for key, _ in item.value]
            twice, _ = next(entry for i, entry in enumerate(item.value) if keys[i] in keys[:i])
            dotted = f"{at}.{twice.value}" if at else str(twice.value)
            raise ConfigError(
                f"{name}, line {twice.start_mark.line + 1}: {dotted} stands twice",
                hint="keep one of the two",
            )
        loader.flatten_mapping(item)  # `<<: *anchor`; a mapping's own keys come later and win
        result: dict[str, Any] = {}
        for key_node, value_node in item.value:
            key = str(loader.construct_object(key_node, deep=True))
            dotted = f"{at}.{key}" if at else key
            lines[dotted] = key_node.start_mark.line + 1
            result[key] = build(value_node, dotted)
        return result

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
        if dotted.partition(".")[0] == "profiles":
            continue
        _say(draft, dotted, value, Origin("recipe", lines.get(dotted), note))
    profiles = values.get("profiles") or {}
    if not isinstance(profiles, dict):
        raise ConfigError(
            f"{note or draft.name}, line {lines['profiles']}: profiles holds no mapping",
            hint="profiles: {NAME: {keys and values}}",
        )
    draft.profiles.update(profiles)


def _merge(draft: _Draft, values: Any, origin: Origin) -> None:
    if not isinstance(values, dict):
        raise ConfigError(
            f"profile {origin.note} holds no mapping", hint="write keys and values under it"
        )
    for dotted, value in _leaves(values):
        _say(draft, dotted, value, origin)


def _say(draft: _Draft, dotted: str, value: Any, origin: Origin) -> None:
    """Put a value under the name that its key bears today. An older spelling is translated where
    it stands, so that a stronger word (a profile, `--set`) stays stronger."""
    if value is None and dotted in SECTIONS:
        return  # `training:` with nothing under it says nothing
    if value is None and re.fullmatch(r"methods\.[^.]+", dotted):
        _bare_variant(draft, dotted, origin)
        return
    variant = re.match(r"methods\.[^.]+\.(?=training\.)", dotted)
    prefix = variant.group() if variant else ""
    meant = legacy.translate(dotted.removeprefix(prefix), value)
    if meant is None or (prefix and meant.key and not meant.key.startswith("training.")):
        _put(draft, dotted, value, origin)
        return
    draft.notes.append(prefix + meant.note)
    if meant.key:
        source = Origin("translated", origin.line, f"from {dotted}")
        _put(draft, prefix + meant.key, meant.value, source)


def _put(draft: _Draft, dotted: str, value: Any, origin: Origin) -> None:
    *parents, last = dotted.split(".")
    place = draft.values
    for part in parents:
        inner = place.get(part)
        if not isinstance(inner, dict):
            inner = place[part] = {}
        place = inner
    if value == {} and isinstance(place.get(last), dict):
        return  # an empty mapping adds nothing to what was said before
    # A path stands for a generator and the other way round: the stronger word replaces the other.
    if parents[:2] == ["data", "sources"] and last in {"path", "generate"} and value is not None:
        other = "generate" if last == "path" else "path"
        before = draft.origins.get(".".join([*parents, other]))
        if before is not None and (before.kind, before.note) != (origin.kind, origin.note):
            del place[other], draft.origins[".".join([*parents, other])]
    place[last] = value
    for known in [key for key in draft.origins if key.startswith(dotted + ".")]:
        del draft.origins[known]
    draft.origins[dotted] = origin


def _bare_variant(draft: _Draft, dotted: str, origin: Origin) -> None:
    """`qlora:` with nothing under it is that method at its defaults. Said over a recipe (by a
    profile, by `--set`, by a file that extends it) null leaves the variant out."""
    methods = draft.values.setdefault("methods", {})
    name = dotted.partition(".")[2]
    if origin.kind == "recipe" and name not in methods:
        _put(draft, dotted, {}, origin)
        return
    methods.pop(name, None)
    for key in [k for k in draft.origins if k == dotted or k.startswith(dotted + ".")]:
        del draft.origins[key]
    # Where nothing is left, `methods` must still be said: its default is one variant.
    draft.origins.setdefault("methods", origin)


def _apply_set(draft: _Draft, item: str) -> None:
    key, equals, text = item.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(
            f"--set {item!r} is not KEY=VALUE", hint="for example --set training.learning_rate=1e-4"
        )
    try:
        value = yaml.load(text, Loader=Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key}: {text!r} is no YAML value", hint="quote it") from error
    _say(draft, key, value, Origin("set", note="--set"))


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
    where = _where(draft, dotted)
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
    general = _general(dotted).rpartition(".")[0]
    siblings = {key.rpartition(".")[2] for key in known_keys() if key.rpartition(".")[0] == general}
    near = difflib.get_close_matches(last, siblings, n=1, cutoff=0.55)
    if near:
        meant = f"{parent}.{near[0]}" if parent else near[0]
    else:
        leaves = {key.rpartition(".")[2]: key for key in known_keys()}
        close = difflib.get_close_matches(last, leaves, n=1, cutoff=0.7)
        meant = leaves[close[0]] if close else ""
    hint = f"did you mean {meant}?" if meant else f"known here: {', '.join(sorted(siblings))}"
    return ConfigError(f"{where}unknown key {dotted}", hint=hint)


def _where(draft: _Draft, dotted: str) -> str:
    """Where the person wrote a key: the file and its line, the profile, or the command line."""
    origin = _nearest(draft, dotted)
    if origin is None:
        return f"{draft.name}: "
    if origin.kind == "set":
        return "--set: "
    if origin.kind == "profile":
        return f"{draft.name}, profile {origin.note}: "
    file = origin.note if origin.kind == "recipe" and origin.note else draft.name
    return f"{file}, line {origin.line}: " if origin.line else f"{file}: "


def _nearest(draft: _Draft, dotted: str) -> Origin | None:
    """Origin of a key, or of the first key under it, or of its nearest parent."""
    origin = draft.origins.get(dotted)
    if origin is not None:
        return origin
    under = [o for key, o in draft.origins.items() if key.startswith(dotted + ".")]
    if under:
        return min(under, key=lambda o: o.line or 0)
    parent = dotted.rpartition(".")[0]
    return _nearest(draft, parent) if parent else None


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


def _general(dotted: str) -> str:
    """A key as `known_keys` writes it: NAME for a source's or a variant's own name."""
    parts = dotted.split(".")
    if len(parts) > 2 and parts[:2] == ["data", "sources"]:
        parts[2] = "NAME"
    if len(parts) > 3 and parts[0] == "methods" and parts[2] == "training":
        parts = parts[2:]
    elif len(parts) > 1 and parts[0] == "methods":
        parts[1] = "NAME"
    return ".".join(parts)


def _describe(dotted: str) -> str:
    parts = _general(dotted).split(".")
    known = known_keys()
    for length in range(len(parts), 0, -1):
        description = known.get(".".join(parts[:length]))
        if description:
            return description
    return "see `tunesmith schema`"
