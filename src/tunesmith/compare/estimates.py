"""Each variant by itself: every metric on every slice, with the interval it deserves.

Wilson for shares (scores that are all 0 or 1, precision, recall, the unparsed share), the BCa
bootstrap for means of other scores and for F1. Precision is out of the answers that named the
class, recall out of the rows that are of it; one that would be out of nothing is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tunesmith.compare.facts import CORPUS, CompareSettings, TaskFacts
from tunesmith.compare.measure import corpus_reach, corpus_score
from tunesmith.compare.sheets import Board, Sheet, lay_out
from tunesmith.records import Answer, Estimate, Example, Metric
from tunesmith.stats.arrays import Floats, Ints, finite
from tunesmith.stats.classification import AVERAGES, bootstrap_score, cells
from tunesmith.stats.intervals import few, mean_interval, unseen_share, wilson


def estimates(
    variants: Mapping[str, Sequence[Answer]],
    examples: Sequence[Example],
    facts: TaskFacts,
    *,
    slice_by: Sequence[str] = ("source",),
    twins: frozenset[str] = frozenset(),
    settings: CompareSettings | None = None,
) -> list[Metric]:
    """Every figure of every variant, variant by variant, all rows first.

    A variant is judged on the rows it answered, of those that have the metric: `estimate.n` says
    on how many. A slice on which there is none is left out. EvaluationError as in `sheets.lay_out`.
    """
    wish = settings or CompareSettings()
    board = lay_out(variants, examples, facts, slice_by=slice_by, twins=twins)
    found = []
    for name, sheet in board.sheets.items():
        for part in board.slices:
            found += [
                Metric(name, metric, part, estimate)
                for metric, estimate in _figures(board, sheet, part, facts, wish).items()
            ]
    return found


def _figures(
    board: Board, sheet: Sheet, part: str, facts: TaskFacts, settings: CompareSettings
) -> dict[str, Estimate]:
    figures: dict[str, Estimate] = {}
    for metric in facts.names():
        rows = np.flatnonzero(board.rows(part, metric) & sheet.present)
        if rows.size and metric in CORPUS:
            figures[metric] = _corpus(board, sheet, rows, metric, settings)
        elif rows.size:
            figures[metric] = mean_estimate(sheet.scores[metric][rows], settings)
    rows = np.flatnonzero(board.slices[part] & sheet.present)
    if not board.labels or not rows.size:
        return figures
    gold, given = board.gold[rows], sheet.labels[rows]
    for i, label in enumerate(board.labels):
        hits = int(np.sum((gold == i) & (given == i)))
        for kind, total in (
            ("precision", int(np.sum(given == i))),
            ("recall", int(np.sum(gold == i))),
        ):
            if total:
                ci = wilson(hits, total, settings.confidence)
                figures[f"{kind}: {label}"] = Estimate(hits / total, total, ci)
    return figures


def mean_estimate(values: Floats, settings: CompareSettings) -> Estimate:
    """Mean of scores in [0, 1], shape (n,): Wilson where all are 0 or 1, else BCa."""
    values = finite(values, "scores")
    n = values.size
    if np.isin(values, (0.0, 1.0)).all():
        hits = int(values.sum())
        return Estimate(hits / n, n, wilson(hits, n, settings.confidence))
    ci = mean_interval(
        values,
        bounds=(0.0, 1.0),
        replicates=settings.replicates,
        seed=settings.seed,
        confidence=settings.confidence,
    )
    return Estimate(float(values.mean()), n, ci)


def _corpus(
    board: Board, sheet: Sheet, rows: Ints, metric: str, settings: CompareSettings
) -> Estimate:
    given = sheet.labels[rows]
    table = cells(board.gold[rows], given, given, len(board.labels))
    value = corpus_score(table, metric, 0)
    resampled = bootstrap_score(
        table, AVERAGES[metric], replicates=settings.replicates, seed=settings.seed
    )
    n = int(rows.size)
    low = high = value
    if resampled.error > 0:
        low, high = resampled.interval(settings.confidence)
    right = int(np.sum(given == board.gold[rows]))
    odd = min(right, n - right)
    if not few(odd, n):
        return Estimate(value, n, (low, high))
    gold = np.bincount(board.gold[rows], minlength=len(board.labels)).astype(np.float64)
    reach = corpus_reach(gold, metric, unseen_share(n, settings.confidence, odd))
    ends = max(0.0, min(low, value - reach)), min(1.0, max(high, value + reach))
    return Estimate(value, n, ends)
