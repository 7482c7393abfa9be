"""Confusion, precision, recall and F1 of a closed set of labels, and their resampling.

Labels are indices 0..K-1; a prediction may also be K: it could not be read ("unparsed"), which is
a wrong answer with a column of its own. Macro and weighted F1 average over the classes that have a
gold row: scikit-learn's `f1_score(labels=<those>, zero_division=0)`. A class without a gold row
has no F1 here; answers that name it wrongly lower the recall of the class they should have named.

Everything corpus-wide follows from how often each cell (gold, a's answer, b's answer) occurs.
Resampling examples is a multinomial draw of those counts, and exchanging the two answers of a
random half of the examples is a binomial draw in each cell, so neither loops over replicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from tunesmith.errors import EvaluationError
from tunesmith.stats.arrays import Floats, Ints, blocks
from tunesmith.stats.intervals import Bootstrap, acceleration

TIE = 1e-12  # F1 differences this close are equal but for rounding


class Average(Protocol):
    """A figure of a whole corpus from counts per class, each of shape (B, K)."""

    def __call__(self, hits: Floats, predicted: Floats, gold: Floats) -> Floats:
        """Shape (B,)."""
        ...


@dataclass(frozen=True, slots=True)
class ClassScores:
    """One class: how often it is gold, how often given, how often both, and what follows."""

    label: str
    gold: int
    predicted: int
    hits: int

    @property
    def precision(self) -> float | None:
        """hits / predicted; None where it was never given."""
        return self.hits / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """hits / gold; None where it was never asked for."""
        return self.hits / self.gold if self.gold else None

    @property
    def f1(self) -> float:
        """2 hits / (predicted + gold); 0.0 where it is neither."""
        total = self.predicted + self.gold
        return 2 * self.hits / total if total else 0.0


def encode(
    gold: Sequence[str], predicted: Sequence[str | None], labels: Sequence[str]
) -> tuple[Ints, Ints]:
    """Indices of gold (0..K-1) and predicted (0..K, K for None), each of shape (n,).

    EvaluationError for no rows, unequal lengths, a repeated label or one outside the set.
    """
    if not gold or len(gold) != len(predicted):
        raise EvaluationError(f"{len(gold)} gold labels and {len(predicted)} predictions")
    index = {label: i for i, label in enumerate(labels)}
    if len(index) != len(labels) or not index:
        raise EvaluationError(f"the labels must be a set of one or more: {list(labels)}")
    for side, values in (("gold", gold), ("predicted", predicted)):
        unknown = {v for v in values if v is not None} - index.keys()
        if unknown or (side == "gold" and None in values):
            raise EvaluationError(
                f"{side} labels outside {list(labels)}: {sorted(unknown) or None}",
                hint="repair the labels, or name the whole set in the task",
            )
    return (
        np.array([index[g] for g in gold], dtype=np.int64),
        np.array([len(index) if p is None else index[p] for p in predicted], dtype=np.int64),
    )


def confusion(gold: Sequence[str], predicted: Sequence[str | None], labels: Sequence[str]) -> Ints:
    """Counts, shape (K, K + 1): rows are gold, columns given, the last column unparsed."""
    g, p = encode(gold, predicted, labels)
    k = len(labels)
    flat: Ints = np.bincount(g * (k + 1) + p, minlength=k * (k + 1)).astype(np.int64)
    return flat.reshape(k, k + 1)


def per_class(matrix: Ints, labels: Sequence[str]) -> list[ClassScores]:
    """Each class of a confusion matrix of shape (K, K + 1)."""
    given, asked = matrix.sum(axis=0), matrix.sum(axis=1)
    return [
        ClassScores(label, int(asked[i]), int(given[i]), int(matrix[i, i]))
        for i, label in enumerate(labels)
    ]


def accuracy(matrix: Ints) -> float:
    """Share of all rows on the diagonal; an unparsed answer is wrong."""
    return float(np.trace(matrix) / _rows(matrix))


def macro_f1(matrix: Ints) -> float:
    """Mean F1 over the classes that have a gold row."""
    return _from_matrix(matrix, macro)


def weighted_f1(matrix: Ints) -> float:
    """F1 averaged by the number of gold rows."""
    return _from_matrix(matrix, weighted)


def macro(hits: Floats, predicted: Floats, gold: Floats) -> Floats:
    """Macro F1 of each of B corpora; counts per class, shape (B, K) -> (B,)."""
    present = gold > 0
    scores = _f1(hits, predicted, gold) * present
    mean: Floats = scores.sum(axis=1) / present.sum(axis=1)
    return mean


def weighted(hits: Floats, predicted: Floats, gold: Floats) -> Floats:
    """Weighted F1 of each of B corpora; counts per class, shape (B, K) -> (B,)."""
    mean: Floats = (_f1(hits, predicted, gold) * gold).sum(axis=1) / gold.sum(axis=1)
    return mean


AVERAGES: Mapping[str, Average] = MappingProxyType({"macro_f1": macro, "weighted_f1": weighted})


def _f1(hits: Floats, predicted: Floats, gold: Floats) -> Floats:
    total = predicted + gold
    return np.divide(2 * hits, total, out=np.zeros_like(total), where=total > 0)


def _rows(matrix: Ints) -> int:
    rows = int(matrix.sum())
    if rows < 1:
        raise EvaluationError("an empty confusion matrix has no score")
    return rows


def _from_matrix(matrix: Ints, average: Average) -> float:
    _rows(matrix)
    k = matrix.shape[0]
    counts = matrix.astype(np.float64)
    hits, given, asked = np.diag(counts[:, :k]), counts[:, :k].sum(axis=0), counts.sum(axis=1)
    return float(average(hits[None], given[None], asked[None])[0])


@dataclass(frozen=True, slots=True)
class Cells:
    """The distinct (gold, a, b) triples of a test set, each of shape (C,), and their counts."""

    gold: Ints
    a: Ints
    b: Ints
    counts: Ints
    labels: int

    @property
    def n(self) -> int:
        """Examples behind the cells."""
        return int(self.counts.sum())

    @property
    def changed(self) -> int:
        """Examples that the two answer differently."""
        return int(self.counts[self.a != self.b].sum())


def cells(gold: Ints, a: Ints, b: Ints, labels: int) -> Cells:
    """Count the triples; indices as `encode` gives them, each of shape (n,), n >= 1."""
    if not (gold.size == a.size == b.size) or gold.size == 0:
        raise EvaluationError(f"{gold.size} gold, {a.size} and {b.size} predicted labels")
    width = labels + 1
    codes, counts = np.unique((gold * width + a) * width + b, return_counts=True)
    return Cells(
        codes // width**2, codes // width % width, codes % width, counts.astype(np.int64), labels
    )


class _Scorer:
    """Corpus scores from cell counts of shape (B, C), by matrix products."""

    def __init__(self, table: Cells, average: Average) -> None:
        eye = np.eye(table.labels + 1)[:, : table.labels]
        self.gold = eye[table.gold]  # (C, K)
        self.sides = (eye[table.a], eye[table.b])
        self.average = average

    def score(self, counts: Floats, side: int) -> Floats:
        """Score of side 0 (a) or 1 (b), shape (B,)."""
        given = self.sides[side]
        return self.average(counts @ (given * self.gold), counts @ given, counts @ self.gold)

    def difference(self, counts: Floats) -> Floats:
        """b less a, shape (B,)."""
        return self.score(counts, 1) - self.score(counts, 0)

    def swapped(self, counts: Floats, swaps: Floats) -> Floats:
        """b less a where `swaps` of each cell's examples exchange their answers, shape (B,)."""
        kept = counts - swaps
        gold = counts @ self.gold
        given = [kept @ self.sides[i] + swaps @ self.sides[1 - i] for i in (0, 1)]
        hits = [
            kept @ (self.sides[i] * self.gold) + swaps @ (self.sides[1 - i] * self.gold)
            for i in (0, 1)
        ]
        second: Floats = self.average(hits[1], given[1], gold)
        return second - self.average(hits[0], given[0], gold)

    def left_out(self, counts: Floats, side: int) -> Floats:
        """The score without one example of each cell, from counts (C,): shape (C,)."""
        given = self.sides[side]
        parts = (given * self.gold, given, self.gold)
        return self.average(*(counts @ part - part for part in parts))


def bootstrap_difference(
    table: Cells, average: Average, *, replicates: int = 2000, seed: int = 0
) -> Bootstrap:
    """Paired bootstrap of score(b) - score(a): examples are resampled with both their answers.

    Efron and Tibshirani (1993), An Introduction to the Bootstrap, sect. 14.3. EvaluationError
    below 2 replicates.
    """
    return _resample(table, average, (-1.0, 1.0), replicates, seed)


def bootstrap_score(
    table: Cells, average: Average, *, replicates: int = 2000, seed: int = 0
) -> Bootstrap:
    """Bootstrap of one system's score: that of side a."""
    return _resample(table, average, (1.0, 0.0), replicates, seed)


def _resample(
    table: Cells, average: Average, sides: tuple[float, float], replicates: int, seed: int
) -> Bootstrap:
    """Bootstrap of sides[0] * score(a) + sides[1] * score(b)."""
    if replicates < 2:
        raise EvaluationError(f"{replicates} bootstrap replicates: at least 2 are needed")
    scorer, counts = _Scorer(table, average), table.counts.astype(np.float64)
    used = [(side, sign) for side, sign in enumerate(sides) if sign]

    def statistic(drawn: Floats) -> Floats:  # (B, C) -> (B,)
        parts = [sign * scorer.score(drawn, side) for side, sign in used]
        total: Floats = np.sum(parts, axis=0)
        return total

    rng, shares = np.random.default_rng(seed), counts / table.n
    values = [
        statistic(rng.multinomial(table.n, shares, size=b.stop - b.start).astype(np.float64))
        for b in blocks(replicates, counts.size)
    ]
    bent = 0.0
    if table.n > 1:  # examples of one cell have one leave-one-out value
        left_out = np.sum([sign * scorer.left_out(counts, side) for side, sign in used], axis=0)
        bent = acceleration(left_out, table.counts)
    return Bootstrap(float(statistic(counts[None])[0]), np.concatenate(values), bent)


def swap_test(table: Cells, average: Average, *, replicates: int = 2000, seed: int = 0) -> float:
    """Two-sided p of score(b) = score(a) by exchanging the two answers of random examples.

    Under the null hypothesis the two answers of an example are exchangeable (Yeh 2000,
    Proc. COLING, "More accurate tests for the statistical significance of result differences").
    Never below 1 / (1 + replicates); 1 where no answer differs.
    """
    if replicates < 1:
        raise EvaluationError(f"{replicates} permutations: at least one is needed")
    if table.changed == 0:
        return 1.0
    scorer = _Scorer(table, average)
    counts = table.counts.astype(np.float64)[None]
    limit = abs(float(scorer.difference(counts)[0])) - TIE
    moving = np.where(table.a == table.b, 0, table.counts)
    rng, hits = np.random.default_rng(seed), 0
    for block in blocks(replicates, moving.size):
        swaps = rng.binomial(moving, 0.5, (block.stop - block.start, moving.size))
        differences = scorer.swapped(counts, swaps.astype(np.float64))
        hits += int(np.sum(np.abs(differences) >= limit))
    return (1 + hits) / (1 + replicates)
