"""Two systems on the same examples: tests and effect sizes.

- McNemar, Q. (1947), Psychometrika 12:153-157, in its exact conditional form; mid-p after
  Fagerland, Lydersen and Laake (2013), BMC Medical Research Methodology 13:91.
- The odds ratio's interval turns Clopper and Pearson's (1934) limits of the share of changes.
- Sign-flip permutation: Fisher (1935), sect. 21; p = (1 + hits) / (1 + replicates) after
  Phipson and Smyth (2010), doi:10.2202/1544-6115.1585.
- d_z: Cohen (1988), Statistical Power Analysis, sect. 2.3.5: mean / standard deviation of the
  differences.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tunesmith.errors import EvaluationError
from tunesmith.records import Interval
from tunesmith.stats.arrays import NEAR, Numbers, all_equal, blocks, differences, paired
from tunesmith.stats.intervals import check_confidence

ENUMERATED = 12  # differences up to which all 2^k sign patterns are counted
SPREADS = 500  # standard deviations that the noncentral t is averaged over
SLACK = 1e-9  # sums closer than this share of all they could be are equal but for rounding


@dataclass(frozen=True, slots=True)
class McNemar:
    """The paired table of two binary scores, and what it says of b against a.

    `odds_ratio` is only_b / only_a; where either is 0, (only_b + 1/2) / (only_a + 1/2), which is
    finite and above 0 (Haldane 1956, Annals of Human Genetics 20:309-311), and `corrected` is true.
    Its interval may reach infinity.
    """

    both: int
    only_a: int
    only_b: int
    neither: int
    p: float
    p_mid: float
    odds_ratio: float
    odds_ratio_ci: Interval
    corrected: bool

    @property
    def n(self) -> int:
        """Examples in the table."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def discordant(self) -> int:
        """Examples on which the two differ."""
        return self.only_a + self.only_b

    @property
    def risk_difference(self) -> float:
        """Share right by b less share right by a."""
        return (self.only_b - self.only_a) / self.n


def mcnemar(a: Numbers, b: Numbers, confidence: float = 0.95) -> McNemar:
    """Exact McNemar test of two binary scores on the same examples (each 0 or 1, shape (n,))."""
    left, right = paired(a, b)
    for name, side in (("a", left), ("b", right)):
        if not np.isin(side, (0.0, 1.0)).all():
            raise EvaluationError(f"the scores of {name} are not all 0 or 1")
    x, y = left.astype(bool), right.astype(bool)
    return mcnemar_table(
        int(np.sum(x & y)),
        int(np.sum(x & ~y)),
        int(np.sum(~x & y)),
        int(np.sum(~x & ~y)),
        confidence=confidence,
    )


def mcnemar_table(
    both: int, only_a: int, only_b: int, neither: int, *, confidence: float = 0.95
) -> McNemar:
    """The same from the four counts; without a discordant pair p is 1.

    EvaluationError for a negative count or an empty table.
    """
    from scipy.special import bdtr

    if min(both, only_a, only_b, neither) < 0 or both + only_a + only_b + neither < 1:
        raise EvaluationError("a paired table needs at least one example and no negative count")
    changed, fewer = only_a + only_b, min(only_a, only_b)
    p = min(1.0, 2 * float(bdtr(fewer, changed, 0.5))) if changed else 1.0
    point = math.exp(_log_choose(changed, fewer) - changed * math.log(2)) if changed else 0.0
    p_mid = min(1.0, 2 * (float(bdtr(fewer, changed, 0.5)) - point / 2)) if changed else 1.0
    if only_a == only_b:
        p_mid = 1.0
    corrected = fewer == 0
    ratio = (only_b + 0.5) / (only_a + 0.5) if corrected else only_b / only_a
    ci = _odds_interval(only_a, only_b, check_confidence(confidence))
    return McNemar(both, only_a, only_b, neither, p, p_mid, ratio, ci, corrected)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _odds_interval(only_a: int, only_b: int, confidence: float) -> Interval:
    """Clopper-Pearson limits of only_b / (only_a + only_b), as odds."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = float(betaincinv(only_b, only_a + 1, tail)) if only_b else 0.0
    high = float(betaincinv(only_b + 1, only_a, 1 - tail)) if only_a else 1.0
    return low / (1 - low), high / (1 - high) if high < 1 else math.inf


@dataclass(frozen=True, slots=True)
class PairedT:
    """Student's paired t test: statistic, degrees of freedom, two-sided p, interval of the mean."""

    t: float
    df: int
    p: float
    ci: Interval


def paired_t(a: Numbers, b: Numbers, confidence: float = 0.95) -> PairedT:
    """t test of mean(b - a) = 0; EvaluationError below two examples or without any spread."""
    from scipy.special import stdtr, stdtrit

    d = differences(a, b)
    if d.size < 2 or all_equal(d):
        raise EvaluationError(
            "a paired t test needs two examples or more, and differences that are not all equal",
            hint="use the permutation test, which needs neither",
        )
    check_confidence(confidence)
    df = d.size - 1
    error = float(np.std(d, ddof=1)) / math.sqrt(d.size)
    t = float(d.mean()) / error
    half = float(stdtrit(df, 0.5 + confidence / 2)) * error
    return PairedT(
        t, df, 2 * float(stdtr(df, -abs(t))), (float(d.mean()) - half, float(d.mean()) + half)
    )


def permutation(
    a: Numbers,
    b: Numbers,
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> float:
    """Two-sided p of mean(b - a) = 0 by flipping the sign of each difference.

    Exact up to 12 differences that are not zero (zeros flip to themselves); beyond that from
    `replicates` random flips, never below 1 / (1 + replicates). Without a difference p is 1.
    """
    d = differences(a, b)
    d = d[d != 0]
    if d.size == 0:
        return 1.0
    limit = abs(float(d.sum())) - SLACK * float(np.abs(d).sum())
    if d.size <= ENUMERATED:
        patterns = np.arange(2**d.size)[:, None] >> np.arange(d.size) & 1
        return float(np.mean(np.abs((1 - 2 * patterns) @ d) >= limit))
    if replicates < 1:
        raise EvaluationError(f"{replicates} permutations: at least one is needed")
    rng = np.random.default_rng(seed)
    # Eight differences at a time: a random byte picks which of them flip, a table has their sum.
    padded = np.pad(d, (0, -d.size % 8)).reshape(-1, 8)
    patterns = np.arange(256)[:, None] >> np.arange(8) & 1
    sums = (padded @ patterns.T).ravel()  # (bytes * 256,)
    place = 256 * np.arange(len(padded))
    hits = 0
    for block in blocks(replicates, len(padded)):
        picked = rng.integers(0, 256, (block.stop - block.start, len(padded)), dtype=np.uint8)
        for rows in blocks(len(picked), len(padded), NEAR):
            flipped = sums.take(picked[rows] + place).sum(axis=1)
            hits += int(np.sum(np.abs(d.sum() - 2 * flipped) >= limit))
    return (1 + hits) / (1 + replicates)


def cohen_dz(a: Numbers, b: Numbers) -> float:
    """mean(b - a) / sd(b - a); EvaluationError where the differences have no spread."""
    d = differences(a, b)
    if d.size < 2 or all_equal(d):
        raise EvaluationError("Cohen's d_z needs differences that are not all equal")
    return float(d.mean()) / float(np.std(d, ddof=1))


def dz_interval(d_z: float, n: int, confidence: float = 0.95) -> Interval:
    """Interval of Cohen's d_z from n >= 2 pairs, by the noncentral t distribution.

    The noncentralities at which the t that was seen lies at either tail, over the root of n
    (Steiger and Fouladi 1997, in Harlow et al., *What if there were no significance tests?*).
    scipy's own inverse (1.17) does not come back from some large t.
    """
    from scipy.special import gammaincinv, ndtr

    if n < 2 or not math.isfinite(d_z):
        raise EvaluationError(f"d_z {d_z} from {n} pairs has no interval")
    tail, root = (1 - check_confidence(confidence)) / 2, math.sqrt(n)
    shares = (np.arange(SPREADS) + 0.5) / SPREADS
    t = d_z * root * np.sqrt(gammaincinv((n - 1) / 2, shares) * 2 / (n - 1))
    reach = 10 + 4 * float(np.abs(t).max())

    def limit(below: float) -> float:
        low, high = -reach, reach
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if np.mean(ndtr(t - middle)) > below else (low, middle)
        return high / root

    return limit(1 - tail), limit(tail)
