"""Corrections against statsmodels and R's documentation of p.adjust."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from tunesmith.errors import EvaluationError
from tunesmith.stats.multiple import benjamini_hochberg, holm

families = st.lists(
    st.sampled_from([0.0, 1e-12, 0.001, 0.01, 0.02, 0.05, 0.5, 1.0]) | st.floats(0, 1),
    min_size=1,
    max_size=25,
)


@settings(deadline=None, max_examples=50)
@given(families)
def test_both_are_statsmodels_own(ps: list[float]) -> None:
    assert holm(ps) == pytest.approx(multipletests(ps, method="holm")[1].tolist())
    assert benjamini_hochberg(ps) == pytest.approx(multipletests(ps, method="fdr_bh")[1].tolist())


@given(families)
def test_holm_keeps_order_and_lies_between_p_and_bonferroni(ps: list[float]) -> None:
    adjusted = holm(ps)
    for p, q in zip(ps, adjusted, strict=True):
        assert p <= q <= min(1.0, p * len(ps)) + 1e-12
    ranked = sorted(zip(ps, adjusted, strict=True))
    assert [q for _, q in ranked] == sorted(adjusted)


def test_rs_worked_figures() -> None:
    """R 4.3: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm") and "BH"."""
    ps = [0.01, 0.02, 0.03, 0.04, 0.05]
    assert holm(ps) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert benjamini_hochberg(ps) == pytest.approx([0.05] * 5)


def test_an_empty_family_and_a_wrong_p() -> None:
    assert holm([]) == []
    assert benjamini_hochberg([]) == []
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(EvaluationError, match="between 0 and 1"):
            holm([0.5, wrong])
