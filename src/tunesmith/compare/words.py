"""A comparison in plain words and as JSON: sentences are made from figures, by rules."""

from __future__ import annotations

from typing import Any

from tunesmith.compare.caveats import is_share, value_words
from tunesmith.compare.facts import ALL
from tunesmith.records import Comparison, Verdict
from tunesmith.store.nouns import finite

SCALE = " on a scale of 0 to 1"


def comparison_json(comparison: Comparison, *, confidence: float = 0.95) -> dict[str, Any]:
    """The contract of `compare --json`; what is not finite is null. `confidence`: of `ci`."""
    c = comparison
    return {
        "metric": c.metric,
        "a": c.a,
        "b": c.b,
        "n": c.n,
        "difference": finite(c.difference),
        "ci": [finite(end) for end in c.ci],
        "test": c.test,
        "p": finite(c.p),
        "p_adjusted": finite(c.p_adjusted),
        "effect": finite(c.effect),
        "verdict": c.verdict.value,
        "effect_name": c.effect_name,
        "slice": c.slice,
        "value_a": finite(c.value_a),
        "value_b": finite(c.value_b),
        "detectable": None if c.detectable is None else finite(c.detectable),
        "needed": c.needed,
        "discordant": None if c.discordant is None else list(c.discordant),
        "primary": c.primary,
        "caveats": list(c.caveats),
        "words": plain_words(c, confidence=confidence),
    }


def plain_words(comparison: Comparison, *, confidence: float = 0.95, caveats: bool = False) -> str:
    """The verdict for anyone: what, on how many examples, how surely, what it could have missed.

    `confidence`: of the comparison's interval, as `CompareSettings` had it; `caveats`: name what
    weakens it, too, where nothing beside the sentence does.
    """
    c = comparison
    where = "" if c.slice == ALL else f" ({c.slice})"
    share = is_share(c)
    on = f"on the same {c.n:,} example{'' if c.n == 1 else 's'}{where}"
    values = f"{c.metric} {value_words(c, c.value_b)} against {value_words(c, c.value_a)}"
    evidence = (
        f"a difference of {_difference(c.difference, share)}{'' if share else SCALE}"
        f" ({100 * confidence:g}% interval {_interval(c, share)}), {_tested(c)}"
    )
    if c.verdict is Verdict.BETTER:
        said = f"{c.b} is better than {c.a}: {values} {on}, {evidence}."
    elif c.verdict is Verdict.WORSE:
        said = f"{c.b} is worse than {c.a}: {values} {on}, {evidence}."
    elif c.verdict is Verdict.EQUIVALENT:
        said = (
            f"{c.b} and {c.a} are equivalent within the margin that matters: {values} {on},"
            f" {evidence}."
        )
    else:
        said = (
            f"There is no evidence that {c.b} differs from {c.a}: {values} {on}, {evidence}."
            f" {_missed(c, share)}"
        )
    return " ".join([said, *c.caveats]) if caveats else said


def _missed(c: Comparison, share: bool) -> str:
    if c.detectable is None:
        seen = "So few examples could not have shown any difference"
    else:
        size = _difference(c.detectable, share).lstrip("+")
        seen = f"A difference below {size} would probably have gone unseen here"
    if c.needed is None:
        return f"{seen}."
    return f"{seen}; about {c.needed:,} examples would settle one as large as was seen."


def _difference(value: float, share: bool) -> str:
    if not share:
        return f"{value:+.3f}"
    points = f"{100 * value:+.1f}"
    return f"{points} percentage point{'' if points in ('+1.0', '-1.0') else 's'}"


def _interval(c: Comparison, share: bool) -> str:
    low, high = (100 * end if share else end for end in c.ci)
    places = 1 if share else 3
    return f"{low:+.{places}f} to {high:+.{places}f}"


def _tested(c: Comparison) -> str:
    alone, corrected = _p(c.p), _p(c.p_adjusted)
    if alone == corrected:
        return corrected
    return f"{corrected} (corrected for several tests; {alone} alone)"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
