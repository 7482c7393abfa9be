"""The first screen: what may be said, in plain words, and what weakens it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunesmith.records import Comparison, Verdict
from tunesmith.report import figures
from tunesmith.report.cases import EXACT
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
    caveats: tuple[str, ...]  # of every card; they stand on none


def opening(facts: Facts, sentence: Sentence) -> Opening:
    """The headline, a card for each primary comparison with the untuned model, and the rest."""
    primary = [c for c in facts.comparisons if c.primary and c.slice == ALL]
    trained = [c for c in primary if c.a == BASELINE and c.b in facts.trained]
    also = [c for c in primary if c not in trained and c.b in facts.trained]
    headline, lead = _headline(facts, trained)
    shared = _shared_caveats([*trained, *also])
    return Opening(
        headline=headline,
        lead=lead,
        cards=tuple(card(facts, c, sentence, said=shared) for c in trained),
        also=tuple(card(facts, c, sentence, said=shared) for c in also),
        cautions=tuple(_cautions(facts, trained)),
        caveats=shared,
    )


def _shared_caveats(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """What weakens each of two comparisons or more, in the order of the first."""
    if len(comparisons) < 2:
        return ()
    first, *others = comparisons
    return tuple(caveat for caveat in first.caveats if all(caveat in c.caveats for c in others))


def _headline(facts: Facts, comparisons: Sequence[Comparison]) -> tuple[str, str]:
    """What became of the untuned model's figure; then where a baseline without a model stands."""
    verdicts = {comparison.verdict for comparison in comparisons}
    if not comparisons:
        return "Nothing was compared yet.", "This run holds no comparison with the untuned model."
    better = [c.b for c in comparisons if c.verdict is Verdict.BETTER]
    worse = [c.b for c in comparisons if c.verdict is Verdict.WORSE]
    metric = comparisons[0].metric
    test = f"{figures.integer(comparisons[0].n)} test examples, scored by “{metric}”"
    short = _shortfall(facts, comparisons) if better else ""
    apart = _apart(facts, _best(comparisons)) if better else ""
    if better and worse:
        headline = f"Mixed: {_list(better)} got better, {_list(worse)} got worse"
        headline += f"; {short}." if short else "."
    elif apart:
        who = "" if len(better) == len(comparisons) else f"{_list(better)}: "
        headline = f"{who}Better by {metric}, but {apart}" + (f"; {short}." if short else ".")
    elif short and len(better) == len(comparisons):
        headline = f"Better than the untuned model, but {short}."
    elif short:
        headline = (
            f"{_list(better)} {'is' if len(better) == 1 else 'are'} better than the untuned model,"
            f" but {short}."
        )
    elif len(better) == len(comparisons):
        headline = "Yes, it got better."
    elif better:
        headline = f"Yes: {_list(better)} got better."
    elif len(worse) == len(comparisons):
        headline = "No, it got worse."
    elif worse:
        headline = f"No: {_list(worse)} got worse."
    elif verdicts == {Verdict.EQUIVALENT}:
        headline = "It stayed the same."
    else:
        headline = f"There is no evidence that it got better: {_unseen(facts, comparisons)}."
    return headline, f"The untuned model and each tuned one answered the same {test}."


def _apart(facts: Facts, best: Comparison) -> str:
    """What the share of exactly right answers says against a better score; "": nothing.

    The other scores' say stands in the caveats; this one decides whether there is a yes at all.
    """
    if best.metric in facts.shares:  # it is itself a share of right answers
        return ""
    for c in facts.comparisons:
        if (c.a, c.b, c.metric, c.slice) != (best.a, best.b, EXACT, ALL):
            continue
        if c.verdict is Verdict.BETTER:
            return ""
        said = "worse" if c.verdict is Verdict.WORSE else "not shown to be"
        return (
            f"{said} by exact match ({figures.score(c.value_b, True)} of {c.b}'s answers are"
            " exactly right)"
        )
    return ""


def _best(comparisons: Sequence[Comparison]) -> Comparison:
    """The tuned model that did best against the untuned one."""
    better = [c for c in comparisons if c.verdict is Verdict.BETTER]
    if better:  # all against one baseline: the largest difference, whichever way is up
        return max(better, key=lambda c: abs(c.difference))
    return max(comparisons, key=lambda c: c.value_b)


def _unmodelled(facts: Facts, tuned: str) -> list[Comparison]:
    """The primary comparisons of a tuned model with baselines that need no model."""
    return [
        c
        for c in facts.comparisons
        if c.primary and c.slice == ALL and c.b == tuned and c.a in facts.cheap
    ]


def _shortfall(facts: Facts, trained: Sequence[Comparison]) -> str:
    """What the best tuned model does not show against baselines without a model; "": nothing."""
    best = _best(trained)
    against = _unmodelled(facts, best.b)
    who = "it" if len(trained) == 1 else best.b
    parts = []
    for verdict, words in (
        (Verdict.WORSE, f"{who} is worse than"),
        (Verdict.EQUIVALENT, f"{who} is no better than"),
        (Verdict.NO_EVIDENCE, f"there is no evidence that {who} beats"),
    ):
        names = [c.a for c in against if c.verdict is verdict]
        if names:
            parts.append(f"{words} {_list(names, 'or')}")
    return ", and ".join(parts)


def _unseen(facts: Facts, comparisons: Sequence[Comparison]) -> str:
    """The smallest difference that any of the comparisons without evidence could have shown."""
    sizes = [c.detectable for c in comparisons if c.detectable is not None]
    if not sizes:
        return "so few examples could not have shown any difference"
    size = figures.difference(min(sizes), comparisons[0].metric in facts.shares).lstrip("+")
    return f"the smallest difference this test set could have shown is {size}"


def _list(names: Sequence[str], joined: str = "and") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {joined} {names[-1]}"


def card(
    facts: Facts, comparison: Comparison, sentence: Sentence, *, said: Sequence[str] = ()
) -> Card:
    """One comparison with its figures; where nothing is shown, what it would have taken.

    `said`: caveats that stand elsewhere, once for all cards.
    """
    share = comparison.metric in facts.shares
    sign, word = WORDS[comparison.verdict]
    told = [
        ("Difference", figures.difference(comparison.difference, share)),
        (f"{facts.level} interval", figures.difference_interval(*comparison.ci, share)),
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
        caveats=tuple(caveat for caveat in comparison.caveats if caveat not in said),
    )


def _percent(part: float) -> float:
    return 0.0 if math.isnan(part) else round(100 * min(1.0, max(0.0, part)), 2)


def _cautions(facts: Facts, trained: Sequence[Comparison]) -> list[str]:
    """What a reader must know before believing the headline.

    The best tuned model, and each other that is better than the untuned one, is held against every
    baseline that needs no model: what the test does not show is said with what it could have shown.
    """
    cautions = []
    failed = [check.metric for check in facts.gold_checks if not check.passed]
    if failed:
        cautions.append(
            f"The scorer {_list(failed)} does not judge the gold answers themselves as right: "
            "mend the scorer or the data before trusting these figures."
        )
    if not trained:
        return cautions
    best = _best(trained)
    for tuned in (best, *(c for c in trained if c is not best and c.verdict is Verdict.BETTER)):
        cautions += [
            _not_beaten(facts, c)
            for c in _unmodelled(facts, tuned.b)
            if c.verdict is not Verdict.BETTER
        ]
    return cautions


def _not_beaten(facts: Facts, c: Comparison) -> str:
    """A baseline without a model that a tuned model was not shown to beat."""
    share = c.metric in facts.shares
    values = (
        f"{c.metric} {figures.score(c.value_b, share)} against {figures.score(c.value_a, share)}"
    )
    if c.verdict is Verdict.WORSE:
        return f"{c.b} is worse than {c.a}, which needs no model: {values}."
    if c.verdict is Verdict.EQUIVALENT:
        return (
            f"{c.b} is no better than {c.a}, which needs no model, within the margin that matters:"
            f" {values}."
        )
    return (
        f"There is no evidence that {c.b} beats {c.a}, which needs no model: {values};"
        f" {_unseen(facts, [c])}."
    )


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
        unit="percentage points" if share else "difference of scores, on a scale of 0 to 1",
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
