"""The page of a comparison of trainings: one HTML file, in the style of a run's report, and tables.

What to use when comes first, then curves with their bands, figures, tests, Pareto fronts, and which
training each figure is from. The same figures stand beside it as CSV, Markdown and LaTeX.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.records import Comparison, Verdict
from tunesmith.report import figures
from tunesmith.report.evidence import EMPTY, Cell, Grid
from tunesmith.report.page import TEMPLATES, fill, keep, plotly
from tunesmith.report.tables import Table, write_tables
from tunesmith.report.verdicts import WORDS
from tunesmith.store.nouns import finite
from tunesmith.store.training_nouns import Figure, Quantity, TrainingComparison

AXES = {"tokens": "answer tokens trained on", "seconds": "seconds of training"}


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing: its place on the page, its words, and what the script draws."""

    id: str
    title: str
    unit: str
    data: Mapping[str, Any]


def render_training(
    found: TrainingComparison, origin: Sequence[tuple[str, str]], folder: Path
) -> Path:
    """Write `report.html` and `tables/` to a folder and return the page.

    `origin`: where and by what the trainings were made, as name and value. StoreError where the
    folder cannot be written.
    """
    write_tables(training_tables(found), folder / "tables")
    return keep(training_page(found, origin), folder / "report.html")


def training_page(found: TrainingComparison, origin: Sequence[tuple[str, str]] = ()) -> str:
    """The whole page as HTML."""
    first = [a for a in found.advice if a.quantity == found.quantities[0].name]
    plots = [*_curves(found), *_fronts(found)]
    return fill(
        "training_report.html.j2",
        {
            "title": found.name,
            "headline": "; ".join(_headline(found, a.task, a.methods) for a in first)
            or "There is no pair of methods to compare",
            "notes": found.notes,
            "level": f"{100 * found.confidence:g}%",
            "advice": found.advice,
            "targets": [(t, figures.number(loss), why) for t, loss, why in found.targets],
            "curves": [p for p in plots if p.id.startswith("curve")],
            "fronts": [p for p in plots if p.id.startswith("front")],
            "shares": _shares(found),
            "measured": [_measured(found, task) for task in found.tasks],
            "quantities": found.quantities,
            "tests": [_tests(found, task) for task in found.tasks],
            "verdicts": [t for t in found.tests if t.found.verdict is not Verdict.NO_EVIDENCE],
            "signs": {v.value: sign for v, (sign, _) in WORDS.items()},
            "cells": _cells(found),
            "origin": origin,
            "plots": [{"id": p.id, **p.data} for p in plots],
            "style": (TEMPLATES / "style.css").read_text("utf-8"),
            "script": (TEMPLATES / "training_report.js").read_text("utf-8"),
            "plotly": plotly() if plots else "",
        },
    )


def _headline(found: TrainingComparison, task: str, kept: Sequence[str]) -> str:
    """What the first row of the matrix says of one task."""
    where = f"{task}: " if len(found.tasks) > 1 else ""
    lowest = "the lowest loss"
    if any(run.task == task for run in found.failed):
        lowest += " of those with the fewest failures"
    if len(kept) == 1:
        return f"{where}{kept[0]} comes to {lowest}"
    best, *others = kept
    if len(others) == len(found.methods) - 1:
        return f"{where}no method is shown to be worse than {best}, which has {lowest}"
    return f"{where}{best} has {lowest}; {', '.join(others)} not shown to be worse"


def _shown(value: float, q: Quantity, sign: str = "") -> str:
    return q.written(value, sign).replace("-", figures.MINUS)


def _measured(found: TrainingComparison, task: str) -> Grid:
    """Every quantity of every method: mean, in small its interval or how many seeds came there."""
    known = {f.name for f in found.figures if f.task == task}
    shown = [q for q in found.quantities if q.name in known]
    rows = []
    for method in found.methods:
        own = [found.figure(task, method, q.name) for q in shown]
        cells = tuple(
            EMPTY if f is None else Cell(_shown(f.value, q), _note(f, q))
            for f, q in zip(own, shown, strict=True)
        )
        rows.append((method, "", cells))
    return Grid(f"{task}: mean over seeds", tuple(q.name for q in shown), tuple(rows))


def _note(f: Figure, q: Quantity) -> str:
    there = sum(map(math.isfinite, f.values))
    if there < len(f.values):
        return f"median; {there} of {len(f.values)} seeds reached it"
    if math.isnan(f.sd) or f.sd == 0:
        return ""
    ends = " to ".join(_shown(end, q) for end in f.ci)
    return f"{ends}; SD {_shown(f.sd, q)}"


def _tests(found: TrainingComparison, task: str) -> Grid:
    units = {q.name: q for q in found.quantities}
    rows = []
    for test in found.tests:
        c = test.found
        if c.slice != task:
            continue
        q = units[c.metric]
        sign, word = WORDS[c.verdict]
        ends = [_signed(end, q) for end in c.ci]
        effects = " to ".join(figures.signed(end, 2) for end in test.effect_ci)
        missed = "–" if c.detectable is None else _shown(c.detectable, q)
        cells = (
            Cell(c.metric),
            Cell(f"{sign} {word}"),
            Cell(_signed(c.difference, q), "" if math.isnan(c.ci[0]) else " to ".join(ends)),
            Cell(figures.probability(c.p_adjusted), f"{figures.probability(c.p)} alone"),
            Cell(figures.number(test.p_permutation, 4)),
            Cell(figures.signed(c.effect, 2), "" if math.isnan(test.effect_ci[0]) else effects),
            Cell(missed, f"{figures.integer(c.needed)} seeds would settle it" if c.needed else ""),
            Cell(figures.integer(c.n)),
        )
        rows.append((f"{c.b} against {c.a}", "", cells))
    heads = ("quantity", "verdict", "difference", "p (Holm)", "p (sign flips)", "d_z")
    rest = ("detectable", "seeds")
    return Grid(f"{task}: all pairs of methods", (*heads, *rest), tuple(rows))


def _signed(value: float, q: Quantity) -> str:
    return _shown(value, q, "+" if value else "") if math.isfinite(value) else "–"


def _curves(found: TrainingComparison) -> list[Plot]:
    plots = []
    for number, task in enumerate(found.tasks):
        for axis, label in AXES.items():
            lines = [
                {
                    "name": b.method,
                    "colour": found.methods.index(b.method),
                    "kind": b.kind,
                    "x": b.x,
                    **{
                        line: [finite(y) for y in getattr(b, line)]
                        for line in ("mean", "low", "high")
                    },
                }
                for b in found.bands
                if (b.task, b.axis) == (task, axis)
            ]
            if lines:
                data = {"what": "curve", "lines": lines, "x": label}
                plots.append(Plot(f"curve-{axis}-{number}", task, f"against {label}", data))
    return plots


def _fronts(found: TrainingComparison) -> list[Plot]:
    plots = []
    for number, front in enumerate(found.fronts):
        points = [
            {
                "name": p.method,
                "colour": found.methods.index(p.method),
                "x": p.cost,
                "y": p.quality,
                "front": not p.dominated_by,
                "told": _place(p.dominated_by, p.share),
            }
            for p in front.points
        ]
        data = {"what": "front", "points": points, "x": front.cost, "y": front.quality}
        unit = f"{front.quality} against {front.cost}"
        plots.append(Plot(f"front-{number}", front.task, unit, data))
    return plots


def _place(over: Sequence[str], share: float | None) -> str:
    told = f"dominated by {', '.join(over)}" if over else "on the front"
    return told if share is None else f"{told}; on it in {100 * share:.0f}% of replicates"


def _shares(found: TrainingComparison) -> list[Grid]:
    """For each task: in what share of replicates a method is on each front."""
    grids = []
    for task in found.tasks:
        own = [f for f in found.fronts if f.task == task]
        rows = []
        for method in found.methods:
            points = [next((p for p in f.points if p.method == method), None) for f in own]
            cells = tuple(
                EMPTY
                if p is None
                else Cell(
                    "–" if p.share is None else f"{100 * p.share:.0f}%",
                    f"dominated by {', '.join(p.dominated_by)}" if p.dominated_by else "on it",
                )
                for p in points
            )
            rows.append((method, "", cells))
        heads = tuple(f"{f.quality} / {f.cost}" for f in own)
        if own:
            grids.append(Grid(f"{task}: how surely on the front", heads, tuple(rows)))
    return grids


def _cells(found: TrainingComparison) -> Grid:
    rows = []
    for run in (*found.cells, *found.failed):
        told = (f"{run.learning_rate:.3g}", run.run or "–", run.error or "counted")
        rows.append((f"{run.task}, {run.method}, seed {run.seed}", "", tuple(map(Cell, told))))
    heads = ("learning rate", "run", "what became of it")
    return Grid("Every training behind these figures", heads, tuple(rows))


def training_tables(found: TrainingComparison) -> list[Table]:
    """The same figures for other programs."""

    def tested(c: Comparison) -> tuple[Any, ...]:
        return (
            c.slice, c.metric, c.a, c.b, c.n, c.value_a, c.value_b, c.difference, finite(c.ci[0]),
            finite(c.ci[1]), c.test, c.p, c.p_adjusted, c.effect, c.verdict.value, c.detectable,
            c.needed,
        )  # fmt: skip

    heads = (
        "task", "quantity", "a", "b", "seeds", "value_a", "value_b", "difference", "ci_low",
        "ci_high", "test", "p", "p_adjusted", "d_z", "verdict", "detectable", "needed",
        "p_sign_flips", "d_z_low", "d_z_high",
    )  # fmt: skip
    return [
        Table(
            "figures",
            "Every quantity of every method over seeds",
            ("task", "method", "quantity", "seeds", "value", "sd", "ci_low", "ci_high"),
            tuple(
                (f.task, f.method, f.name, len(f.seeds), *map(finite, (f.value, f.sd, *f.ci)))
                for f in found.figures
            ),
        ),
        Table(
            "tests",
            "Paired tests over seeds, b against a",
            heads,
            tuple(
                (*tested(t.found), t.p_permutation, *map(finite, t.effect_ci)) for t in found.tests
            ),
        ),
        Table(
            "fronts",
            "Pareto fronts",
            ("task", "quality", "cost", "method", "value", "cost_value", "dominated_by", "share"),
            tuple(
                (f.task, f.quality, f.cost, p.method, p.quality, p.cost,
                 ", ".join(p.dominated_by), p.share)
                for f in found.fronts
                for p in f.points
            ),
        ),
        Table(
            "when_to_use_which",
            "When to use which",
            ("task", "wish", "methods", "evidence", "seeds", "unknown"),
            tuple(
                (a.task, a.wish, ", ".join(a.methods), a.evidence, a.n, a.unknown)
                for a in found.advice
            ),
        ),
        Table(
            "trainings",
            "Every training behind these figures",
            ("task", "method", "seed", "learning_rate", "run", "error"),
            tuple(
                (r.task, r.method, r.seed, r.learning_rate, r.run, r.error)
                for r in (*found.cells, *found.failed)
            ),
        ),
    ]  # fmt: skip
