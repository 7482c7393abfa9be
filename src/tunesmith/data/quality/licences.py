"""The licence of each row, and whether the licences of a mix may stand together.

`spdx` reads the names; here are the rules. They take the cautious side: training data that is
published or shared is an adaptation of all of its rows, so that

- a licence that forbids adaptation (ND) goes with none, not even alone (CC BY-ND 4.0, 2(a)(1));
- a share-alike licence wants the whole under itself, and none that forbids commerce fits under it
  (CC BY-SA 4.0, 3(b); https://wiki.creativecommons.org/wiki/Wiki/cc_license_compatibility);
- two different share-alike licences exclude each other (the same 3(b); GPL-3.0, 5(c); GFDL-1.3, 4;
  ODbL-1.0, 4.4), but for CC-BY-SA-4.0 into GPL-3.0, one way, where that version may be chosen
  (https://creativecommons.org/compatiblelicenses); earlier versions of it may not;
- CC-BY-SA and CC-BY-NC-SA from 2.0 on may be taken up into a later version of themselves (2.0 and
  2.5, 4(b); 3.0, 4(b); https://creativecommons.org/faq, "later version"); 1.0 may not;
- GPL, AGPL and GFDL need one version that both allow (GPL-2.0, 9; GPL-3.0, 14; GFDL-1.3, 10);
  AGPL-3.0 goes with GPL-3.0 (13 of both);
- what goes into a GPL is the FSF's list (https://www.gnu.org/licenses/license-list.html): not EPL,
  CDDL, BSD-4-Clause, Apache-1.x, MPL-1.x or MPL-2.0-no-copyleft-exception; Apache-2.0 and LGPL-3.0
  only where version 3 may be chosen (https://www.apache.org/licenses/GPL-compatibility.html).

This is no legal advice; it says where to ask for some.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, product

from tunesmith.data.quality.flags import Flag, Hit
from tunesmith.data.quality.spdx import COMMERCE, NONE, SHARE, Licence, Terms, alternatives
from tunesmith.records import Example, Finding, Severity

UPGRADED = frozenset({"CC-BY-SA", "CC-BY-NC-SA"})  # into later versions of themselves, from 2.0 on
GPLS = frozenset({"GPL", "AGPL"})


def conflict(one: Licence, other: Licence) -> str | None:
    """Why two licences may not be mixed; None where they may, or where no rule is known."""
    for it in (one, other):
        if it.kind == NONE:
            return f"{it} forbids adaptations"
    if {one.kind, other.kind} == {SHARE, COMMERCE}:
        share, closed = (one, other) if one.kind == SHARE else (other, one)
        return f"{share} wants the whole under itself, {closed} forbids commerce"
    if one.name == other.name:
        return None if _versions_meet(one, other) else f"no version is both {one} and {other}"
    for gpl, it in ((one, other), (other, one)):
        if gpl.name in GPLS:
            return None if _into_gpl(it, gpl) else f"{it} may not go into {gpl}"
    if one.kind == other.kind == SHARE:
        return f"{one} and {other} each want the whole under themselves"
    return None


def _versions_meet(one: Licence, other: Licence) -> bool:
    if one.name in UPGRADED:
        return one.version == other.version or (1, 0) not in (one.version, other.version)
    return one.kind != SHARE or one.meets(other)


def _into_gpl(it: Licence, gpl: Licence) -> bool:
    """Whether it may go into a GPL or AGPL of another name; without a version, its newest counts,
    but for CC-BY-SA, of which the older ones are the more frequent."""
    version = it.version or (9, 0)
    match it.name:
        case "GPL" | "AGPL":  # one of each: they share version 3
            fits = it.allows(3) and gpl.allows(3)
        case "CC-BY-SA":
            fits = it.version == (4, 0) and gpl.name == "GPL" and gpl.allows(3)
        case "Apache":
            fits = version >= (2, 0) and gpl.allows(3)
        case "LGPL":
            fits = version < (3, 0) or it.version is None or gpl.allows(3)
        case "MPL":
            fits = version >= (2, 0) and not it.rest
        case "BSD":
            fits = version != (4,)
        case _:
            fits = it.name not in {"EPL", "CDDL"} and it.kind != SHARE
    return fits


def between(one: Terms, other: Terms) -> str | None:
    """Why what stands under the one may not be mixed with what stands under the other."""
    pairs = product(one.licences, other.licences)
    return next((why for a, b in pairs if (why := conflict(a, b)) is not None), None)


def chosen(expressions: Iterable[str]) -> dict[str, Terms]:
    """The terms of each expression: of several alternatives the freest that fits to the others.

    Those without a choice stand first; a choice that fits to none of what stands is the freest.
    """
    taken: dict[str, Terms] = {}
    for expression in sorted(expressions, key=lambda it: len(alternatives(it))):
        offered = [terms for terms in alternatives(expression) if not terms.unknown]
        fits = (
            terms
            for terms in offered
            if not any(between(terms, it) for it in (terms, *taken.values()))
        )
        taken[expression] = next(fits, (offered or alternatives(expression))[0])
    return taken


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
    terms = chosen(rows)
    flags = _unknown(rows, terms)
    flags += _conflicts(rows, terms, examples)
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


def _unknown(rows: Mapping[str, list[int]], terms: Mapping[str, Terms]) -> list[Flag]:
    unknown = [(name, of) for name, of in _most(rows) if terms[name].unknown]
    hits = [Hit(i, name) for name, of in unknown for i in of]
    if not hits:
        return []
    names = ", ".join(name for name, _ in unknown)
    message = f"rows have a licence that the table does not know: {names}"
    advice = "Write its SPDX expression, or read whether it allows what you mean to do."
    return [Flag("unknown_licences", Severity.WARNING, message, tuple(hits), advice)]


def _conflicts(
    rows: Mapping[str, list[int]],
    terms: Mapping[str, Terms],
    examples: Sequence[Example],
) -> list[Flag]:
    reasons: dict[str, list[int]] = {}
    sources: dict[str, Counter[str]] = {}
    names = [name for name, _ in _most(rows)]
    alone = [(name, name) for name in names]
    for often, rare in (*alone, *combinations(names, 2)):
        why = between(terms[often], terms[rare])
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
