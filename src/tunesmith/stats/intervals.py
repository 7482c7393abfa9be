"""Confidence intervals: one proportion, a paired difference of proportions, any statistic.

- Wilson, E. B. (1927), JASA 22:209-212, doi:10.1080/01621459.1927.10502953.
- Newcombe, R. G. (1998), Statistics in Medicine 17:2635-2650, method 10: Wilson limits of the two
  margins, put together by square-and-add with a correlation that is corrected for continuity.
- Efron, B. (1987), JASA 82:171-185: the bias-corrected and accelerated bootstrap (BCa).

A bootstrap of values that are all equal has no spread, and would call itself certain. There the
interval comes from the exact binomial instead: with confidence 1 - alpha at most a share
1 - alpha^(1/n) of what was not seen differs from what was, and it may differ up to the bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tunesmith.errors import EvaluationError
from tunesmith.records import Interval
from tunesmith.stats.arrays import Floats, Ints, finite

BLOCK = 4_000_000  # indices drawn at once: 32 MB


@lru_cache(maxsize=256)
def normal_quantile(p: float) -> float:
    """z with P(Z <= z) = p."""
    from scipy.special import ndtri

    return float(ndtri(p))


def check_confidence(confidence: float) -> float:
    """The level itself; EvaluationError unless 0 < confidence < 1."""
    if not 0 < confidence < 1:
        raise EvaluationError(f"confidence is {confidence}: it must lie between 0 and 1")
    return confidence


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927), within [0, 1]; n >= 1, 0 <= successes <= n."""
    if n < 1 or not 0 <= successes <= n:
        raise EvaluationError(
            f"{successes} of {n} is not a proportion", hint="there must be at least one example"
        )
    z = normal_quantile(0.5 + check_confidence(confidence) / 2)
    p = successes / n
    scale = 1 + z * z / n
    middle = (p + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == n else min(1.0, middle + half)
    return low, high


def newcombe_paired(
    both: int, only_a: int, only_b: int, neither: int, confidence: float = 0.95
) -> Interval:
    """Interval of p_b - p_a from the four counts of a paired table (Newcombe 1998, method 10)."""
    counts = (both, only_a, only_b, neither)
    n = sum(counts)
    if n < 1 or min(counts) < 0:
        raise EvaluationError(f"{counts} is not a paired table with at least one example")
    right_a, right_b = both + only_a, both + only_b
    p_a, p_b = right_a / n, right_b / n
    low_a, high_a = wilson(right_a, n, confidence)
    low_b, high_b = wilson(right_b, n, confidence)
    margins = right_a * (n - right_a) * right_b * (n - right_b)
    cross = both * neither - only_a * only_b
    # The continuity correction never turns a positive correlation over.
    corrected = max(cross - n / 2, 0.0) if cross > 0 else float(cross)
    phi = corrected / math.sqrt(margins) if margins else 0.0
    difference = p_b - p_a
    down_b, up_b = p_b - low_b, high_b - p_b
    down_a, up_a = p_a - low_a, high_a - p_a
    low = difference - math.sqrt(max(0.0, down_b**2 - 2 * phi * down_b * up_a + up_a**2))
    high = difference + math.sqrt(max(0.0, up_b**2 - 2 * phi * up_b * down_a + down_a**2))
    return max(-1.0, low), min(1.0, high)


def unseen_share(n: int, confidence: float = 0.95) -> float:
    """Largest share of cases that can differ where n of n were alike: 1 - (1-confidence)^(1/n)."""
    if n < 1:
        raise EvaluationError("no examples: nothing can be said of what was not seen")
    return -math.expm1(math.log(1 - check_confidence(confidence)) / n)


def constant_interval(
    value: float, n: int, *, bounds: Interval, confidence: float = 0.95
) -> Interval:
    """Interval of a mean within `bounds` where all n values are equal (Clopper-Pearson)."""
    low, high = bounds
    if not low <= value <= high:
        raise EvaluationError(f"{value} lies outside its bounds {low} to {high}")
    share = unseen_share(n, confidence)
    return value - share * (value - low), value + share * (high - value)


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A statistic, its replicates (shape (B,)), and the acceleration of its jackknife."""

    observed: float
    replicates: Floats
    acceleration: float

    @property
    def error(self) -> float:
        """Standard error; 0.0 where no replicate differs."""
        return float(np.std(self.replicates, ddof=1)) if np.ptp(self.replicates) > 0 else 0.0

    def interval(self, confidence: float = 0.95) -> Interval:
        """BCa limits (Efron 1987, eq. 6.8); EvaluationError where no replicate differs."""
        from scipy.special import ndtr

        check_confidence(confidence)
        if np.ptp(self.replicates) == 0:
            raise EvaluationError(
                "every bootstrap replicate is the same: there is no spread to make an interval of",
                hint="all values are equal; use more varied examples",
            )
        ties = np.mean(self.replicates < self.observed) + np.mean(self.replicates <= self.observed)
        edge = 0.5 / self.replicates.size  # a bias beyond every replicate is kept finite
        bias = normal_quantile(float(np.clip(ties / 2, edge, 1 - edge)))
        levels = []
        for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
            shifted = bias + normal_quantile(tail)
            levels.append(float(ndtr(bias + shifted / (1 - self.acceleration * shifted))))
        low, high = np.quantile(self.replicates, levels)
        return float(low), float(high)


def acceleration(jackknife: Floats, weights: Ints | None = None) -> float:
    """Efron's a from the leave-one-out values; `weights`: how often each of them occurs."""
    times = np.ones(jackknife.size) if weights is None else weights.astype(np.float64)
    spread = np.average(jackknife, weights=times) - jackknife
    square = float(np.sum(times * spread**2))
    return float(np.sum(times * spread**3)) / (6 * square**1.5) if square > 0 else 0.0


def bootstrap(
    statistic: Callable[[Ints], float], n: int, *, replicates: int = 2000, seed: int = 0
) -> Bootstrap:
    """Resample n rows; `statistic` takes row indices (shape (n,) or (n-1,)) and gives a float."""
    _check(n, replicates)
    rng = np.random.default_rng(seed)
    rows = np.arange(n, dtype=np.int64)
    values = [statistic(rng.integers(0, n, n)) for _ in range(replicates)]
    left_out = [statistic(np.delete(rows, i)) for i in range(n)]
    return Bootstrap(
        float(statistic(rows)),
        finite(values, "bootstrap replicates"),
        acceleration(finite(left_out, "jackknife values")),
    )


@lru_cache(maxsize=4)
def _times_drawn(n: int, replicates: int, seed: int) -> Floats:
    """How often each of n rows stands in each resample, shape (B, n): the same for all metrics."""
    drawn = np.random.default_rng(seed).integers(0, n, (replicates, n), dtype=np.int64)
    drawn += n * np.arange(replicates)[:, None]
    times = np.bincount(drawn.ravel(), minlength=replicates * n).astype(np.float64)
    return times.reshape(replicates, n)


def bootstrap_mean(
    values: Sequence[float] | Floats, *, replicates: int = 2000, seed: int = 0
) -> Bootstrap:
    """The mean, resampled without a loop over replicates; the jackknife in closed form."""
    array = finite(values)
    n = array.size
    _check(n, replicates)
    rows = max(1, BLOCK // n)
    if replicates <= rows:
        means = _times_drawn(n, replicates, seed) @ array / n
    else:
        rng = np.random.default_rng(seed)
        sizes = [min(rows, replicates - start) for start in range(0, replicates, rows)]
        means = np.concatenate(
            [array[rng.integers(0, n, (k, n), dtype=np.int32)].mean(axis=1) for k in sizes]
        )
    # The i-th leave-one-out mean is (sum - x_i) / (n - 1): its spread is that of x, turned over.
    return Bootstrap(float(array.mean()), means, acceleration(-array))


def bca(
    statistic: Callable[[Ints], float],
    n: int,
    *,
    replicates: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """BCa interval of any statistic of rows; for means `mean_interval` is quicker."""
    return bootstrap(statistic, n, replicates=replicates, seed=seed).interval(confidence)


def mean_interval(
    values: Sequence[float] | Floats,
    *,
    bounds: Interval | None = None,
    replicates: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """BCa interval of a mean; where all values are equal, the exact one within `bounds`.

    EvaluationError where all are equal and no bounds are known.
    """
    array = finite(values)
    if np.ptp(array) == 0 and bounds is not None:
        return constant_interval(float(array[0]), array.size, bounds=bounds, confidence=confidence)
    return bootstrap_mean(array, replicates=replicates, seed=seed).interval(confidence)


def _check(n: int, replicates: int) -> None:
    if n < 1:
        raise EvaluationError("no examples to resample")
    if replicates < 2:
        raise EvaluationError(f"{replicates} bootstrap replicates: at least 2 are needed")
