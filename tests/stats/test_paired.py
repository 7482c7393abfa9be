"""Paired tests against statsmodels, scipy, brute force and a textbook."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference

from tunesmith.errors import EvaluationError
from tunesmith.stats.intervals import newcombe_paired
from tunesmith.stats.paired import cohen_dz, mcnemar, mcnemar_table, paired_t, permutation

counts = st.integers(0, 200)


@given(counts, counts)
def test_mcnemar_is_statsmodels_own(only_a: int, only_b: int) -> None:
    found = mcnemar_table(10, only_a, only_b, 5)
    expected = reference([[10, only_a], [only_b, 5]], exact=True).pvalue
    assert found.p == pytest.approx(min(1.0, expected), rel=1e-9)
    changed = only_a + only_b
    if changed:
        two_sided = stats.binomtest(only_a, changed).pvalue
        assert found.p == pytest.approx(two_sided, rel=1e-9)
        mid = two_sided - stats.binom.pmf(only_a, changed, 0.5)
        assert found.p_mid == pytest.approx(1.0 if only_a == only_b else mid, rel=1e-7, abs=1e-15)


@given(counts, counts)
def test_the_odds_ratios_interval_is_scipys(only_a: int, only_b: int) -> None:
    found = mcnemar_table(1, only_a, only_b, 0)
    assert math.isfinite(found.odds_ratio)
    assert found.odds_ratio > 0
    if only_a + only_b == 0:
        assert found.odds_ratio_ci == (0.0, math.inf)
        return
    share = stats.binomtest(only_b, only_a + only_b).proportion_ci(0.95, method="exact")
    low = share.low / (1 - share.low)
    high = math.inf if share.high == 1 else share.high / (1 - share.high)
    assert found.odds_ratio_ci == pytest.approx((low, high), rel=1e-6, abs=1e-12)
    if only_a and only_b:
        assert found.odds_ratio == only_b / only_a


def test_agrestis_approval_ratings() -> None:
    """Agresti (2002), Categorical Data Analysis, 2nd ed., sect. 10.1.1: z² = 17.36, the difference
    -0.04 with 95 % limits -0.06 and -0.02; conditional odds ratio 86 / 150 = 0.57."""
    found = mcnemar_table(794, 150, 86, 570)
    assert found.n == 1600
    assert found.risk_difference == pytest.approx(-0.04)
    assert found.odds_ratio == pytest.approx(0.57, abs=0.005)
    assert found.p == pytest.approx(stats.chi2.sf(17.36, 1), rel=0.25)
    assert newcombe_paired(794, 150, 86, 570) == pytest.approx((-0.06, -0.02), abs=0.005)


def test_mid_p_of_fagerland_and_others() -> None:
    """Fagerland, Lydersen, Laake (2013), Table 6, airway data (7 against 1): 0.070 and 0.039."""
    found = mcnemar_table(1, 1, 7, 12)
    assert found.p == pytest.approx(0.070, abs=5e-4)
    assert found.p_mid == pytest.approx(0.039, abs=5e-4)


def test_extreme_tables_stay_numbers() -> None:
    for table in (
        (0, 0, 20_000, 0),
        (0, 20_000, 0, 0),
        (5, 0, 0, 5),
        (1, 0, 0, 0),
        (0, 10_000, 10_000, 0),
    ):
        found = mcnemar_table(*table)
        figures = (found.p, found.p_mid, found.odds_ratio, found.risk_difference)
        assert all(math.isfinite(figure) for figure in figures)
        assert 0 <= found.p_mid <= found.p <= 1
        assert not any(math.isnan(end) for end in found.odds_ratio_ci)


def test_scores_become_the_table() -> None:
    a, b = [1, 1, 0, 0, 1], [1, 0, 1, 0, 0]
    found = mcnemar([bool(x) for x in a], [bool(x) for x in b])
    assert (found.both, found.only_a, found.only_b, found.neither) == (1, 2, 1, 1)
    with pytest.raises(EvaluationError, match="not all 0 or 1"):
        mcnemar([0.5, 1.0], [1.0, 1.0])
    with pytest.raises(EvaluationError, match="at least one example"):
        mcnemar_table(0, 0, 0, 0)


def test_paired_t_is_scipys() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=37), rng.normal(0.3, 2, size=37)
    expected = stats.ttest_rel(b, a)
    found = paired_t(a, b)
    assert (found.t, found.p, found.df) == pytest.approx((expected.statistic, expected.pvalue, 36))
    assert found.ci == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert cohen_dz(a, b) == pytest.approx(expected.statistic / math.sqrt(37))


def test_students_sleep_data() -> None:
    """Student (1908), Biometrika 6:20, as R's t.test(paired) prints it: t = 4.0621, p = 0.002833,
    interval 0.7001 to 2.4599."""
    one = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    two = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = paired_t(one, two)
    assert found.t == pytest.approx(4.0621, abs=5e-5)
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    assert found.ci == pytest.approx((0.7001142, 2.4598858), abs=1e-6)


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_few_differences_are_enumerated_as_by_hand(n: int) -> None:
    d = np.round(np.random.default_rng(n).normal(0.4, 1, size=n), 1)
    d[d == 0] = 0.1
    observed = abs(d.sum())
    signs = itertools.product((1, -1), repeat=n)
    by_hand = np.mean([abs(np.dot(s, d)) >= observed - 1e-9 for s in signs])
    assert permutation(np.zeros(n), d) == pytest.approx(by_hand)


def test_enumeration_is_scipys_exact_test() -> None:
    rng = np.random.default_rng(8)
    a, b = rng.random(10), rng.random(10) + 0.2
    expected = stats.permutation_test(
        (a, b), lambda x, y: np.mean(y - x), permutation_type="samples", n_resamples=np.inf
    )
    assert permutation(a, b) == pytest.approx(expected.pvalue)


def test_random_flips_agree_with_the_exact_p() -> None:
    """20 equal-sized differences, 15 up and 5 down: the sign test's p, by the binomial."""
    d = np.array([0.25] * 15 + [-0.25] * 5)
    exact = stats.binomtest(5, 20).pvalue
    assert permutation(np.zeros(20), d, replicates=200_000, seed=4) == pytest.approx(
        exact, rel=0.05
    )
    big = np.random.default_rng(0).normal(0.01, 1, size=30_000)
    normal = stats.ttest_1samp(big, 0).pvalue
    assert permutation(np.zeros(30_000), big, replicates=4000) == pytest.approx(normal, abs=0.03)


def test_permuting_at_the_edges() -> None:
    assert permutation([0.5], [0.5]) == 1.0
    assert permutation([0.1 + 0.2] * 40, [0.3] * 40) == 1.0
    assert permutation([0.0], [1.0]) == 1.0  # one difference may as well have gone the other way
    assert permutation([0.0] * 30, [1.0] * 30, replicates=999) == 1 / 1000
    tiny = [1e-15] * 11
    assert permutation([0.0] * 11, tiny) == pytest.approx(2 / 2**11)  # whatever the unit
    with pytest.raises(EvaluationError, match="permutations"):
        permutation([0.0] * 20, [1.0] * 20, replicates=0)


def test_without_spread_there_is_no_t_and_no_d() -> None:
    for a, b in (([0.1, 0.2], [0.3, 0.4]), ([0.5], [0.7])):
        with pytest.raises(EvaluationError):
            paired_t(a, b)
        with pytest.raises(EvaluationError):
            cohen_dz(a, b)
