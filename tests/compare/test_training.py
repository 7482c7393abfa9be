"""Trainings compared over seeds, held against scipy, statsmodels, scikit-learn and brute force."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import auc
from statsmodels.stats.multitest import multipletests

from study_runs import study, training
from tunesmith.compare.training import compare_training
from tunesmith.compare.training_measures import SeedSettings, smoothed, spikes
from tunesmith.compare.training_tests import dominance
from tunesmith.errors import EvaluationError
from tunesmith.records import StudyRun, Verdict
from tunesmith.stats.paired import dz_interval

CLAIMS = (Verdict.BETTER, Verdict.WORSE)


def values(runs: list[StudyRun], method: str) -> list[float]:
    return [r.held_out_loss for r in runs if r.method == method and r.held_out_loss is not None]


def test_the_tests_are_those_of_scipy_and_statsmodels() -> None:
    runs = study()
    found = [t for t in compare_training(runs).tests if t.found.metric == "held-out loss"]
    assert [(t.found.a, t.found.b) for t in found] == list(
        combinations(("full", "slow", "half"), 2)
    )
    for t in found:
        a, b = values(runs, t.found.a), values(runs, t.found.b)
        theirs = stats.ttest_rel(b, a)
        assert t.found.p == pytest.approx(theirs.pvalue, rel=1e-9)
        assert t.found.ci == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-9)
        exact = stats.permutation_test(
            (np.subtract(b, a),), np.mean, permutation_type="samples", n_resamples=np.inf
        )
        assert t.p_permutation == pytest.approx(exact.pvalue)
        assert t.p_permutation >= 2 / 2**5
        d = np.subtract(b, a)
        assert t.found.effect == pytest.approx(d.mean() / d.std(ddof=1))
    adjusted = multipletests([t.found.p for t in found], method="holm")[1]
    assert [t.found.p_adjusted for t in found] == pytest.approx(list(adjusted))


@pytest.mark.parametrize(("d_z", "n"), [(0.0, 5), (0.8, 5), (-2.0, 8), (4.0, 12)])
def test_the_interval_of_an_effect_is_where_the_noncentral_t_says(d_z: float, n: int) -> None:
    low, high = dz_interval(d_z, n)
    root = math.sqrt(n)
    assert stats.nct.cdf(d_z * root, n - 1, low * root) == pytest.approx(0.975, abs=1e-4)
    assert stats.nct.cdf(d_z * root, n - 1, high * root) == pytest.approx(0.025, abs=1e-4)


def test_the_verdicts_are_what_was_built_in() -> None:
    found = compare_training(study())
    of = {(t.found.metric, t.found.a, t.found.b): t for t in found.tests}
    slow = of["held-out loss", "full", "slow"]
    assert slow.found.verdict is Verdict.WORSE
    assert slow.words.startswith("slow is worse than full: held-out loss ")
    assert "0.0625" in " ".join(slow.found.caveats)
    assert of["seconds", "full", "half"].found.verdict is Verdict.BETTER
    row = {a.quantity: a for a in found.advice}
    assert row["held-out loss"].methods == ("full",)
    assert row["adapter size"].methods == ("half",)
    assert row["held-out loss"].n == 5
    assert "other learning" not in row["adapter size"].evidence
    assert "0.0625" in found.notes[0]


def test_convergence_is_counted_on_the_curves() -> None:
    runs = study()
    found = compare_training(runs)
    ((task, goal, why),) = found.targets
    finals = {m: np.mean([r.curve[-1].validation_loss for r in runs if r.method == m])
              for m in ("full", "slow", "half")}  # fmt: skip
    assert (task, goal) == ("lines", pytest.approx(max(finals.values())))
    assert why.startswith("mean final validation loss of ")
    figure = found.figure("lines", "full", "tokens to the loss")
    area = found.figure("lines", "full", "area under the curve")
    assert figure is not None and area is not None
    for i, run in enumerate(r for r in runs if r.method == "full"):
        tokens = np.cumsum([s.answer_tokens for s in run.curve])
        seen = [(t, s.validation_loss) for t, s in zip(tokens, run.curve, strict=True)
                if s.validation_loss is not None]  # fmt: skip
        x, y = zip(*seen, strict=True)
        assert figure.values[i] == next((t for t, loss in seen if loss <= goal), math.inf)
        assert area.values[i] == pytest.approx(auc(x, y) / (x[-1] - x[0]))


def test_a_loss_that_is_never_reached_is_said() -> None:
    found = compare_training(study(), SeedSettings(target=1e-6))
    figure = found.figure("lines", "slow", "tokens to the loss")
    assert figure is not None
    assert set(figure.values) == {math.inf}
    assert figure.value == math.inf and math.isnan(figure.sd)


def test_bands_hold_what_the_seeds_did() -> None:
    runs = study()
    bands = compare_training(runs).bands
    assert {(b.axis, b.kind) for b in bands if b.method == "full"} == {
        (axis, kind) for axis in ("tokens", "seconds") for kind in ("training", "validation")
    }
    band = next(b for b in bands if (b.method, b.axis, b.kind) == ("full", "tokens", "training"))
    own = [r for r in runs if r.method == "full"]
    losses = [smoothed([s.loss for s in r.curve], np.array([s.answer_tokens for s in r.curve]))
              for r in own]  # fmt: skip
    tokens = [np.cumsum([s.answer_tokens for s in r.curve]) for r in own]
    last = [np.interp(band.x[-1], t, y) for t, y in zip(tokens, losses, strict=True)]
    theirs = stats.ttest_1samp(last, 0).confidence_interval()
    assert band.n == 5
    assert (band.low[-1], band.high[-1]) == pytest.approx(tuple(theirs))
    assert (band.least[-1], band.most[-1]) == pytest.approx((min(last), max(last)))


def test_smoothing_weighs_by_tokens() -> None:
    losses, tokens = [1.0, 2.0, math.nan, 4.0, 5.0, 6.0, 7.0], np.array([1, 3, 9, 1, 1, 1, 1.0])
    told = smoothed(losses, tokens)
    assert told[1] == pytest.approx(7 / 4)
    assert told[2] == pytest.approx(7 / 4)
    assert told[6] == pytest.approx((4 + 5 + 6 + 7) / 4)  # the last five, less what is not finite


def test_spikes_stand_over_the_running_median() -> None:
    assert spikes([1.0] * 10 + [2.5, 1.0, math.inf, 1.0], 2.0) == 2
    assert spikes([9.0, 1.0, 1.0, 1.0, 1.0, 1.0], 2.0) == 0


def test_dominance_is_that_of_brute_force() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        points = rng.integers(0, 4, (7, 2)).astype(float)
        found = dominance(points)
        for i, mine in enumerate(points):
            for j, theirs in enumerate(points):
                over = all(t <= m for t, m in zip(theirs, mine, strict=True)) and any(
                    t < m for t, m in zip(theirs, mine, strict=True)
                )
                assert found[i, j] == over


def test_fronts_say_who_dominates_and_how_surely() -> None:
    found = compare_training(study())
    front = next(f for f in found.fronts if (f.quality, f.cost) == ("held-out loss", "seconds"))
    points = {p.method: p for p in front.points}
    assert points["half"].dominated_by == () and points["half"].share == 1.0  # nobody is as fast
    assert "half" in points["slow"].dominated_by or "full" in points["slow"].dominated_by
    assert {f.quality for f in found.fronts} == {"held-out loss", "score: near"}
    score = next(f for f in found.fronts if (f.quality, f.cost) == ("score: near", "seconds"))
    best = max(score.points, key=lambda p: p.quality)
    assert best.dominated_by == ()


def test_failed_trainings_are_named_and_counted_in_no_figure() -> None:
    runs = study()
    broken = replace(runs[0], error="the loss is nan at step 3", held_out_loss=None, curve=())
    found = compare_training([broken, *runs[1:]])
    figure = found.figure("lines", "full", "held-out loss")
    assert figure is not None and figure.seeds == (2, 3, 4, 5)
    assert found.failed == (broken,)
    assert "lines, full, seed 1: the loss is nan at step 3" in " ".join(found.notes)
    pair = next(t for t in found.tests if {t.found.a, t.found.b} == {"full", "slow"})
    assert pair.found.n == 4
    assert any("Seed 1 is left out" in caveat for caveat in pair.found.caveats)
    assert "full (seed 1)" in found.advice[0].unknown


def test_trials_of_the_search_count_nowhere() -> None:
    runs = study()
    tried = [replace(runs[0], trial=0, seed=99, held_out_loss=0.0)]
    found, others = compare_training([*tried, *runs]), compare_training(runs)
    assert repr(replace(found, notes=())) == repr(replace(others, notes=()))  # NaN among them


def test_one_seed_has_figures_and_no_test() -> None:
    found = compare_training(study(1))
    assert found.tests == ()
    assert found.notes[0].startswith("One seed only: nothing is tested")
    assert all("nothing is tested" in a.evidence for a in found.advice if a.quantity == "seconds")
    assert {p.share for f in found.fronts for p in f.points} == {None}


def test_differences_without_spread_claim_nothing() -> None:
    runs = [replace(r, scores={"near": 1.0}) for r in study(8)]
    found = compare_training(runs)
    tests = [t for t in found.tests if t.found.metric == "score: near"]
    assert {t.found.verdict for t in tests} == {Verdict.NO_EVIDENCE}
    assert all("the same on every seed" in t.found.caveats[0] for t in tests)


def test_small_differences_are_equivalent_within_a_margin() -> None:
    runs = study(6)
    twins = [replace(r, method="twin", held_out_loss=(r.held_out_loss or 0) + 1e-4 * (-1) ** r.seed)
             for r in runs if r.method == "full"]  # fmt: skip
    found = compare_training([*runs, *twins], SeedSettings(loss_margin=0.01))
    pair = next(t.found for t in found.tests if (t.found.a, t.found.b) == ("full", "twin"))
    assert pair.metric == "held-out loss"
    assert pair.verdict is Verdict.EQUIVALENT


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: replace(r, curve=r.curve[:30]), "full was .* for 40 steps and slow for 30"),
        (
            lambda r: replace(r, curve=(replace(r.curve[0], answer_tokens=7), *r.curve[1:])),
            "step 1 trained full on .* answer tokens and slow on 7",
        ),
    ],
)
def test_other_terms_are_refused(change: object, said: str) -> None:
    runs = [change(r) if r.method == "slow" else r for r in study(2)]  # type: ignore[operator]
    with pytest.raises(EvaluationError, match=said):
        compare_training(runs)


def test_the_same_cell_twice_is_refused() -> None:
    with pytest.raises(EvaluationError, match="full was trained twice on lines with seed 1"):
        compare_training([*study(2), training("full", 1, rate=0.2)])


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(EvaluationError, match="no training to compare"):
        compare_training([])
    with pytest.raises(EvaluationError, match="no training has a score 'far'"):
        compare_training(study(2), SeedSettings(score="far"))


def sized(runs: list[StudyRun], method: str, sizes: list[int]) -> list[StudyRun]:
    """The same with this adapter size of a method on each seed."""
    return [
        replace(r, adapter_bytes=sizes[r.seed - 1], trainable_parameters=sizes[r.seed - 1])
        if r.method == method
        else r
        for r in runs
    ]


def test_a_size_that_varies_over_seeds_is_tested_and_a_fixed_one_is_not() -> None:
    runs = sized(sized(study(3), "full", [100] * 3), "half", [120, 60, 90])
    runs = sized(runs, "slow", [200] * 3)
    found = compare_training(runs)
    row = next(a for a in found.advice if a.quantity == "adapter size")
    assert row.methods[0] == "half" and "full" in row.methods  # 90 is below 100 by chance
    assert "The same on every seed" not in row.evidence
    tested = {
        frozenset((t.found.a, t.found.b)) for t in found.tests if t.found.metric == row.quantity
    }
    assert tested == {frozenset(("full", "half")), frozenset(("half", "slow"))}
    fixed = compare_training(sized(runs, "half", [90] * 3))
    row = next(a for a in fixed.advice if a.quantity == "adapter size")
    assert "The same on every seed: no test is needed." in row.evidence
    assert not [t for t in fixed.tests if t.found.metric == row.quantity]


def test_the_matrix_claims_no_more_than_the_tests_of_a_score_without_spread() -> None:
    level = {"full": 0.75, "slow": 0.5, "half": 0.25}
    runs = [replace(r, scores={"near": level[r.method]}) for r in study()]
    found = compare_training(runs)
    row = next(a for a in found.advice if a.quantity == "score: near")
    assert row.methods == ("full", "slow", "half")
    assert "no test is needed" not in row.evidence and "on every seed" not in row.evidence


def test_a_method_that_failed_on_a_seed_stands_behind_those_that_did_not() -> None:
    runs = [
        replace(r, error="diverged", held_out_loss=None)
        if (r.method, r.seed) == ("half", 5)
        else replace(r, held_out_loss=0.01)  # of the others, the lowest
        if r.method == "half"
        else r
        for r in study()
    ]
    row = compare_training(runs).advice[0]
    assert row.quantity == "held-out loss"
    assert row.evidence.split(". ")[0].split(", ")[-1].startswith("half 0.01")
    assert row.methods[0] == "full" and row.n == 5


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_memory_is_judged_where_it_is_the_training_s_own(device: str) -> None:
    found = compare_training(study(), device=device)
    own = device == "cuda"
    assert any(a.quantity == "peak memory" for a in found.advice) == own
    assert any(t.found.metric == "peak memory" for t in found.tests) == own
    assert any(f.cost == "peak memory" for f in found.fronts) == own
    assert any("Memory" in note for note in found.notes) != own
    assert found.figure("lines", "full", "peak memory") is not None


@pytest.mark.parametrize("alone", [True, False])
def test_seconds_are_judged_where_one_training_ran_at_a_time(alone: bool) -> None:
    found = compare_training(study(), alone=alone)
    assert any(a.quantity == "seconds" for a in found.advice) == alone
    assert any(t.found.metric == "seconds" for t in found.tests) == alone
    assert any(f.cost == "seconds" for f in found.fronts) == alone
    assert any("ran beside" in note for note in found.notes) != alone
    assert found.figure("lines", "full", "seconds") is not None


def test_it_says_that_the_search_is_one_draw() -> None:
    runs = study()
    assert "search" not in " ".join(compare_training(runs).notes)
    found = compare_training([replace(runs[0], trial=0, seed=99), *runs])
    assert "one search" in " ".join(found.notes)
    row = next(a for a in found.advice if a.quantity == "seconds")
    assert "other implementations" in row.unknown


@pytest.mark.parametrize(("seeds", "methods"), [(3, 4), (5, 4)])
def test_alike_methods_are_told_apart_no_oftener_than_alpha(seeds: int, methods: int) -> None:
    """A/A: the share of studies with any claim in the family of the held-out loss."""
    rng = np.random.default_rng(5)
    base = StudyRun("a/a", "t", "m", 0, None, 1e-3, tokens=1)
    studies, claimed = 200, 0
    for _ in range(studies):
        hard = rng.normal(0, 1, seeds)  # what a seed does to all methods
        runs = [
            replace(base, method=f"m{m}", seed=s, held_out_loss=float(hard[s] + rng.normal()))
            for m in range(methods)
            for s in range(seeds)
        ]
        found = compare_training(runs, SeedSettings(replicates=200))
        claimed += any(
            t.found.verdict in CLAIMS for t in found.tests if t.found.metric == "held-out loss"
        )
    assert claimed <= stats.binom.ppf(0.999, studies, 0.05)
