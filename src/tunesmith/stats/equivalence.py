"""Equivalence within a margin: two one-sided tests.

Schuirmann, D. J. (1987), J. Pharmacokinetics and Biopharmaceutics 15:657-680: two one-sided tests
at level alpha both reject if and only if the interval of confidence 1 - 2 alpha lies within
(-margin, margin). So any interval does, whichever statistic it is of.
"""

from __future__ import annotations

from tunesmith.errors import EvaluationError
from tunesmith.records import Interval


def equivalence_confidence(alpha: float) -> float:
    """Confidence of the interval that decides at level alpha: 1 - 2 alpha."""
    if not 0 < alpha < 0.5:
        raise EvaluationError(f"alpha is {alpha}: it must lie between 0 and 0.5")
    return 1 - 2 * alpha


def within(ci: Interval, margin: float) -> bool:
    """Whether the whole interval lies inside (-margin, margin); margin > 0."""
    if not margin > 0:
        raise EvaluationError(f"the equivalence margin is {margin}: it must be above 0")
    return -margin < ci[0] and ci[1] < margin
