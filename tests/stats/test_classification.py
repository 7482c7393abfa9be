"""Classification figures against scikit-learn, and their resampling against slow loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

from tunesmith.errors import EvaluationError
from tunesmith.stats.classification import (
    accuracy,
    bootstrap_difference,
    bootstrap_score,
    cells,
    confusion,
    encode,
    macro,
    macro_f1,
    per_class,
    swap_test,
    weighted,
    weighted_f1,
)
from tunesmith.stats.intervals import bca

LABELS = ("full", "partial", "rejected")
rows = st.lists(
    st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, None])), min_size=1, max_size=40
)


@settings(deadline=None)
@given(rows)
def test_every_figure_is_scikit_learns(pairs: list[tuple[str, str | None]]) -> None:
    gold, given_ = [g for g, _ in pairs], [p for _, p in pairs]
    said = [p or "unparsed" for p in given_]
    matrix = confusion(gold, given_, LABELS)
    theirs = confusion_matrix(gold, said, labels=[*LABELS, "unparsed"])
    assert matrix.tolist() == theirs[:3].tolist()
    present = [label for label in LABELS if label in gold]
    assert accuracy(matrix) == pytest.approx(accuracy_score(gold, said))
    for ours, average in ((macro_f1(matrix), "macro"), (weighted_f1(matrix), "weighted")):
        assert ours == pytest.approx(
            f1_score(gold, said, labels=present, average=average, zero_division=0)
        )
    precision, recall, f1, support = precision_recall_fscore_support(
        gold, said, labels=list(LABELS), zero_division=0
    )
    for i, c in enumerate(per_class(matrix, LABELS)):
        assert (c.precision or 0.0, c.recall or 0.0, c.gold) == pytest.approx(
            (precision[i], recall[i], support[i])
        )
        assert c.f1 == pytest.approx(f1[i])
        assert (c.precision is None) == (c.predicted == 0)
        assert (c.recall is None) == (c.gold == 0)


def drawn(n: int, seed: int, agree: float = 0.6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    gold = rng.choice(3, size=n, p=[0.6, 0.3, 0.1])
    a, b = (np.where(rng.random(n) < agree, gold, rng.integers(0, 4, n)) for _ in range(2))
    return gold, a, b


def sklearn_macro(gold: np.ndarray, given_: np.ndarray) -> float:
    return float(
        f1_score(gold, given_, labels=sorted(set(gold.tolist())), average="macro", zero_division=0)
    )


def test_the_resampled_difference_is_the_slow_bootstraps() -> None:
    gold, a, b = drawn(40, 1)
    table = cells(gold, a, b, 3)
    quick = bootstrap_difference(table, macro, replicates=4000, seed=1)
    assert quick.observed == pytest.approx(sklearn_macro(gold, b) - sklearn_macro(gold, a))

    def difference(i: np.ndarray) -> float:
        return sklearn_macro(gold[i], b[i]) - sklearn_macro(gold[i], a[i])

    slow = bca(difference, 40, replicates=400, seed=2)
    assert quick.interval() == pytest.approx(slow, abs=0.06)


def test_one_systems_score_is_resampled_alike() -> None:
    gold, a, _ = drawn(300, 2)
    found = bootstrap_score(cells(gold, a, a, 3), weighted, replicates=1000)
    assert found.observed == pytest.approx(f1_score(gold, a, labels=[0, 1, 2], average="weighted"))
    assert 0.01 < found.error < 0.05


def test_the_swap_test_is_the_enumeration_of_all_swaps() -> None:
    gold, a, b = drawn(60, 5, agree=0.9)
    b[:3] = a[:3]
    changed = np.flatnonzero(a != b)[:8]
    keep = np.flatnonzero(a == b).tolist() + changed.tolist()
    gold, a, b = gold[keep], a[keep], b[keep]
    places = np.flatnonzero(a != b)
    observed = abs(sklearn_macro(gold, b) - sklearn_macro(gold, a))
    hits = []
    for pattern in itertools.product((False, True), repeat=places.size):
        x, y = a.copy(), b.copy()
        swap = places[list(pattern)]
        x[swap], y[swap] = b[swap], a[swap]
        hits.append(abs(sklearn_macro(gold, y) - sklearn_macro(gold, x)) >= observed - 1e-12)
    p = swap_test(cells(gold, a, b, 3), macro, replicates=20_000, seed=1)
    assert p == pytest.approx(np.mean(hits), abs=0.015)


def test_nothing_changed_has_p_one_and_no_spread() -> None:
    gold, a, _ = drawn(50, 3)
    table = cells(gold, a, a, 3)
    assert swap_test(table, macro) == 1.0
    assert bootstrap_difference(table, macro).error == 0.0
    alone = cells(gold[:1], a[:1], a[:1], 3)
    assert bootstrap_difference(alone, macro).error == 0.0


def test_many_labels_stay_within_memory_and_time() -> None:
    rng = np.random.default_rng(0)
    gold, a, b = (rng.integers(0, 77, 10_000) for _ in range(3))
    table = cells(gold, a, b, 77)
    assert table.counts.size > 9000
    found = bootstrap_difference(table, macro, replicates=200)
    assert abs(found.observed) < 0.02
    assert swap_test(table, macro, replicates=200) > 0.001


@pytest.mark.parametrize(
    ("gold", "given_", "labels"),
    [
        ([], [], LABELS),
        (["full"], [], LABELS),
        (["full"], ["no"], LABELS),
        (["no"], ["full"], LABELS),
        (["full"], ["full"], ("full", "full")),
        (["full"], ["full"], ()),
    ],
)
def test_labels_outside_the_set_are_refused(
    gold: list[str], given_: list[str | None], labels: tuple[str, ...]
) -> None:
    with pytest.raises(EvaluationError):
        encode(gold, given_, labels)
