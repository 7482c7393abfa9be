"""Read a recipe: the file, what it extends, profiles, `--set`; every value knows its origin."""

from __future__ import annotations

import difflib
import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunesmith.config import legacy
from tunesmith.config.explain import Origin, explain
from tunesmith.config.model import Recipe
from tunesmith.config.text import read_pair, read_yaml
from tunesmith.config.training import TrainingSettings
from tunesmith.errors import ConfigError

# Parts of a recipe that may be left empty: they then stand at their defaults.
SUFFIXES = (".yaml", ".yml")
SECTIONS = frozenset(
    {"model", "training", "methods", "evaluation", "report", "lineage", "task_options"}
)
# Training keys of which null is no value: it takes back what a weaker word said.
OPEN = frozenset(
    f"training.{name}" for name, f in TrainingSettings.model_fields.items() if f.default is not None
)


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

    def beside(self, path: str) -> str:
        """A path or pattern as given; where nothing is there, as seen from the recipe's folder."""
        if self.path is None or _is_there(path):
            return path
        beside = str(self.path.parent / path)
        return beside if _is_there(beside) else path


def _is_there(path: str) -> bool:
    found = glob.iglob(str(Path(path).expanduser()), recursive=True)  # noqa: PTH207 - absolute, too
    return Path(path).expanduser().exists() or any(True for _ in found)


@dataclass
class _Draft:
    """A recipe under way: nested values, and where each leaf came from."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    profiles: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    name: str = "recipe"


def load_recipe(
    source: str | Path,
    *,
    sets: Sequence[str] = (),
    profile: str | None = None,
    over: Sequence[tuple[str, Any, Origin]] = (),
) -> Resolved:
    """Read the recipe in a file (or a shipped one by its name) and resolve every value.

    Order of strength: the file it `extends`, the file, the profile, `--set`, and what a study's
    file puts `over` it (dotted key, value, where that stands). Raises ConfigError
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
    for key, value, origin in over:
        for dotted, leaf in _leaves({key: value}):
            _say(draft, dotted, leaf, origin)
    resolved = Resolved(
        recipe=_validate(draft),
        origins=draft.origins,
        notes=tuple(dict.fromkeys(draft.notes)),
        path=path,
        text=text,
    )
    return replace(resolved, recipe=_located(resolved))


def _located(resolved: Resolved) -> Recipe:
    """The recipe with the local paths of its collectors found."""
    data = resolved.recipe.data
    found = {name: settings.located(resolved.beside) for name, settings in data.collect.items()}
    if found == data.collect:
        return resolved.recipe
    return resolved.recipe.model_copy(update={"data": data.model_copy(update={"collect": found})})


def find_recipe(source: str | Path) -> Path:
    """The file itself, or the shipped recipe of that name."""
    return find_file(source, "recipe", shipped_recipes())


def find_file(source: str | Path, kind: str, shipped: Mapping[str, Path]) -> Path:
    """The file itself, or the shipped one of that name; ConfigError where there is neither."""
    path = Path(source)
    if path.is_file():
        return path
    if path.is_dir():
        raise ConfigError(f"{path} is a folder, not a {kind}", hint="name the YAML file in it")
    if str(source) in shipped:
        return shipped[str(source)]
    near = difflib.get_close_matches(Path(str(source)).stem, shipped, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(
        f"there is no {kind} {source}",
        hint=f"{meant}shipped {kind}s: {', '.join(sorted(shipped)) or 'none'}",
    )


def shipped_recipes() -> dict[str, Path]:
    """Recipes that come with Tunesmith, by name."""
    return {name: file for name, file in _shipped().items() if not _is_study(file)}


def shipped_studies() -> dict[str, Path]:
    """Studies of methods that come with Tunesmith, by name."""
    return {name: file for name, file in _shipped().items() if _is_study(file)}


def _shipped() -> dict[str, Path]:
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "recipes", package.parent.parent / "recipes"):
        if folder.is_dir():
            return {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    return {}


def _is_study(file: Path) -> bool:
    return re.search(r"^tasks:", file.read_text("utf-8"), re.M) is not None


def is_recipe(name: str) -> bool:
    """Whether a word on the command line names a recipe: a YAML file, or a shipped one."""
    path = Path(name)
    return path.suffix.lower() in SUFFIXES or (name in shipped_recipes() and not path.exists())


def _read_file(path: Path, draft: _Draft, seen: tuple[Path, ...]) -> str:
    if path.resolve() in seen:
        raise ConfigError(f"{path.name} extends itself", hint="remove the circle of `extends`")
    text, values, lines = read_yaml(path)
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
    _check_precision(values, note or draft.name, lines)
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


def _check_precision(values: Mapping[str, Any], where: str, lines: Mapping[str, int]) -> None:
    """Refuse fp16 beside bf16: each becomes model.dtype, and the later would win unsaid."""
    both = legacy.contradiction(_leaves(values))
    if both is None:
        return
    first, second = both
    line = f", line {lines[second]}" if second in lines else ""
    other = f" (line {lines[first]})" if first in lines else ""
    raise ConfigError(
        f"{where}{line}: {second} and {first}{other} are both set",
        hint="keep one: training.bf16, or model.dtype",
    )


def _merge(draft: _Draft, values: Any, origin: Origin) -> None:
    if not isinstance(values, dict):
        raise ConfigError(
            f"profile {origin.note} holds no mapping", hint="write keys and values under it"
        )
    _check_precision(values, f"{draft.name}, profile {origin.note}", {})
    for dotted, value in _leaves(values):
        _say(draft, dotted, value, origin)


def _say(draft: _Draft, dotted: str, value: Any, origin: Origin) -> None:
    """Put a value under the name that its key bears today. An older spelling is translated where
    it stands, so that a stronger word (a profile, `--set`) stays stronger."""
    if dotted in SECTIONS and (value is None or (value == {} and dotted != "methods")):
        return  # `training:` with nothing under it says nothing; `methods: {}` trains none
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
    if value is None and dotted in OPEN:
        said = draft.values.get("training")
        if isinstance(said, dict):
            said.pop(dotted.partition(".")[2], None)
        for known in [k for k in draft.origins if k == dotted or k.startswith(dotted + ".")]:
            del draft.origins[known]
        return
    *parents, last = dotted.split(".")
    place = draft.values
    for part in parents:
        inner = place.get(part)
        if not isinstance(inner, dict):
            inner = place[part] = {}
        place = inner
    if value == {} and isinstance(place.get(last), dict):
        return  # an empty mapping adds nothing to what was said before
    # What a source is read from excludes the other ways: the stronger word replaces them.
    origins = ("path", "generate", "collect")
    if parents[:2] == ["data", "sources"] and last in origins and value is not None:
        for other in (".".join([*parents, name]) for name in origins if name != last):
            before = draft.origins.get(other)
            if before is not None and (before.kind, before.note) != (origin.kind, origin.note):
                del place[other.rpartition(".")[2]], draft.origins[other]
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
    key, value = read_pair(item, "training.learning_rate=1e-4")
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
        raise explain(draft.name, draft.origins, error) from error
    return recipe


def _check_method_training(draft: _Draft, recipe: Recipe, variant: str) -> None:
    try:
        recipe.method_settings(variant)
    except ValidationError as error:
        under = ("methods", variant, "training")
        raise explain(draft.name, draft.origins, error, under=under) from error
