"""YAML with the values that people mean and the line of every key, and back.

PyYAML and not ruamel: its node graph carries line and column of every key, which is all that an
error message needs, and it imports in a tenth of the time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tunesmith.errors import ConfigError


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


def read_pair(item: str, example: str) -> tuple[str, Any]:
    """Key and value of `--set KEY=VALUE`, the value as YAML; ConfigError gives `example`."""
    key, equals, text = item.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(f"--set {item!r} is not KEY=VALUE", hint=f"for example --set {example}")
    try:
        return key, yaml.load(text, Loader=Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key}: {text!r} is no YAML value", hint="quote it") from error


def dump_yaml(values: Mapping[str, Any]) -> str:
    """YAML that `Loader` reads back as it was, keys in their order."""
    return str(
        yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    )


def read_yaml(path: Path) -> tuple[str, dict[str, Any], dict[str, int]]:
    """A file's text, the values of its mapping, and the line of every dotted key in it.

    Raises ConfigError naming file and line where it cannot be read as a mapping.
    """
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
        values, lines = plain_values(node, path.name)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(
            f"{path.name}, line {line}: {error.problem or 'not YAML'}",
            hint="check indentation, quotes and colons there",
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path.name}: {error}", hint="remove what is not text") from error
    return text, values, lines


def plain_values(node: Node, name: str, prefix: str = "") -> tuple[dict[str, Any], dict[str, int]]:
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
