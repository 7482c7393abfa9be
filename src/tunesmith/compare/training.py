"""Methods of training compared over seeds: curves, convergence, cost, stability, and what follows.

The unit is a seed: each method was trained once with each, on the same data in the same order, so
that two methods are a pair on every seed. `training_measures` has what is measured of one training,
each with its definition; `training_tests` holds the methods against one another.

Only trainings on equal terms are compared: for one task and seed every step of every method must
have seen the same number of answer tokens, else the data, their order, the batch or the budget
differ, and the comparison is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tunesmith.compare import training_tests
from tunesmith.compare.training_measures import (
    AXES,
    KINDS,
    LOSS,
    MEASURES,
    PEAK,
    VALIDATION,
    Goal,
    Kind,
    SeedSettings,
    Trace,
    check_settings,
    score_measures,
    trace,
)
from tunesmith.errors import EvaluationError
from tunesmith.records import StudyRun
from tunesmith.store.training_nouns import Band, Figure, TrainingComparison

POINTS = 120  # of a band
CHECKS = 3  # validation losses that make a curve


def compare_training(
    runs: Iterable[StudyRun],
    settings: SeedSettings | None = None,
    *,
    name: str = "",
    device: str = "",
    alone: bool = True,
) -> TrainingComparison:
    """Compare the methods of some trainings, task by task, over their seeds.

    Trials of a search (`trial` is a number) are left out; failed runs are named and left out.
    `device`: what all trained on; memory is judged on "cuda" alone, elsewhere it is the process's.
    `alone`: one training at a time; where others ran beside it, seconds are not judged.
    EvaluationError where nothing is left, one cell stands twice, or the terms were not equal.
    """
    wish = settings or SeedSettings()
    check_settings(wish)
    given = tuple(runs)
    told = [run for run in given if run.trial is None]
    cells, failed = [r for r in told if not r.error], tuple(r for r in told if r.error)
    check(cells, failed)
    tasks = tuple(dict.fromkeys(r.task for r in cells))
    methods = tuple(dict.fromkeys(r.method for r in told))
    measures = [*MEASURES, *score_measures(cells, wish.score)]
    bands: list[Band] = []
    figures: list[Figure] = []
    goals = []
    for task in tasks:
        traces = [trace(r) for r in cells if r.task == task]
        goal = goal_of(traces, wish)
        goals += [(task, goal.loss, goal.why)] if goal else []
        for method in methods:
            own = [t for t in traces if t.run.method == method]
            bands += _bands(own, wish.confidence)
            for quantity, measure in measures:
                values = {t.run.seed: measure(t, goal, wish) for t in own}
                figures += _figure(task, method, quantity.name, values, wish.confidence)
    quantities = tuple(
        replace(quantity, definition=quantity.definition.format(spike=wish.spike))
        for quantity, _ in measures
        if any(figure.name == quantity.name for figure in figures)
    )
    if LOSS not in {q.name for q in quantities}:
        wanted = "the lowest validation loss"
        quantities = tuple(
            replace(q, wish=wanted) if q.name == VALIDATION else q for q in quantities
        )
    shown = {PEAK} if device != "cuda" else set()
    if not alone:
        shown |= {q.name for q in quantities if q.unit == "s"}
    quantities = tuple(replace(q, wish="") if q.name in shown else q for q in quantities)
    tests = training_tests.tests(figures, quantities, failed, wish)
    return TrainingComparison(
        name=name,
        confidence=wish.confidence,
        tasks=tasks,
        methods=tuple(m for m in methods if any(r.method == m for r in cells)),
        quantities=quantities,
        targets=tuple(goals),
        bands=tuple(bands),
        figures=tuple(figures),
        tests=tests,
        fronts=training_tests.fronts(figures, quantities, wish),
        advice=training_tests.advice(figures, quantities, tests, failed),
        cells=tuple(cells),
        failed=failed,
        notes=training_tests.notes(given, cells, failed, wish, device, alone=alone),
    )


def check(cells: Sequence[StudyRun], failed: Sequence[StudyRun] = ()) -> None:
    """EvaluationError unless the trainings may be held against one another."""
    if not cells:
        why = f"; {failed[0].method} failed: {failed[0].error}" if failed else ""
        raise EvaluationError(
            f"there is no training to compare{why}", hint="train two methods with some seeds each"
        )
    seen: dict[tuple[str, str, int], StudyRun] = {}
    terms: dict[tuple[str, int], StudyRun] = {}
    for run in cells:
        twin = seen.setdefault((run.task, run.method, run.seed), run)
        if twin is not run:
            raise EvaluationError(
                f"{run.method} was trained twice on {run.task} with seed {run.seed}"
                f" ({twin.run or 'a run'} and {run.run or 'another'})",
                hint="repeat with other seeds (--set seed=43): only they show what chance does",
            )
        differs = _other_terms(terms.setdefault((run.task, run.seed), run), run)
        if differs:
            raise EvaluationError(
                f"{run.task}, seed {run.seed}: not comparable: {differs}",
                hint="train all methods on the same data in the same order, with the same batch"
                " and the same number of steps",
            )


def _other_terms(a: StudyRun, b: StudyRun) -> str:
    """What differs between the terms of two trainings; "" where nothing does."""
    ours, theirs = ([s.answer_tokens for s in run.curve] or [run.tokens] for run in (a, b))
    for step, (x, y) in enumerate(zip(ours, theirs, strict=False), start=1):
        if x != y:
            return (
                f"step {step} trained {a.method} on {x:,} answer tokens and {b.method} on {y:,}"
                " (other data, another order, or another batch size)"
            )
    if len(ours) != len(theirs):
        return f"{a.method} was trained for {len(ours):,} steps and {b.method} for {len(theirs):,}"
    return ""


def goal_of(traces: Sequence[Trace], settings: SeedSettings) -> Goal | None:
    """The loss to measure convergence to: what was asked for, else what every method comes to.

    That is the worst method's mean over seeds of the final loss, on validation where every training
    looked at it three times or more, else in training. None without curves.
    """
    if not all(t.loss.size for t in traces):
        return None
    checked = all(t.curve("validation", "tokens")[1].size >= CHECKS for t in traces)
    kind: Kind = "validation" if checked else "training"
    if settings.target is not None:
        return Goal(settings.target, kind, f"{kind} loss that was asked for")
    final: dict[str, list[float]] = {}
    for t in traces:
        final.setdefault(t.run.method, []).append(float(t.curve(kind, "tokens")[1][-1]))
    means = {method: float(np.mean(losses)) for method, losses in final.items()}
    worst = max(means, key=lambda method: means[method])
    smooth = "" if checked else "smoothed "
    why = f"mean final {smooth}{kind} loss of {worst}, the highest of all methods"
    return Goal(means[worst], kind, why)


def _figure(
    task: str, method: str, name: str, values: Mapping[int, float | None], confidence: float
) -> list[Figure]:
    """One figure, or none where no seed has a value."""
    known = {s: float(v) for s, v in sorted(values.items()) if v is not None and not math.isnan(v)}
    if not known:
        return []
    found = np.array(list(known.values()))
    whole = bool(np.isfinite(found).all())
    several = whole and found.size > 1
    middle = float(found.mean() if whole else np.median(found))
    sd = float(np.std(found, ddof=1)) if several else math.nan
    half = _half(found.size, confidence) * sd if several else math.nan
    ci = (middle - half, middle + half)
    return [Figure(task, method, name, tuple(known), tuple(known.values()), middle, sd, ci)]


def _half(n: int, confidence: float) -> float:
    """Half the width of Student's interval of a mean of n >= 2 values, in standard deviations."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, 0.5 + confidence / 2)) / math.sqrt(n)


def _bands(traces: Sequence[Trace], confidence: float) -> list[Band]:
    """The bands of one method on one task, over the stretch that all its seeds have."""
    found: list[Band] = []
    for kind in KINDS:
        for axis in AXES:
            curves = [t.curve(kind, axis) for t in traces]
            if not curves or any(y.size < 2 for _, y in curves):
                continue
            start, end = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
            grid = np.linspace(start, end, min(POINTS, max(y.size for _, y in curves)))
            heights = np.array([np.interp(grid, x, y) for x, y in curves])  # (seeds, points)
            n = len(curves)
            mean, half = heights.mean(axis=0), np.full(grid.size, math.nan)
            if n > 1:
                half = _half(n, confidence) * np.std(heights, axis=0, ddof=1)
            found.append(
                Band(
                    task=traces[0].run.task,
                    method=traces[0].run.method,
                    axis=axis,
                    kind=kind,
                    n=n,
                    x=tuple(grid.tolist()),
                    mean=tuple(mean.tolist()),
                    low=tuple((mean - half).tolist()),
                    high=tuple((mean + half).tolist()),
                    least=tuple(heights.min(axis=0).tolist()),
                    most=tuple(heights.max(axis=0).tolist()),
                )
            )
    return found
