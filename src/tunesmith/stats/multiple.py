"""Many tests at once.

- Holm, S. (1979), Scandinavian Journal of Statistics 6:65-70: holds the chance of any false claim
  in a family, whatever the dependence between its tests.
- Benjamini, Y. and Hochberg, Y. (1995), JRSS B 57:289-300: holds the expected share of false
  claims among those made, which is less than a verdict asks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tunesmith.errors import EvaluationError
from tunesmith.stats.arrays import Floats


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given; an empty family stays empty."""
    values = _checked(ps)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(values.size, 0, -1)
    return _back(np.minimum(1.0, np.maximum.accumulate(steps)), order)


def benjamini_hochberg(ps: Sequence[float]) -> list[float]:
    """Benjamini-Hochberg's adjusted p values, in the order given."""
    values = _checked(ps)
    order = np.argsort(values, kind="stable")
    steps = values[order] * values.size / np.arange(1, values.size + 1)
    return _back(np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1]), order)


def _back(adjusted: Floats, order: np.ndarray) -> list[float]:
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return [float(p) for p in result]


def _checked(ps: Sequence[float]) -> Floats:
    values = np.asarray(ps, dtype=np.float64)
    if not np.all((values >= 0) & (values <= 1)):  # NaN is neither
        raise EvaluationError(f"p values must lie between 0 and 1: {list(ps)}")
    return values
