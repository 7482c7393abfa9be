"""Read what a licence is called: SPDX expressions, and the usual spellings of single names.

`license-expression` parses AND, OR, WITH and brackets; which licences there are is said by the
table here, for only those whose terms are known can be judged. An expression is read as its
alternatives (OR), each with all of its members (AND). An exception of the SPDX list (WITH) gives
further rights, which are not counted. A name is known only where nothing is left of it: "Apache
License 2.0 (non-commercial use only)" is not Apache-2.0.

Syntax: https://spdx.github.io/spdx-spec/v3.0.1/annexes/spdx-license-expressions/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

FREE, SHARE, COMMERCE, NONE = "permissive", "share-alike", "non-commercial", "no adaptation"
KINDS: Mapping[str, str] = {  # SPDX name without version -> kind, the freest first
    **dict.fromkeys(("CC0", "Unlicense", "PDDL", "CC-PDDC", "WTFPL", "MIT-0", "0BSD"), FREE),
    **dict.fromkeys(("MIT", "BSD", "ISC", "Zlib", "PSF", "PostgreSQL", "Apache"), FREE),
    **dict.fromkeys(("CC-BY", "ODC-By", "CDLA-Permissive"), FREE),
    **dict.fromkeys(("EPL", "MPL", "LGPL", "CDDL"), FREE),  # per file: they do not spread
    **dict.fromkeys(("CC-BY-SA", "GFDL", "GPL", "AGPL", "ODbL", "CDLA-Sharing"), SHARE),
    **dict.fromkeys(("CC-BY-NC", "CC-BY-NC-SA"), COMMERCE),
    **dict.fromkeys(("CC-BY-ND", "CC-BY-NC-ND"), NONE),
}
_ORDER = {name: place for place, name in enumerate(KINDS)}
_SPELLINGS = tuple(
    (re.compile(pattern, re.IGNORECASE), name)
    for pattern, name in (
        (r"(?:gnu )?affero general public licen[cs]e", "AGPL"),
        (r"(?:gnu )?(?:lesser|library) general public licen[cs]e", "LGPL"),
        (r"(?:gnu )?general public licen[cs]e", "GPL"),
        (r"gnu free documentation licen[cs]e", "GFDL"),
        (r"mozilla public licen[cs]e", "MPL"),
        (r"eclipse public licen[cs]e", "EPL"),
        (r"cc[ _-]?(?:zero|0)", "CC0"),
        (r"creative commons|cc[ _-]?(?=by)", "CC-"),
        (r"attribution", "BY"),
        (r"share[ -]?alike", "SA"),
        (r"non[ -]?commercial", "NC"),
        (r"no[ -]?deriv\w*", "ND"),
        (r"\b(?:the|licen[cs]e|international|unported|generic|version)\b|,", " "),
    )
)
_URL = re.compile(
    r"https?://(?:www\.)?creativecommons\.org/(?:licenses|publicdomain)/"
    r"(?P<name>[a-z-]+)/(?P<version>\d\.\d)(?:/.*)?"
)
_LATER = re.compile(r"(?:,?\s+or|-or)(?:\s+any)?[\s-]+later(?:\s+version)?", re.IGNORECASE)
_NAME = re.compile(
    rf"(?P<name>{'|'.join(map(re.escape, sorted(KINDS, key=len, reverse=True)))})"
    r"(?:-?v?(?P<version>\d+(?:\.\d+)*))?"
    r"(?P<rest>-only|-or-later|\+|-clause|-no-copyleft-exception)?"
    r"(?P<country>-[a-z]{2,3})?",
    re.IGNORECASE,
)
_COMPOUND = re.compile(r"\b(?:and|or|with)\b|[()]", re.IGNORECASE)
_TWICE = re.compile(r"(?P<name>[^()]+?)\s*\((?P<short>[^()]+)\)")


@dataclass(frozen=True, slots=True)
class Licence:
    """One licence of the table; `version` (major, minor) is None where none is said."""

    name: str
    version: tuple[int, ...] | None = None
    later: bool = False
    rest: str = ""

    @property
    def kind(self) -> str:
        """What it asks for: FREE, SHARE, COMMERCE or NONE."""
        return KINDS[self.name]

    def allows(self, major: int) -> bool:
        """Whether a major version may be chosen: without one, every version may (GPL-3.0, 14)."""
        if self.version is None:
            return True
        return self.version[0] == major or (self.later and self.version[0] <= major)

    def meets(self, other: Licence) -> bool:
        """Whether one version may be chosen for both."""
        if self.version is None or other.version is None or self.version == other.version:
            return True
        return min(self, other, key=lambda it: it.version or ()).later

    def __str__(self) -> str:
        version = "" if self.version is None else "-" + ".".join(map(str, self.version))
        return f"{self.name}{version}{self.rest}"


@dataclass(frozen=True, slots=True)
class Terms:
    """One alternative of an expression: all of its licences count, and names nobody knows."""

    licences: tuple[Licence, ...]
    unknown: tuple[str, ...] = ()


@cache
def alternatives(expression: str) -> tuple[Terms, ...]:
    """The alternatives of an expression, the freest first, those with unknown names last."""
    text = _LATER.sub("-or-later", expression.strip())
    if (whole := _said_twice(text)) is not None:
        return (Terms((whole,)),)
    if _COMPOUND.search(text) is None:
        return (_single(text),)
    from boolean import ParseError
    from license_expression import ExpressionError, Licensing

    try:
        found = _alternatives(Licensing().parse(text))
    except (ParseError, ExpressionError):
        found = [Terms((), (expression.strip(),))]
    return tuple(sorted(found, key=_freedom))


def licence(text: str) -> Licence | None:
    """One licence by its SPDX name or a usual spelling; None where it is not in the table."""
    if url := _URL.fullmatch(text.strip()):
        text = f"CC-{url['name']}-{url['version']}".replace("CC-zero", "CC0")
    for pattern, name in _SPELLINGS:
        text = pattern.sub(name, text)
    text = re.sub(r"[\s_-]+", "-", text.strip(" -._")).replace("CC--", "CC-").strip("-")
    match = _NAME.fullmatch(text)
    if match is None or (match["country"] and not match["name"].upper().startswith("CC-")):
        return None
    name = next(known for known in KINDS if known.lower() == match["name"].lower())
    rest = (match["rest"] or "").lower().replace("+", "-or-later").replace("clause", "Clause")
    version = tuple(map(int, match["version"].split("."))) if match["version"] else None
    if version is not None and len(version) == 1 and rest != "-Clause":
        version = (*version, 0)
    return Licence(name, version, rest == "-or-later", rest)


def _said_twice(text: str) -> Licence | None:
    """A name with its own short form behind it: "The MIT License (MIT)"."""
    match = _TWICE.fullmatch(text)
    whole, short = (licence(match["name"]), licence(match["short"])) if match else (None, None)
    if whole is None or short is None or whole.name != short.name:
        return None
    return whole if short.version in (None, whole.version) else None


def _single(text: str) -> Terms:
    found = licence(text)
    return Terms((found,)) if found else Terms((), (text,))


def _alternatives(node: Any) -> list[Terms]:
    """A parsed expression multiplied out."""
    from boolean import AND, OR
    from license_expression import LicenseWithExceptionSymbol

    if isinstance(node, OR):
        return [terms for inner in node.args for terms in _alternatives(inner)]
    if isinstance(node, AND):
        product = [Terms(())]
        for inner in node.args:
            product = [
                Terms((*a.licences, *b.licences), (*a.unknown, *b.unknown))
                for a in product
                for b in _alternatives(inner)
            ]
        return product
    if isinstance(node, LicenseWithExceptionSymbol):
        known = str(node.exception_symbol).lower() in _exceptions()
        return [_single(str(node.license_symbol)) if known else Terms((), (str(node),))]
    return [_single(str(node))]


def _freedom(terms: Terms) -> tuple[int, int]:
    return len(terms.unknown), max((_ORDER[it.name] for it in terms.licences), default=0)


@cache
def _exceptions() -> frozenset[str]:
    from license_expression import get_spdx_licensing

    symbols = get_spdx_licensing().known_symbols.values()
    return frozenset(symbol.key.lower() for symbol in symbols if symbol.is_exception)
