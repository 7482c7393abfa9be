"""One pair of variants on one metric: the difference, its interval, its test, its effect.

    every score 0 or 1     exact McNemar test, Newcombe's paired interval, odds ratio
    other scores           sign-flip permutation test, BCa interval of the mean, Cohen's d_z
    macro and weighted F1  test by exchanging answers, BCa interval from resampled cell counts

Where nothing differs at all, the interval still says how much may have gone unseen: with 95 %
confidence at most a share 1 - 0.05^(1/n) of all examples would have shown a difference. Where five
examples or fewer differ, it is no narrower than their share's own limit allows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tunesmith.compare.facts import CORPUS, CompareSettings
from tunesmith.compare.sheets import Board, shared
from tunesmith.records import Interval
from tunesmith.stats import intervals
from tunesmith.stats.arrays import Floats, Ints, all_equal, differences, finite
from tunesmith.stats.classification import AVERAGES, Cells, bootstrap_difference, cells, swap_test
from tunesmith.stats.equivalence import equivalence_confidence
from tunesmith.stats.paired import McNemar, cohen_dz, mcnemar, permutation
from tunesmith.stats.power import detectable_binary, detectable_mean, needed_binary, needed_mean

DIFFERENCES: Interval = (-1.0, 1.0)  # of two scores in [0, 1]


@dataclass(frozen=True, slots=True)
class Spread:
    """What the power of the test follows from: the discordant share, or a standard deviation.

    `sd` is of one example's part in the difference; `seen` is False where nothing differed and
    the figure is the largest that the n examples leave possible. A test that permutes cannot give a
    p below 2 / 2^n, so a level under that is out of reach.
    """

    rate: float | None = None
    sd: float = 0.0
    seen: bool = True

    def detectable(self, n: int, alpha: float, power: float) -> float | None:
        """Smallest difference that n examples show at this alpha; None where none up to 1 is."""
        if self.rate is not None:
            return detectable_binary(n, self.rate, alpha, power)
        if 2.0 ** (1 - n) > alpha:
            return None
        found = detectable_mean(n, self.sd, alpha, power)
        return found if found is not None and found <= 1 else None

    def needed(self, difference: float, alpha: float, power: float) -> int | None:
        """Examples that would settle this difference; None where none was seen."""
        if difference == 0 or not self.seen:
            return None
        if self.rate is not None:
            return needed_binary(abs(difference), self.rate, alpha, power)
        return needed_mean(abs(difference), self.sd, alpha, power)


@dataclass(frozen=True, slots=True)
class Measured:
    """A pair on one metric before it is judged; `narrow` is the interval that equivalence asks."""

    n: int
    value_a: float
    value_b: float
    difference: float
    ci: Interval
    narrow: Interval
    test: str
    p: float
    effect: float
    effect_name: str
    spread: Spread
    discordant: tuple[int, int] | None = None


def measure(
    board: Board,
    pair: tuple[str, str],
    metric: str,
    part: str,
    settings: CompareSettings,
    *,
    permutations: int | None = None,
) -> Measured:
    """Variant pair[1] against pair[0] on the rows of a slice that both answered and that have the
    metric."""
    a, b = (board.sheets[name] for name in pair)
    rows = shared(board, a.name, b.name, part, metric)
    if metric in CORPUS:
        table = cells(board.gold[rows], a.labels[rows], b.labels[rows], len(board.labels))
        return measure_corpus(table, metric, settings, permutations=permutations)
    return measure_scores(
        a.scores[metric][rows], b.scores[metric][rows], settings, permutations=permutations
    )


def measure_scores(
    a: Floats, b: Floats, settings: CompareSettings, *, permutations: int | None = None
) -> Measured:
    """Per-example scores in [0, 1] of two systems on the same n >= 1 examples, each (n,)."""
    a, b = finite(a, "scores of a"), finite(b, "scores of b")
    if np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all():
        return _binary(mcnemar(a, b, settings.confidence), settings)
    return _real(a, b, settings, settings.replicates if permutations is None else permutations)


def _binary(table: McNemar, settings: CompareSettings) -> Measured:
    counts = (table.both, table.only_a, table.only_b, table.neither)
    changed = table.discordant > 0
    n = table.n
    return Measured(
        n=n,
        value_a=(table.both + table.only_a) / n,
        value_b=(table.both + table.only_b) / n,
        difference=table.risk_difference,
        ci=intervals.newcombe_paired(*counts, settings.confidence),
        narrow=intervals.newcombe_paired(*counts, equivalence_confidence(settings.alpha)),
        test="exact McNemar",
        p=table.p,
        # Where no answer changed the odds ratio says nothing; the risk difference is 0.
        effect=table.odds_ratio if changed else table.risk_difference,
        effect_name=_odds_name(table) if changed else "risk difference",
        spread=Spread(rate=table.discordant / n, seen=changed),
        discordant=(table.only_a, table.only_b),
    )


def _odds_name(table: McNemar) -> str:
    return "odds ratio (0.5 added)" if table.corrected else "odds ratio"


def _real(a: Floats, b: Floats, settings: CompareSettings, permutations: int) -> Measured:
    d = differences(a, b)
    n, difference = d.size, float(d.mean())
    p = permutation(a, b, replicates=permutations, seed=settings.seed)
    ci, narrow = intervals.mean_intervals(
        d,
        (settings.confidence, equivalence_confidence(settings.alpha)),
        bounds=DIFFERENCES,
        replicates=settings.replicates,
        seed=settings.seed,
    )
    if all_equal(d):
        spread = Spread(sd=math.sqrt(intervals.unseen_share(n)), seen=False)
        effect, name = difference, "mean difference"
    else:
        spread = Spread(sd=float(np.std(d, ddof=1)))
        effect, name = cohen_dz(a, b), "Cohen's d_z"
    return Measured(
        n=n,
        value_a=float(a.mean()),
        value_b=float(b.mean()),
        difference=difference,
        ci=ci,
        narrow=narrow,
        test="sign-flip permutation",
        p=p,
        effect=effect,
        effect_name=name,
        spread=spread,
    )


def corpus_reach(gold_counts: Floats, metric: str, share: float) -> float:
    """How far an F1 can move when this share of the examples gets another answer; at most 1.

    One changed answer moves the F1 of two classes, each by at most 2 / (its gold rows): macro F1
    by at most 4 / (classes x rows of the rarest class), weighted F1 by at most 4 / rows.
    """
    present = gold_counts[gold_counts > 0]
    n = float(present.sum())
    each = 4 / n if metric == "weighted_f1" else 4 / (present.size * float(present.min()))
    return min(1.0, share * n * each)


def measure_corpus(
    table: Cells, metric: str, settings: CompareSettings, *, permutations: int | None = None
) -> Measured:
    """Macro or weighted F1 of two systems from the counts of (gold, a, b)."""
    average = AVERAGES[metric]
    seed, n = settings.seed, table.n
    forward = bootstrap_difference(table, average, replicates=settings.replicates, seed=seed)
    gold = _totals(table.gold, table.counts, table.labels)
    levels = (settings.confidence, equivalence_confidence(settings.alpha))
    ci, narrow = (_corpus_interval(forward, gold, metric, table.changed, level) for level in levels)
    if forward.error > 0:
        spread = Spread(sd=forward.error * math.sqrt(n))
    else:
        unseen = intervals.unseen_share(n)
        spread = Spread(sd=corpus_reach(gold, metric, 1.0) * math.sqrt(unseen), seen=False)
    value_a, value_b = (corpus_score(table, metric, side) for side in (0, 1))
    return Measured(
        n=n,
        value_a=value_a,
        value_b=value_b,
        difference=value_b - value_a,
        ci=ci,
        narrow=narrow,
        test="permutation (answers exchanged)",
        p=swap_test(
            table,
            average,
            replicates=settings.replicates if permutations is None else permutations,
            seed=seed,
        ),
        effect=value_b - value_a,
        effect_name="difference",
        spread=spread,
    )


def _corpus_interval(
    forward: intervals.Bootstrap, gold: Floats, metric: str, changed: int, level: float
) -> Interval:
    """BCa; no narrower than the share of changed answers allows where few or none changed."""
    n = int(gold.sum())
    low = high = forward.observed
    if forward.error > 0:
        low, high = forward.interval(level)
    if not intervals.few(changed, n):
        return low, high
    reach = corpus_reach(gold, metric, intervals.unseen_share(n, level, changed))
    return (
        max(-1.0, min(low, forward.observed - reach)),
        min(1.0, max(high, forward.observed + reach)),
    )


def corpus_score(table: Cells, metric: str, side: int) -> float:
    """The F1 of side a (0) or b (1)."""
    given = table.b if side else table.a
    right = given == table.gold
    hits = _totals(given[right], table.counts[right], table.labels)
    answered = _totals(given, table.counts, table.labels)
    asked = _totals(table.gold, table.counts, table.labels)
    return float(AVERAGES[metric](hits[None], answered[None], asked[None])[0])


def _totals(codes: Ints, counts: Ints, labels: int) -> Floats:
    """Examples per class, shape (K,); what could not be read is of no class."""
    totals: Floats = np.zeros(labels + 1)
    np.add.at(totals, codes, counts)
    return totals[:labels]
