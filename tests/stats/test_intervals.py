"""Intervals against statsmodels, scipy, published tables and closed forms."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from tunesmith.errors import EvaluationError
from tunesmith.stats.arrays import all_equal, blocks, differences, finite
from tunesmith.stats.intervals import (
    Bootstrap,
    acceleration,
    bca,
    bootstrap,
    bootstrap_mean,
    mean_interval,
    newcombe_paired,
    odd_values,
    unseen_share,
    wilson,
)

counts = st.integers(0, 60)

# Newcombe (1998), Statistics in Medicine 17:857-872, Table I, method 3.
WILSON = [
    ((81, 263), (0.2553, 0.3662)),
    ((15, 148), (0.0624, 0.1605)),
    ((0, 20), (0.0, 0.1611)),
    ((1, 29), (0.0061, 0.1718)),
]
# Newcombe (1998), Statistics in Medicine 17:2635-2650, Table III, method 10: cells e, f, g, h and
# the limits of (f - g) / n. For 1, 97, 1, 1 the paper prints 0.8736 where 0.87367 is computed.
NEWCOMBE = [
    ((36, 12, 2, 0), (0.0569, 0.3404)),
    ((20, 12, 2, 16), (0.0562, 0.3292)),
    ((18, 12, 2, 18), (0.0562, 0.3290)),
    ((36, 14, 0, 0), (0.1528, 0.4167)),
    ((35, 14, 0, 1), (0.1461, 0.4175)),
    ((18, 14, 0, 18), (0.1441, 0.3963)),
    ((2, 97, 1, 0), (0.8721, 0.9854)),
    ((1, 97, 1, 1), (0.8736, 0.9850)),
    ((0, 29, 1, 0), (0.6666, 0.9882)),
    ((2, 98, 0, 0), (0.9178, 0.9945)),
    ((1, 98, 0, 1), (0.9171, 0.9916)),
    ((0, 30, 0, 0), (0.8395, 1.0)),
    ((54, 0, 0, 0), (-0.0664, 0.0664)),
    ((30, 0, 0, 24), (-0.0358, 0.0358)),
]


@pytest.mark.parametrize(("of", "limits"), WILSON)
def test_wilson_gives_newcombes_table(of: tuple[int, int], limits: tuple[float, float]) -> None:
    assert wilson(*of) == pytest.approx(limits, abs=5e-5)


@given(
    n=st.integers(1, 40_000),
    share=st.floats(0, 1),
    confidence=st.sampled_from([0.8, 0.9, 0.95, 0.999]),
)
def test_wilson_is_statsmodels_own(n: int, share: float, confidence: float) -> None:
    k = round(n * share)
    expected = proportion_confint(k, n, alpha=1 - confidence, method="wilson")
    found = wilson(k, n, confidence)
    assert found == pytest.approx(expected, abs=1e-12)
    assert 0 <= found[0] <= k / n <= found[1] <= 1


@pytest.mark.parametrize(("cells", "limits"), NEWCOMBE)
def test_newcombe_gives_the_papers_table(
    cells: tuple[int, int, int, int], limits: tuple[float, float]
) -> None:
    both, first, second, neither = cells  # the paper's difference is first less second
    assert newcombe_paired(both, second, first, neither) == pytest.approx(limits, abs=1.1e-4)


def test_newcombe_on_airway_data_of_fagerland_and_others() -> None:
    """Fagerland, Lydersen, Laake (2014), Statistics in Medicine 33:2850: -0.507 to -0.026."""
    assert newcombe_paired(1, 7, 1, 12) == pytest.approx((-0.507, -0.026), abs=5e-4)


@given(counts, counts, counts, counts, st.sampled_from([0.9, 0.95, 0.99]))
def test_newcombe_holds_its_difference_and_mirrors(
    both: int, only_a: int, only_b: int, neither: int, confidence: float
) -> None:
    n = both + only_a + only_b + neither
    if n == 0:
        with pytest.raises(EvaluationError):
            newcombe_paired(0, 0, 0, 0)
        return
    low, high = newcombe_paired(both, only_a, only_b, neither, confidence)
    assert -1 <= low <= (only_b - only_a) / n <= high <= 1
    assert low < high
    mirrored = newcombe_paired(both, only_b, only_a, neither, confidence)
    assert mirrored == pytest.approx((-high, -low), abs=1e-12)
    wide = newcombe_paired(both, only_a, only_b, neither, 0.999)
    assert wide[0] <= low + 1e-12
    assert high <= wide[1] + 1e-12


@pytest.mark.parametrize("seen", [0, 1, 5, 49, 50])
def test_the_unseen_share_is_clopper_and_pearsons(seen: int) -> None:
    exact = stats.binomtest(seen, 50, alternative="less").proportion_ci(0.95, method="exact").high
    assert unseen_share(50, 0.95, seen) == pytest.approx(exact, abs=1e-12)


def test_the_rule_of_three() -> None:
    assert unseen_share(1000) == pytest.approx(3 / 1000, rel=0.01)


@pytest.mark.parametrize("statistic", [np.mean, np.median, np.std], ids=["mean", "median", "sd"])
def test_bca_is_scipys_on_scipys_own_resamples(statistic: object) -> None:
    values = np.random.default_rng(3).gamma(1.3, size=45)
    theirs = stats.bootstrap((values,), statistic, n_resamples=999, method="BCa", rng=5)
    left_out = np.array([statistic(np.delete(values, i)) for i in range(values.size)])  # type: ignore[operator]
    ours = Bootstrap(
        float(statistic(values)),  # type: ignore[operator]
        theirs.bootstrap_distribution,
        acceleration(left_out),
    )
    assert ours.interval(0.95) == pytest.approx(tuple(theirs.confidence_interval), rel=1e-9)
    assert ours.error == pytest.approx(theirs.standard_error)


def test_bca_of_law_school_correlations() -> None:
    """Efron and Tibshirani (1993), the 15 law schools of Table 3.1: 0.43 to 0.92 (sect. 14.3)."""
    lsat = np.array([576, 635, 558, 578, 666, 580, 555, 661, 651, 605, 653, 575, 545, 572, 594.0])
    gpa = np.array(
        [3.39, 3.30, 2.81, 3.03, 3.44, 3.07, 3.00, 3.43, 3.36, 3.13, 3.12, 2.74, 2.76, 2.88, 2.96]
    )

    def correlation(rows: np.ndarray) -> float:
        return float(np.corrcoef(lsat[rows], gpa[rows])[0, 1])

    low, high = bca(correlation, 15, replicates=4000, seed=1, confidence=0.90)
    assert low == pytest.approx(0.43, abs=0.03)
    assert high == pytest.approx(0.92, abs=0.02)


def test_the_quick_mean_is_the_slow_one() -> None:
    values = np.random.default_rng(0).beta(0.5, 0.8, size=60)
    slow = bootstrap(lambda rows: float(values[rows].mean()), 60, replicates=3000, seed=1)
    quick = bootstrap_mean(values, replicates=3000, seed=2)
    assert quick.acceleration == pytest.approx(slow.acceleration, rel=1e-9)
    assert quick.observed == pytest.approx(slow.observed)
    assert quick.error == pytest.approx(slow.error, rel=0.06)
    assert quick.interval() == pytest.approx(slow.interval(), abs=0.02)


def test_the_mean_of_many_is_the_normal_one() -> None:
    values = np.random.default_rng(1).random(30_000)
    half = 1.959964 * values.std() / math.sqrt(values.size)
    low, high = mean_interval(values, bounds=(0, 1))
    assert low == pytest.approx(values.mean() - half, abs=2e-4)
    assert high == pytest.approx(values.mean() + half, abs=2e-4)


def test_resampling_past_what_is_kept_is_the_same_stream() -> None:
    values = np.random.default_rng(1).random(40_000)
    found = bootstrap_mean(values, replicates=1700, seed=3)  # 68 million draws: not kept
    assert found.replicates.shape == (1700,)
    assert found.error == pytest.approx(values.std() / 200, rel=0.1)


@pytest.mark.parametrize(
    "values",
    [
        [0.4],
        [0.4, 0.4],
        [0.1 + 0.2, 0.3, 0.3],
        [1.0] * 500,
        [0.0] * 99 + [0.7],
        [0.0] * 7 + [1e-13],
    ],
    ids=["one", "two", "rounding", "all right", "one odd", "a trifle"],
)
def test_degenerate_samples_neither_warn_nor_end_in_nan(values: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        low, high = mean_interval(values, bounds=(0.0, 1.0))
    mean = sum(values) / len(values)
    assert 0 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1
    assert high - low >= unseen_share(len(values)) * 0.99


def test_without_bounds_a_sample_without_spread_is_refused() -> None:
    with pytest.raises(EvaluationError, match="no spread"):
        mean_interval([0.5, 0.5, 0.5])
    with pytest.raises(EvaluationError, match="outside its bounds"):
        mean_interval([0.5, 1.5], bounds=(0, 1))
    with pytest.raises(EvaluationError, match="one example"):
        bootstrap(lambda rows: float(rows.mean()), 1)


def test_few_odd_values_widen_the_interval_to_their_shares_limit() -> None:
    values = np.zeros(200)
    values[:2] = 0.05
    narrow = bootstrap_mean(values).interval()
    low, high = mean_interval(values, bounds=(0.0, 1.0))
    assert high > narrow[1] * 10
    assert high == pytest.approx(values.mean() + unseen_share(200, 0.95, 2) * (1 - values.mean()))
    assert low == 0.0
    values[:40] = np.linspace(0.01, 0.4, 40)
    assert mean_interval(values, bounds=(0, 1)) == bootstrap_mean(values).interval()


def test_an_extreme_bias_stays_finite() -> None:
    replicates = np.linspace(1.0, 2.0, 500)
    for observed in (0.0, 3.0):
        low, high = Bootstrap(observed, replicates, 1 / 6).interval(0.9999)
        assert 1 <= low <= high <= 2


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=30))
def test_the_acceleration_is_within_a_sixth(values: list[float]) -> None:
    assert abs(acceleration(np.array(values))) <= 1 / 6 + 1e-9


@pytest.mark.parametrize("wrong", [(-1, 5), (6, 5), (0, 0)])
def test_what_is_no_proportion_is_refused(wrong: tuple[int, int]) -> None:
    with pytest.raises(EvaluationError, match="not a proportion"):
        wilson(*wrong)


def test_a_confidence_out_of_range_is_refused() -> None:
    for wrong in (0.0, 1.0, math.nan):
        with pytest.raises(EvaluationError, match="confidence"):
            wilson(1, 2, wrong)


def test_values_must_be_there_and_finite() -> None:
    with pytest.raises(EvaluationError, match="number 2 of 3 is nan"):
        finite([1.0, math.nan, 2.0])
    with pytest.raises(EvaluationError, match="at least one"):
        finite([])
    with pytest.raises(EvaluationError, match="do not pair"):
        differences([1.0], [1.0, 2.0])


def test_equal_but_for_rounding_is_equal() -> None:
    assert differences([0.3, 1e9], [0.1 + 0.2, 1e9]).tolist() == [0.0, 0.0]
    assert differences([0.0], [1e-200]).tolist() == [1e-200]
    assert all_equal(np.array([0.3, 0.1 + 0.2]))
    assert odd_values(np.array([0.3, 0.1 + 0.2, 0.4])) == 1


def test_blocks_cover_every_row_once() -> None:
    rows = [i for block in blocks(23, 1_000_000) for i in range(block.start, block.stop)]
    assert rows == list(range(23))


@pytest.mark.parametrize("n", [2, 7, 300, 40_000])
def test_the_resampled_means_are_those_of_a_plain_loop(n: int) -> None:
    values = np.random.default_rng(n).beta(2, 3, n)
    rng = np.random.default_rng(5)
    plain = [values[rng.integers(0, n, n)].mean() for _ in range(31)]
    found = bootstrap_mean(values, replicates=31, seed=5).replicates
    np.testing.assert_allclose(found, plain, rtol=1e-12)
