"""Access decisions with one permission changed, and the label that follows from it by a rule.

A rule reads one restriction of a row's permissions and what the request says about the same thing:

    region, vendor, client     what is asked for is within the list: full; none of it: rejected;
                               some of it: partial
    retention_period           older than the period: rejected
    version_restriction        newer than the version: rejected
    session_timeout            idle for as long as the time-out: rejected
    rate_limit                 more calls than the limit: partial
    quorum_required            enough approvals: full; two or more short: rejected
                               (one short is decided both ways in the data: no rule)

Only rows with exactly one restriction, whose request names the thing once and plainly, are read;
and only where the rule gives the row's own label may a counterfactual stand on it. Everything else
is counted and left alone. The rules were found in OrgAccess, and do not go far there. Of 26,741
usable rows of its easy part they read 5,340, and give the own label of 4,074 (76 %): quorum 202 of
203, region 877 of 1,046, rate 570 of 681, retention 567 of 705, vendor 519 of 692, version 415 of
610, client 476 of 707, time-out 448 of 696. Rows of its medium part hold three restrictions or
more: none is read.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CORE = frozenset({"department", "access_level", "allowed_actions"})
REGIONS = (
    "EMEA", "APAC", "LATAM", "NORAM", "EU", "Europe", "MEA", "CIS", "CEE", "SSA", "Nordics", "DACH",
    "Asia", "Africa", "Asia-Pacific", "North America", "South America", "Latin America",
    "Middle East",
)  # fmt: skip
VENDORS = ("AWS", "Azure", "GCP", "IBM", "Oracle", "Google Cloud", "IBM Cloud", "Oracle Cloud")
_CLIENT = re.compile(r"\bClient[- ][A-Z]\b")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rule decides, and why, in a sentence for the rationale."""

    label: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A restriction with its reading: `decide(value, query)` and `others(value, query, r)`.

    `decide` gives None where the request does not speak of it; `others` names values that would be
    decided in another way, if the rule knows any.
    """

    key: str
    decide: Callable[[Any, str], Decision | None]
    others: Callable[[Any, str, random.Random], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Flips:
    """Counterfactual rows, and what became of the rows that were looked at.

    `read`: rows that a rule could read, by rule; `reproduced`: those whose own label it gives.
    """

    rows: tuple[Mapping[str, str], ...]
    looked_at: int
    read: Mapping[str, int]
    reproduced: Mapping[str, int]


def flips(rows: Iterable[Mapping[str, Any]], *, seed: int, count: int | None = None) -> Flips:
    """At most one counterfactual for each row that a rule reproduces, at most `count` in all.

    Rows hold `permissions` (JSON), `query`, `expected_response`, the latter one of the labels; a
    `row` that says which one it is goes along. The order of the rows is kept; with `count` they are
    drawn by the seed.
    """
    r = random.Random(f"flips {seed}")
    looked_at, read, reproduced = 0, Counter[str](), Counter[str]()
    made: list[Mapping[str, str]] = []
    for row in rows:
        looked_at += 1
        found = decided(row)
        if found is None:
            continue
        rule, permissions, decision = found
        read[rule.key] += 1
        if decision.label != row["expected_response"]:
            continue
        reproduced[rule.key] += 1
        flipped = _flipped(row, rule, permissions, decision, r)
        if flipped is not None:
            made.append(flipped)
    if count is not None and count < len(made):
        kept = sorted(r.sample(range(len(made)), count))
        made = [made[i] for i in kept]
    return Flips(tuple(made), looked_at, dict(read), dict(reproduced))


def decided(row: Mapping[str, Any]) -> tuple[Rule, dict[str, Any], Decision] | None:
    """The one rule that reads a row, its permissions, and the decision; None where none does."""
    permissions = row["permissions"]
    if isinstance(permissions, str):
        try:
            permissions = json.loads(permissions)
        except ValueError:
            return None
    if not isinstance(permissions, dict):
        return None
    restrictions = [key for key in permissions if key not in CORE]
    if len(restrictions) != 1 or restrictions[0] not in RULES:
        return None
    rule = RULES[restrictions[0]]
    decision = rule.decide(permissions[rule.key], str(row["query"]))
    return None if decision is None else (rule, permissions, decision)


def _flipped(
    row: Mapping[str, Any],
    rule: Rule,
    permissions: Mapping[str, Any],
    decision: Decision,
    r: random.Random,
) -> Mapping[str, str] | None:
    query = str(row["query"])
    for value in rule.others(permissions[rule.key], query, r):
        new = rule.decide(value, query)
        if new is not None and new.label != decision.label:
            same = {"row": str(row["row"])} if "row" in row else {}
            return same | {
                "permissions": json.dumps({**permissions, rule.key: value}, ensure_ascii=False),
                "query": query,
                "expected_response": new.label,
                "rationale": new.reason,
            }
    return None


# Lists: what is asked for, against what is allowed.


def _items(value: Any) -> list[str]:
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return [str(part).strip() for part in parts if str(part).strip()]


def _named(query: str, words: Iterable[str]) -> list[str]:
    """The words that a query names, the longest first: "Google Cloud" is not also "Google"."""
    found = []
    for word in sorted(set(words), key=lambda w: (-len(w), w)):
        pattern = rf"(?<!\w){re.escape(word)}(?!\w)"
        if re.search(pattern, query, re.IGNORECASE):
            found.append(word)
            query = re.sub(pattern, " ", query, flags=re.IGNORECASE)
    return found


def _asked(key: str, value: Any, query: str) -> list[str]:
    if key == "client_restriction":
        return sorted({match.group().replace(" ", "-") for match in _CLIENT.finditer(query)})
    return _named(query, [*(REGIONS if key == "region_restriction" else VENDORS), *_items(value)])


def _listed(key: str, noun: str) -> Rule:
    def decide(value: Any, query: str) -> Decision | None:
        allowed = {item.casefold(): item for item in _items(value)}
        asked = _asked(key, value, query)
        if not asked or not allowed:
            return None
        within = [word for word in asked if word.casefold() in allowed]
        outside = [word for word in asked if word.casefold() not in allowed]
        held = ", ".join(allowed.values())
        if not outside:
            return Decision("full", f"The request is about {_and(within)}, within {noun} {held}.")
        if not within:
            return Decision(
                "rejected", f"The request is about {_and(outside)}, outside {noun} {held}."
            )
        return Decision(
            "partial",
            f"{_and(within)} is within {noun} {held}, {_and(outside)} is not.",
        )

    def others(value: Any, query: str, r: random.Random) -> Sequence[Any]:
        asked = _asked(key, value, query)
        pool = {
            "region_restriction": REGIONS[:6],
            "vendor_restriction": VENDORS[:3],
            "client_restriction": [f"Client-{c}" for c in "ABCDEFXYZ"],
        }[key]
        named = {word.casefold() for word in asked}
        free = [word for word in pool if word.casefold() not in named]
        size = max(1, min(len(_items(value)), len(free)))
        outside = r.sample(free, size)
        within = list(dict.fromkeys([*asked, *_items(value)]))
        some = [asked[0], *outside] if len(asked) > 1 else []
        options = [option for option in (within, outside, some) if option]
        r.shuffle(options)
        return [", ".join(o) if isinstance(value, str) else o for o in options]

    return Rule(key, decide, others)


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


# Figures: what the request says, against a limit.


def _figure(pattern: str, text: str) -> float | None:
    """The figure of the one place where a pattern fits; None where it fits nowhere or often."""
    found = re.findall(pattern, text, re.IGNORECASE)
    return float(found[0]) if len(found) == 1 else None


def _limit(value: Any, pattern: str = r"^\D{0,1}(\d+(?:\.\d+)?)") -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    match = re.search(pattern, str(value))
    return float(match.group(1)) if match else None


def _limited(
    key: str,
    pattern: str,
    *,
    limit: str,
    judge: Callable[[float, float], str | None],
    says: str,
    steps: Sequence[float],
) -> Rule:
    """A rule on one figure; `judge(figure, limit)`, and `says` words for the rationale.

    `steps` are differences to the figure that was asked for: limits that others may take.
    """

    def decide(value: Any, query: str) -> Decision | None:
        held, asked = _limit(value, limit), _figure(pattern, query)
        if held is None or asked is None:
            return None
        label = judge(asked, held)
        if label is None:
            return None
        return Decision(label, says.format(asked=f"{asked:g}", held=f"{held:g}"))

    def others(value: Any, query: str, r: random.Random) -> Sequence[Any]:
        asked = _figure(pattern, query)
        if asked is None:
            return []
        limits = [asked + step for step in r.sample(list(steps), len(steps)) if asked + step > 0]
        return [_written(value, held) for held in limits]

    return Rule(key, decide, others)


def _written(like: Any, limit: float) -> Any:
    """A limit as the row writes its own: 5, "5y", "v3.0"."""
    if not isinstance(like, str):
        return int(limit) if limit == int(limit) else limit
    match = re.search(r"\d+(?:\.\d+)?", like)
    if match is None:
        return f"{limit:g}"
    text = f"{limit:.1f}" if "." in match.group() else f"{limit:g}"
    return like[: match.start()] + text + like[match.end() :]


def _quorum(asked: float, held: float) -> str | None:
    return "full" if asked >= held else "rejected" if asked <= held - 2 else None


_YEARS = r"^(\d+)\s*y"
RULES: Mapping[str, Rule] = {
    rule.key: rule
    for rule in (
        _listed("region_restriction", "the regions"),
        _listed("vendor_restriction", "the vendors"),
        _listed("client_restriction", "the clients"),
        _limited(
            "retention_period",
            r"(\d+)\s+years?\s+ago",
            limit=_YEARS,
            judge=lambda asked, held: "full" if asked <= held else "rejected",
            says="Data from {asked} years ago is asked for; the retention period is {held} years.",
            steps=(-2, -1, 0, 1, 2),
        ),
        _limited(
            "version_restriction",
            r"\bv(\d+(?:\.\d+)?)",
            limit=r"^v(\d+(?:\.\d+)?)$",
            judge=lambda asked, held: "full" if asked <= held else "rejected",
            says="Version {asked} is asked for; versions up to {held} may be seen.",
            steps=(-1, -0.5, 0, 0.5, 1),
        ),
        _limited(
            "session_timeout",
            r"(\d+)\s+minutes?\b",
            limit=r"^(\d+)$",
            judge=lambda asked, held: "full" if asked < held else "rejected",
            says="The request comes after {asked} minutes; the session ends after {held}.",
            steps=(-10, -5, 5, 10),
        ),
        _limited(
            "rate_limit",
            r"(\d+)\s+(?:API\s+)?(?:calls|requests)",
            limit=r"^(\d+)$",
            judge=lambda asked, held: "full" if asked <= held else "partial",
            says="{asked} calls are asked for; the limit is {held}.",
            steps=(-20, -10, 0, 10, 20),
        ),
        _limited(
            "quorum_required",
            r"(\d+)\s+approvals?\b",
            limit=r"^(\d+)$",
            judge=_quorum,
            says="There are {asked} approvals; {held} are required.",
            steps=(-1, 0, 2, 3),
        ),
    )
}
