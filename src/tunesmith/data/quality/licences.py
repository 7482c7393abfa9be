"""The licence of each row, and whether the licences of a mix may stand together.

A small table, in SPDX names (https://spdx.org/licenses): whoever adapts must know it by heart. It
takes the cautious side: training data that is published or shared is an adaptation, so that

- a share-alike licence wants the whole under itself, and none that forbids commerce fits under it
  (CC BY-SA 4.0, 3(b); https://wiki.creativecommons.org/wiki/Wiki/cc_license_compatibility);
- two different share-alike licences exclude each other, but for CC-BY-SA-4.0 into GPL-3.0, which
  is one-way and allowed (https://creativecommons.org/compatiblelicenses), and versions of one;
- a licence that forbids adaptation (ND) goes with none, not even alone.

This is no legal advice; it says where to ask for some.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

from tunesmith.data.quality.flags import Flag, Hit
from tunesmith.records import Example, Finding, Severity

FREE, SHARE, COMMERCE, NONE = "permissive", "share-alike", "non-commercial", "no adaptation"
KINDS: Mapping[str, tuple[str, str]] = {  # SPDX name without version -> kind, family
    **dict.fromkeys(("MIT", "MIT-0", "Apache", "BSD", "0BSD", "ISC", "Zlib"), (FREE, "")),
    **dict.fromkeys(("Unlicense", "CC0", "PDDL", "CC-PDDC", "WTFPL", "PSF"), (FREE, "")),
    **dict.fromkeys(("CC-BY", "ODC-By", "CDLA-Permissive", "PostgreSQL"), (FREE, "")),
    **dict.fromkeys(("EPL", "MPL", "LGPL", "CDDL"), (FREE, "")),  # per file: they do not spread
    "CC-BY-SA": (SHARE, "CC-BY-SA"),
    "GFDL": (SHARE, "GFDL"),
    "GPL": (SHARE, "GPL"),
    "AGPL": (SHARE, "GPL"),
    "ODbL": (SHARE, "ODbL"),
    "CDLA-Sharing": (SHARE, "CDLA-Sharing"),
    "CC-BY-NC": (COMMERCE, ""),
    "CC-BY-NC-SA": (COMMERCE, "CC-BY-NC-SA"),
    "CC-BY-ND": (NONE, ""),
    "CC-BY-NC-ND": (NONE, ""),
}
_SPELLINGS = (
    (re.compile(r"cc[ _-]?(?:zero|0)", re.I), "CC0"),
    (re.compile(r"creative commons|cc[ _-]?(?=by)", re.I), "CC-"),
    (re.compile(r"attribution", re.I), "BY"),
    (re.compile(r"share[ -]?alike", re.I), "SA"),
    (re.compile(r"non[ -]?commercial", re.I), "NC"),
    (re.compile(r"no[ -]?deriv\w*", re.I), "ND"),
    (re.compile(r"\b(?:the|licen[cs]e|international|unported|generic|version)\b|,", re.I), " "),
)
_VERSION = re.compile(r"[-_ ]*v?(\d+(?:\.\d+)*)(?:-only|-or-later|\+|-clause)?\b.*$", re.I)


def family(licence: str) -> str | None:
    """SPDX name without its version, in the table's spelling; None where it is not in the table."""
    text = licence.strip()
    for pattern, name in _SPELLINGS:
        text = pattern.sub(name, text)
    text = re.sub(r"[\s_-]+", "-", text.strip(" -.")).replace("CC--", "CC-")
    known = {name.lower(): name for name in KINDS}
    for candidate in (text, _VERSION.sub("", text), re.sub(r"-\d.*$", "", text)):
        folded = candidate.strip("-").lower()
        if folded in known:
            return known[folded]
    return None


def conflict(one: str, other: str) -> str | None:
    """Why two families of the table may not be mixed; None where they may."""
    (kind, wing), (kind2, wing2) = KINDS[one], KINDS[other]
    for name, its in ((one, kind), (other, kind2)):
        if its == NONE:
            return f"{name} forbids adaptations"
    if {kind, kind2} == {SHARE, COMMERCE}:
        share, closed = (one, other) if kind == SHARE else (other, one)
        return f"{share} wants the whole under itself, {closed} forbids commerce"
    if wing and wing2 and wing != wing2 and {wing, wing2} != {"CC-BY-SA", "GPL"}:
        return f"{one} and {other} each want the whole under themselves"
    return None


def licences(examples: Sequence[Example]) -> tuple[list[Flag], list[Finding]]:
    """Rows of licences that nobody knows or that exclude each other; and what the mix consists of.

    Where two licences exclude each other, the rows of the rarer one are hit. A row without a
    licence says nothing, and is counted.
    """
    rows: dict[str, list[int]] = {}
    for i, example in enumerate(examples):
        rows.setdefault(example.meta.get("licence", "").strip(), []).append(i)
    silent = len(rows.pop("", ()))
    if not rows:
        return [], []
    families = {licence: family(licence) for licence in rows}
    flags = _unknown(rows, families)
    flags += _conflicts(rows, families, examples)
    said = ", ".join(f"{licence} ({len(of):,})" for licence, of in _most(rows))
    missing = f"; {silent:,} rows say none" if silent else ""
    mix = Finding(
        "licences",
        Severity.INFO,
        f"rows with a licence: {said}{missing}",
        sum(map(len, rows.values())),
        action="Ask for the licence of the others before publishing." if silent else "",
    )
    return flags, [mix]


def _most(rows: Mapping[str, list[int]]) -> list[tuple[str, list[int]]]:
    return sorted(rows.items(), key=lambda item: (-len(item[1]), item[0]))


def _unknown(rows: Mapping[str, list[int]], families: Mapping[str, str | None]) -> list[Flag]:
    hits = [Hit(i, name) for name, of in _most(rows) if families[name] is None for i in of]
    if not hits:
        return []
    names = ", ".join(name for name, of in _most(rows) if families[name] is None)
    message = f"rows have a licence that the table does not know: {names}"
    advice = "Write its SPDX name, or read whether it allows what you mean to do."
    return [Flag("unknown_licences", Severity.WARNING, message, tuple(hits), advice)]


def _conflicts(
    rows: Mapping[str, list[int]],
    families: Mapping[str, str | None],
    examples: Sequence[Example],
) -> list[Flag]:
    reasons: dict[str, list[int]] = {}
    sources: dict[str, Counter[str]] = {}
    names = [name for name, _ in _most(rows)]
    alone = [(name, name) for name in names]
    for often, rare in (*alone, *combinations(names, 2)):
        one, other = families[often], families[rare]
        why = conflict(one, other) if one is not None and other is not None else None
        if why is None or (often != rare and why.endswith("forbids adaptations")):
            continue  # told by itself
        reasons.setdefault(why, []).extend(rows[rare])
        for name in {often, rare}:
            sources.setdefault(why, Counter()).update(
                f"{examples[i].meta.get('source', '?')} ({name})" for i in rows[name]
            )
    if not reasons:
        return []
    told = "; ".join(f"{why}: {' with '.join(sorted(sources[why]))}" for why in reasons)
    hits = {i: Hit(i, examples[i].meta["licence"]) for of in reasons.values() for i in of}
    message = f"rows may not be mixed with the others for their licence. {told}"
    advice = "Leave one of these sources out, or ask its owner."
    return [Flag("incompatible_licences", Severity.ERROR, message, tuple(hits.values()), advice)]
