"""Confidence intervals: one proportion, a paired difference of proportions, any statistic.

- Wilson, E. B. (1927), JASA 22:209-212, doi:10.1080/01621459.1927.10502953.
- Newcombe, R. G. (1998), Statistics in Medicine 17:2635-2650, method 10: Wilson limits of the two
  margins, put together by square-and-add with a correlation that is corrected for continuity.
- Efron, B. (1987), JASA 82:171-185: the bias-corrected and accelerated bootstrap (BCa).

A bootstrap of values that are all equal has no spread, and would call itself certain. There the
interval comes from the exact binomial instead: with confidence 1 - alpha at most a share
1 - alpha^(1/n) of what was not seen differs from what was, and it may differ up to the bounds.
Where all but a few values are equal (at most 5 and less than half of them: too few for a sign test
at 5 %), resampling the few says nothing of the tail they come from either: the interval is then
widened to the Clopper-Pearson (1934) limit of their share, which is the former rule for none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import EvaluationError
from tunesmith.records import Interval
from tunesmith.stats.arrays import NEAR, ROUNDING, Floats, Ints, all_equal, blocks, finite

KEPT = 64_000_000  # rows drawn (of two bytes) worth keeping from one metric to the next
FEW = 5  # odd values that are too few to resample: 2 / 2^5 is above 0.05


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


def unseen_share(n: int, confidence: float = 0.95, seen: int = 0) -> float:
    """Upper Clopper-Pearson limit (1934, one-sided) of a share seen `seen` times in n, n >= 1.

    For seen = 0 it is 1 - (1 - confidence)^(1/n), about 3/n at 95 %.
    """
    from scipy.special import betaincinv

    if n < 1 or not 0 <= seen <= n:
        raise EvaluationError("no examples: nothing can be said of what was not seen")
    check_confidence(confidence)
    if seen == n:
        return 1.0
    if seen == 0:
        return -math.expm1(math.log1p(-confidence) / n)
    return float(betaincinv(seen + 1, n - seen, confidence))


def odd_values(values: Floats) -> int:
    """How many of the values, shape (n,), n >= 1, are not the most frequent one."""
    scale = float(np.abs(values).max()) or 1.0
    _, counts = np.unique(np.round(values / scale, 11), return_counts=True)
    return int(values.size - counts.max())


def few(odd: int, n: int) -> bool:
    """Whether `odd` of n are too few to be resampled; see the module's docstring."""
    return odd <= FEW and 2 * odd < n


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A statistic, its replicates (shape (B,)), and the acceleration of its jackknife."""

    observed: float
    replicates: Floats
    acceleration: float

    @property
    def error(self) -> float:
        """Standard error; 0.0 where no replicate differs."""
        return 0.0 if all_equal(self.replicates) else float(np.std(self.replicates, ddof=1))

    def interval(self, confidence: float = 0.95) -> Interval:
        """BCa limits (Efron 1987, eq. 6.8); EvaluationError where no replicate differs."""
        from scipy.special import ndtr

        check_confidence(confidence)
        if all_equal(self.replicates):
            raise EvaluationError(
                "every bootstrap replicate is the same: there is no spread to make an interval of",
                hint="all values are equal; use more varied examples",
            )
        slack = ROUNDING * max(abs(self.observed), float(np.abs(self.replicates).max()))
        below = np.mean(self.replicates < self.observed - slack)
        ties = below + np.mean(self.replicates <= self.observed + slack)
        edge = 0.5 / self.replicates.size  # a bias beyond every replicate is kept finite
        bias = normal_quantile(float(np.clip(ties / 2, edge, 1 - edge)))
        levels = []
        for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
            shifted = bias + normal_quantile(tail)
            room = 1 - self.acceleration * shifted
            # Past its pole the transformation would turn back: the level stays at the end.
            reach = bias + shifted / room if room > 0 else math.copysign(math.inf, shifted)
            levels.append(float(ndtr(reach)))
        low, high = np.quantile(self.replicates, levels)
        return float(low), float(high)


def acceleration(jackknife: Floats, weights: Ints | None = None) -> float:
    """Efron's a (1987, eq. 6.6, by the jackknife) from the leave-one-out values; |a| <= 1/6.

    `weights`: how often each of them occurs; 0.0 where they are all equal.
    """
    times = np.ones(jackknife.size) if weights is None else weights.astype(np.float64)
    spread = np.average(jackknife, weights=times) - jackknife
    scale = float(np.abs(spread).max()) or 1.0  # or the cube of something tiny is nothing
    spread = spread / scale
    square = float(np.sum(times * spread**2))
    return float(np.sum(times * spread**3)) / (6 * square**1.5) if square > 0 else 0.0


def bootstrap(
    statistic: Callable[[Ints], float], n: int, *, replicates: int = 2000, seed: int = 0
) -> Bootstrap:
    """Resample n rows; `statistic` takes row indices (shape (n,) or (n-1,)) and gives a float."""
    _check(n, replicates)
    if n < 2:
        raise EvaluationError(
            "one example cannot be resampled", hint="an interval needs two examples or more"
        )
    rng = np.random.default_rng(seed)
    rows = np.arange(n, dtype=np.int64)
    values = [statistic(rng.integers(0, n, n)) for _ in range(replicates)]
    left_out = [statistic(np.delete(rows, i)) for i in range(n)]
    return Bootstrap(
        float(statistic(rows)),
        finite(values, "bootstrap replicates"),
        acceleration(finite(left_out, "jackknife values")),
    )


def _draws(n: int, replicates: int, seed: int) -> Iterator[NDArray[np.integer[Any]]]:
    """The rows of each resample, n with replacement: blocks of shape (b, n), together (B, n)."""
    rng = np.random.default_rng(seed)
    for block in blocks(replicates, n, NEAR):
        yield rng.integers(0, n, (block.stop - block.start, n), dtype=np.int32)


@lru_cache(maxsize=2)
def _kept_draws(n: int, replicates: int, seed: int) -> tuple[NDArray[np.integer[Any]], ...]:
    """The same, kept: every metric of every pair on the same rows is resampled alike."""
    return tuple(rows.astype(np.min_scalar_type(n)) for rows in _draws(n, replicates, seed))


def bootstrap_mean(
    values: Sequence[float] | Floats, *, replicates: int = 2000, seed: int = 0
) -> Bootstrap:
    """The mean, resampled without a loop over replicates; the jackknife in closed form."""
    array = finite(values)
    n = array.size
    _check(n, replicates)
    draw = _kept_draws if n * replicates <= KEPT else _draws
    drawn = draw(n, replicates, seed)
    # Memory that was not touched before costs more than the sums: one buffer serves all resamples
    # (mode "clip" writes into it; every row drawn is there, and nothing is clipped).
    room = np.empty((max(1, NEAR // n), n))
    sums = [array.take(rows, out=room[: len(rows)], mode="clip").sum(axis=1) for rows in drawn]
    means = np.concatenate(sums) / n
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
    """BCa interval of a mean; where `bounds` of the values are known, widened for few odd ones.

    EvaluationError where all are equal and no bounds are known, or a value lies outside them.
    """
    if bounds is None:
        return bootstrap_mean(values, replicates=replicates, seed=seed).interval(confidence)
    levels = (confidence,)
    return mean_intervals(values, levels, bounds=bounds, replicates=replicates, seed=seed)[0]


def mean_intervals(
    values: Sequence[float] | Floats,
    levels: Sequence[float],
    *,
    bounds: Interval,
    replicates: int = 2000,
    seed: int = 0,
) -> list[Interval]:
    """`mean_interval` at several confidence levels from one set of resamples."""
    array = finite(values)
    low, high = bounds
    if not (low <= array.min() and array.max() <= high):
        raise EvaluationError(f"a value lies outside its bounds {low} to {high}")
    n, mean, odd = array.size, float(array.mean()), odd_values(array)
    resampled = bootstrap_mean(array, replicates=replicates, seed=seed) if odd else None
    found = []
    for level in levels:
        left, right = (mean, mean) if resampled is None else resampled.interval(level)
        if few(odd, n):
            share = unseen_share(n, level, odd)
            left = min(left, mean - share * (mean - low))
            right = max(right, mean + share * (high - mean))
        found.append((left, right))
    return found


def _check(n: int, replicates: int) -> None:
    if n < 1:
        raise EvaluationError("no examples to resample")
    if replicates < 2:
        raise EvaluationError(f"{replicates} bootstrap replicates: at least 2 are needed")
