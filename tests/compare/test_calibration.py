"""What "prove" means, measured: false claims within the level, intervals that cover, power as said.

Each simulation goes through `compare()`. A rate is held against its nominal value by the binomial
itself: with R simulations and a true rate of r, a count beyond the 0.1 % quantile of Binomial(R, r)
would fail the test by chance once in a thousand; seeds are fixed, so it never fails by chance.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from paired_answers import ids, labelled, questions, scored
from tunesmith.compare import CompareSettings, TaskFacts, compare
from tunesmith.records import Answer, Comparison, Verdict
from tunesmith.stats.power import detectable_binary, detectable_mean, needed_binary

ALPHA = 0.05
SETTINGS = CompareSettings(replicates=400)
LABELS = ("full", "partial", "rejected")
CLAIMS = (Verdict.BETTER, Verdict.WORSE)
RATE_OF_CHANCE = 0.001
Simulate = Callable[[np.random.Generator], Comparison]


def most(runs: int, rate: float) -> int:
    """The largest count that a true rate gives in all but one of a thousand simulations."""
    return int(binom.ppf(1 - RATE_OF_CHANCE, runs, rate))


def least(runs: int, rate: float) -> int:
    return int(binom.ppf(RATE_OF_CHANCE, runs, rate))


def per_example(metric: str, a: np.ndarray, b: np.ndarray) -> Comparison:
    n = a.size
    variants = {"baseline": scored(metric, a, ids(n)), "lora": scored(metric, b, ids(n))}
    facts = TaskFacts((metric,), (), metric)
    return compare(variants, questions(n), facts, SETTINGS, slices=())[0]


def binary(n: int, right_a: float, right_b: float, hard: float = 0.3) -> Simulate:
    """Scores of 0 and 1; a share `hard` of examples is too hard for either."""

    def once(rng: np.random.Generator) -> Comparison:
        possible = rng.random(n) >= hard
        a = possible & (rng.random(n) < right_a / (1 - hard))
        b = possible & (rng.random(n) < right_b / (1 - hard))
        return per_example("exact", a, b)

    return once


def skewed(n: int, lift: float = 0.0) -> Simulate:
    """Scores between 0 and 1, heaped at the ends as ROUGE and graph F1 are."""

    def once(rng: np.random.Generator) -> Comparison:
        level = rng.beta(0.6, 0.4, n)
        a, b = (np.clip(level + rng.normal(0, 0.15, n), 0, 1) for _ in range(2))
        return per_example("f1", a, np.clip(b + lift, 0, 1))

    return once


def f1(n: int, right_a: float, right_b: float) -> Simulate:
    """Macro F1 over three labels of which one is rare; some answers cannot be read."""
    gold_labels = (*["full"] * 6, *["partial"] * 3, "rejected")
    examples, known = questions(n, gold_labels), ids(n, gold_labels)
    facts = TaskFacts(("correct", "macro_f1"), LABELS, "macro_f1")

    def said(rng: np.random.Generator, right: float) -> list[Answer]:
        luck, guess = rng.random(n), rng.integers(0, 4, n)
        choice: list[str | None] = [*LABELS, None]
        return labelled(
            [
                e.label if u < right else choice[g]
                for e, u, g in zip(examples, luck, guess, strict=True)
            ],
            examples,
            known,
        )

    def once(rng: np.random.Generator) -> Comparison:
        variants = {"baseline": said(rng, right_a), "lora": said(rng, right_b)}
        return compare(variants, examples, facts, SETTINGS, slices=())[0]

    return once


def population_macro_f1(right: float) -> float:
    """Macro F1 of infinitely many answers of `f1`, from its shares of gold, given and right."""
    gold = np.array([0.6, 0.3, 0.1])
    hits = gold * (right + (1 - right) / 4)
    given = gold * right + (1 - right) / 4
    return float(np.mean(2 * hits / (gold + given)))


def outcomes(simulate: Simulate, runs: int, seed: int) -> list[Comparison]:
    rng = np.random.default_rng(seed)
    return [simulate(rng) for _ in range(runs)]


@pytest.mark.parametrize(
    ("simulate", "runs", "conservative"),
    [
        (binary(150, 0.45, 0.45), 1000, True),
        (binary(40, 0.6, 0.6), 800, True),
        (skewed(120), 600, False),
        (skewed(25), 600, False),
        (f1(150, 0.6, 0.6), 300, False),
    ],
    ids=["binary", "few binary", "real", "few real", "macro F1"],
)
def test_two_alike_are_told_apart_no_more_often_than_alpha(
    simulate: Simulate, runs: int, conservative: bool
) -> None:
    found = outcomes(simulate, runs, seed=20)
    tested = sum(c.p <= ALPHA for c in found)
    claimed = sum(c.verdict in CLAIMS for c in found)
    assert claimed <= tested <= most(runs, ALPHA), f"{tested} of {runs}"
    if not conservative:  # a permutation test keeps its level exactly, and wastes none of it
        assert tested >= least(runs, ALPHA), f"{tested} of {runs}"
    covered = sum(c.ci[0] <= 0 <= c.ci[1] for c in found)
    assert covered >= least(runs, 0.93), f"{covered} of {runs}"


def test_a_family_of_six_claims_no_more_often_than_alpha() -> None:
    """Four variants alike: Holm holds the chance of any claim among the six pairs at alpha."""
    n, runs = 100, 250
    rng, facts = np.random.default_rng(4), TaskFacts(("f1",), (), "f1")
    any_claim = 0
    for _ in range(runs):
        level = rng.random(n)
        variants = {
            name: scored("f1", np.clip(level + rng.normal(0, 0.2, n), 0, 1), ids(n))
            for name in ("baseline", "lora", "qlora", "grit")
        }
        primary = [
            c for c in compare(variants, questions(n), facts, SETTINGS, slices=()) if c.primary
        ]
        assert len(primary) == 6
        any_claim += any(c.verdict in CLAIMS for c in primary)
    assert any_claim <= most(runs, ALPHA), f"{any_claim} of {runs}"


@pytest.mark.parametrize(
    ("simulate", "truth", "runs", "nominal"),
    [
        (binary(120, 0.4, 0.5), 0.1, 600, 0.95),
        (binary(60, 0.05, 0.6), 0.55, 600, 0.95),
        (f1(200, 0.5, 0.7), population_macro_f1(0.7) - population_macro_f1(0.5), 250, 0.93),
    ],
    ids=["Newcombe", "Newcombe far out", "BCa of macro F1"],
)
def test_the_interval_covers_the_true_difference(
    simulate: Simulate, truth: float, runs: int, nominal: float
) -> None:
    found = outcomes(simulate, runs, seed=7)
    covered = sum(c.ci[0] <= truth <= c.ci[1] for c in found)
    assert covered >= least(runs, nominal), f"{covered} of {runs}"


def test_bca_of_a_skewed_mean_covers_it() -> None:
    """Differences in 0 to 1 with a long tail: mean 0.2."""
    n, runs, rng = 100, 500, np.random.default_rng(3)
    covered = 0
    for _ in range(runs):
        d = rng.beta(0.5, 2.0, n)
        c = per_example("f1", np.zeros(n), d)
        covered += c.ci[0] <= 0.2 <= c.ci[1]
    assert covered >= least(runs, 0.94), f"{covered} of {runs}"


def test_rare_differences_are_not_called_equivalent() -> None:
    """One example in 200 differs by 0.8: the mean is 0.004, and plain resampling of 100 often sees
    one such example or none and calls itself certain."""
    n, runs, rng = 100, 400, np.random.default_rng(3)
    covered = 0
    for _ in range(runs):
        d = np.where(rng.random(n) < 0.005, 0.8, 0.0)
        c = per_example("f1", np.full(n, 0.1), 0.1 + d)
        covered += c.ci[0] <= 0.004 <= c.ci[1]
    assert covered >= least(runs, 0.95), f"{covered} of {runs}"


def test_equivalence_is_claimed_falsely_no_more_often_than_alpha() -> None:
    """A true difference just at the margin: two one-sided tests at alpha."""
    n, runs, rng = 150, 600, np.random.default_rng(6)
    settings = CompareSettings(replicates=400, margin=0.05)
    facts = TaskFacts(("f1",), (), "f1")
    claimed = 0
    for _ in range(runs):
        a = rng.uniform(0.2, 0.6, n)
        b = a + 0.05 + rng.uniform(-0.2, 0.2, n)
        variants = {"baseline": scored("f1", a, ids(n)), "lora": scored("f1", b, ids(n))}
        c = compare(variants, questions(n), facts, settings, slices=())[0]
        claimed += c.verdict is Verdict.EQUIVALENT
    assert claimed <= most(runs, ALPHA + 0.01), f"{claimed} of {runs}"


def test_the_detectable_difference_of_binary_scores_is_detected_as_often_as_said() -> None:
    n, rate, runs, rng = 200, 0.3, 500, np.random.default_rng(9)
    difference = detectable_binary(n, rate)
    assert difference is not None
    up = (rate + difference) / 2
    better = 0
    for _ in range(runs):
        u, common = rng.random(n), rng.random(n) < 0.5
        b_only, a_only = u < up, (u >= up) & (u < rate)
        a, b = a_only | (common & (u >= rate)), b_only | (common & (u >= rate))
        better += per_example("exact", a, b).verdict is Verdict.BETTER
    assert least(runs, 0.78) <= better <= most(runs, 0.83), f"{better} of {runs}"


def test_the_detectable_difference_of_means_is_detected_as_often_as_said() -> None:
    n, sd, runs, rng = 80, 0.2, 500, np.random.default_rng(9)
    difference = detectable_mean(n, sd)
    assert difference is not None
    better = 0
    for _ in range(runs):
        a = rng.uniform(0.35, 0.45, n)
        b = a + difference + rng.uniform(-1, 1, n) * sd * np.sqrt(3)
        better += per_example("f1", a, b).verdict is Verdict.BETTER
    assert least(runs, 0.78) <= better <= most(runs, 0.83), f"{better} of {runs}"


def test_as_many_examples_as_were_said_to_be_needed_settle_it() -> None:
    rate, difference, runs, rng = 0.25, 0.08, 300, np.random.default_rng(2)
    n = needed_binary(difference, rate)
    better = 0
    for _ in range(runs):
        u = rng.random(n)
        up = (rate + difference) / 2
        better += per_example("exact", (u >= up) & (u < rate), u < up).verdict is Verdict.BETTER
    assert least(runs, 0.78) <= better <= most(runs, 0.83), f"{better} of {runs}"
