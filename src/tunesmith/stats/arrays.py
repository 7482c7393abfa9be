"""What every statistic asks of its input: numbers that are there, finite and paired."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import EvaluationError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Numbers = Sequence[float] | Sequence[bool] | Floats | Bools

BLOCK = 4_000_000  # numbers held at once by whatever resamples: 32 MB
NEAR = 32_000  # numbers that stay in a core's own cache
ROUNDING = 1e-12  # values closer than this share of the largest are equal but for rounding


def finite(values: Numbers, what: str = "values") -> Floats:
    """`values` as float64, shape (n,); EvaluationError if there are none, or one is not finite."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise EvaluationError(
            f"no {what}: a statistic needs at least one, in one row (shape {array.shape})",
            hint="check that the answers were scored and that the slice is not empty",
        )
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise EvaluationError(
            f"{what}: number {bad[0] + 1} of {array.size} is {array[bad[0]]}"
            f" ({bad.size} are not finite)",
            hint="a scorer must give a finite number for every answer",
        )
    return array


def paired(a: Numbers, b: Numbers) -> tuple[Floats, Floats]:
    """Both sides as float64 of one length; EvaluationError where they do not pair."""
    left, right = finite(a, "values of a"), finite(b, "values of b")
    if left.size != right.size:
        raise EvaluationError(
            f"a has {left.size} values and b has {right.size}: they do not pair",
            hint="compare on the same examples",
        )
    return left, right


def differences(a: Numbers, b: Numbers) -> Floats:
    """b - a, shape (n,); what is left of equal values by rounding becomes 0."""
    left, right = paired(a, b)
    found: Floats = right - left
    found[np.abs(found) <= ROUNDING * np.maximum(np.abs(left), np.abs(right))] = 0.0
    return found


def all_equal(values: Floats) -> bool:
    """Whether the values, shape (n,), n >= 1, differ by rounding at most."""
    return bool(np.ptp(values) <= ROUNDING * float(np.abs(values).max()))


def blocks(total: int, width: int, most: int = BLOCK) -> Iterator[slice]:
    """`total` rows of `width` numbers in slices that each hold `most` numbers or one row."""
    rows = max(1, most // max(1, width))
    for start in range(0, total, rows):
        yield slice(start, min(total, start + rows))
