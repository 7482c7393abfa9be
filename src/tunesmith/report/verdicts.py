"""The first screen: what may be said, in plain words, and what weakens it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunesmith.records import Comparison, Verdict
from tunesmith.report import figures
from tunesmith.report.facts import ALL, BASELINE, Facts

Sentence = Callable[[Comparison], str]

WORDS = {
    Verdict.BETTER: ("▲", "Better"),
    Verdict.WORSE: ("▼", "Worse"),
    Verdict.NO_EVIDENCE: ("○", "No evidence"),
    Verdict.EQUIVALENT: ("≈", "Equivalent"),
}
TICKS = 5


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two bars of a card: a variant and its score, `width` in percent of the track."""

    name: str
    score: str
    width: float


@dataclass(frozen=True, slots=True)
class Card:
    """One comparison, told in full."""

    kind: str  # the verdict with dashes: a CSS class
    sign: str
    word: str
    sentence: str
    sides: tuple[Side, ...]
    facts: tuple[tuple[str, str], ...]
    caveats: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Opening:
    """The first screen."""

    headline: str
    lead: str
    cards: tuple[Card, ...]
    also: tuple[Card, ...]
    cautions: tuple[str, ...]


def opening(facts: Facts, sentence: Sentence) -> Opening:
    """The headline, a card for each primary comparison with the untuned model, and the rest."""
    primary = [c for c in facts.comparisons if c.primary and c.slice == ALL]
    trained = [c for c in primary if c.a == BASELINE and c.b in facts.trained]
    also = [c for c in primary if c not in trained and c.b in facts.trained]
    headline, lead = _headline(facts, trained)
    return Opening(
        headline=headline,
        lead=lead,
        cards=tuple(card(facts, comparison, sentence) for comparison in trained),
        also=tuple(card(facts, comparison, sentence) for comparison in also),
        cautions=tuple(_cautions(facts)),
    )


def _headline(facts: Facts, comparisons: Sequence[Comparison]) -> tuple[str, str]:
    verdicts = {comparison.verdict for comparison in comparisons}
    if not comparisons:
        return "Nothing was compared yet.", "This run holds no comparison with the untuned model."
    better = [c.b for c in comparisons if c.verdict is Verdict.BETTER]
    worse = [c.b for c in comparisons if c.verdict is Verdict.WORSE]
    metric = comparisons[0].metric.replace("_", " ")
    test = f"{figures.integer(comparisons[0].n)} test examples, judged by {metric}"
    if len(better) == len(comparisons):
        headline = "Yes, it got better."
    elif better and worse:
        headline = f"Mixed: {_list(better)} got better, {_list(worse)} got worse."
    elif better:
        headline = f"Yes: {_list(better)} got better."
    elif len(worse) == len(comparisons):
        headline = "No, it got worse."
    elif worse:
        headline = f"No: {_list(worse)} got worse."
    elif verdicts == {Verdict.EQUIVALENT}:
        headline = "It stayed the same."
    else:
        headline = "There is no evidence that it got better."
    return headline, f"The untuned model and each tuned one answered the same {test}."


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def card(facts: Facts, comparison: Comparison, sentence: Sentence) -> Card:
    """One comparison with its figures; where nothing is shown, what it would have taken."""
    share = comparison.metric in facts.shares
    sign, word = WORDS[comparison.verdict]
    told = [
        ("Difference", figures.difference(comparison.difference, share)),
        ("95% interval", figures.difference_interval(*comparison.ci, share)),
        ("Examples", figures.integer(comparison.n)),
    ]
    if comparison.discordant is not None:
        lost, won = comparison.discordant
        told.append(("Answers that changed", f"{won} fixed, {lost} broken"))
    if comparison.verdict is Verdict.NO_EVIDENCE:
        if comparison.detectable is not None:
            told.append(
                (
                    "Smallest difference this test could show",
                    figures.difference(comparison.detectable, share).lstrip("+"),
                )
            )
        if comparison.needed is not None:
            told.append(
                ("Examples that would settle it", f"about {figures.integer(comparison.needed)}")
            )
    top = 1.0 if share else max(comparison.value_a, comparison.value_b, 1e-12)
    sides = tuple(
        Side(name, figures.score(value, share), _percent(value / top))
        for name, value in (
            (comparison.a, comparison.value_a),
            (comparison.b, comparison.value_b),
        )
    )
    return Card(
        kind=comparison.verdict.value.replace(" ", "-"),
        sign=sign,
        word=word,
        sentence=sentence(comparison),
        sides=sides,
        facts=tuple(told),
        caveats=comparison.caveats,
    )


def _percent(part: float) -> float:
    return 0.0 if math.isnan(part) else round(100 * min(1.0, max(0.0, part)), 2)


def _cautions(facts: Facts) -> list[str]:
    """What a reader must know before believing the headline."""
    cautions = []
    failed = [check.metric for check in facts.gold_checks if not check.passed]
    if failed:
        cautions.append(
            f"The scorer {_list(failed)} does not judge the gold answers themselves as right: "
            "mend the scorer or the data before trusting these figures."
        )
    metric = facts.primary
    if metric is None:
        return cautions
    share = metric in facts.shares
    tuned = _best(facts, facts.trained, metric)
    cheap = _best(facts, facts.cheap, metric)
    if tuned is not None and cheap is not None and cheap[1] >= tuned[1]:
        cautions.append(
            f"The cheap baseline {cheap[0]}, which needs no model, reaches "
            f"{figures.score(cheap[1], share)}: as much as the best tuned model "
            f"({tuned[0]}, {figures.score(tuned[1], share)})."
        )
    return cautions


def _best(facts: Facts, names: Sequence[str], metric: str) -> tuple[str, float] | None:
    found = [
        (name, estimate.value)
        for name in names
        if (estimate := facts.estimate(name, metric)) is not None
    ]
    return max(found, key=lambda pair: pair[1], default=None)


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One comparison on the axis; positions in percent of its width."""

    a: str
    b: str
    kind: str
    sign: str
    word: str
    low: float
    width: float
    dot: float
    text: str


@dataclass(frozen=True, slots=True)
class Forest:
    """The differences on one metric, on one axis; `ticks` are (position in percent, label)."""

    metric: str
    unit: str
    zero: float
    ticks: tuple[tuple[float, str], ...]
    rows: tuple[ForestRow, ...]


def forests(facts: Facts) -> list[Forest]:
    """A forest plot for each metric, the primary one first."""
    metrics = list(dict.fromkeys(c.metric for c in facts.comparisons if c.slice == ALL))
    metrics.sort(key=lambda name: name != facts.primary)
    return [_forest(facts, metric) for metric in metrics]


def _forest(facts: Facts, metric: str) -> Forest:
    comparisons = [c for c in facts.comparisons if c.metric == metric and c.slice == ALL]
    share = metric in facts.shares
    unit = 100.0 if share else 1.0
    ends = [end * unit for c in comparisons for end in (*c.ci, c.difference) if math.isfinite(end)]
    step = _nice(max([*ends, 0.0]) - min([*ends, 0.0]))
    low = math.floor(min([*ends, 0.0]) / step) * step
    high = math.ceil(max([*ends, 0.0]) / step) * step
    if low == high:
        low, high = low - step, high + step

    def at(value: float) -> float:
        inside = min(high, max(low, value * unit)) if not math.isnan(value) else 0.0
        return round(100 * (inside - low) / (high - low), 2)

    digits = max(0, -math.floor(math.log10(step)))
    ticks = [low + i * step for i in range(round((high - low) / step) + 1)]
    return Forest(
        metric=metric,
        unit="percentage points" if share else "difference of scores",
        zero=at(0.0),
        ticks=tuple((at(tick / unit), figures.signed(tick, digits)) for tick in ticks),
        rows=tuple(
            ForestRow(
                a=c.a,
                b=c.b,
                kind=c.verdict.value.replace(" ", "-"),
                sign=WORDS[c.verdict][0],
                word=WORDS[c.verdict][1],
                low=at(c.ci[0]),
                width=round(at(c.ci[1]) - at(c.ci[0]), 2),
                dot=at(c.difference),
                text=f"{figures.difference(c.difference, share).removesuffix(' points')} "
                f"({figures.difference_interval(*c.ci, share)})",
            )
            for c in comparisons
        ),
    )


def _nice(span: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that cuts the span into about `TICKS` parts."""
    if span <= 0:
        return 1.0
    raw = span / TICKS
    power: float = 10.0 ** math.floor(math.log10(raw))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
