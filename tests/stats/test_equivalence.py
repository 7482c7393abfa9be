"""Equivalence against statsmodels' two one-sided tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.weightstats import ttost_paired

from tunesmith.errors import EvaluationError
from tunesmith.stats.equivalence import equivalence_confidence, within
from tunesmith.stats.paired import paired_t


@given(st.integers(0, 10_000), st.sampled_from([0.01, 0.05, 0.1]), st.floats(0.02, 1.0))
def test_the_interval_decides_as_two_one_sided_tests(
    seed: int, alpha: float, margin: float
) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=25), rng.normal(0.1, 1, size=25)
    p = ttost_paired(b, a, -margin, margin)[0]
    ci = paired_t(a, b, equivalence_confidence(alpha)).ci
    assert within(ci, margin) == (p < alpha)


def test_the_edge_is_outside() -> None:
    assert not within((-0.1, 0.05), 0.1)
    assert within((-0.0999, 0.05), 0.1)


def test_margins_and_levels_out_of_range_are_refused() -> None:
    for margin in (0.0, -1.0, math.nan):
        with pytest.raises(EvaluationError, match="margin"):
            within((0.0, 0.1), margin)
    for alpha in (0.0, 0.5, math.nan):
        with pytest.raises(EvaluationError, match="alpha"):
            equivalence_confidence(alpha)
