"""Mixing keeps the shares that were asked for, and draws the same rows everywhere."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.mix import Wish, apportion, draw, findings, mix, shuffled
from tunesmith.errors import DataError
from tunesmith.records import Example, Message


def rows(source: str, count: int, label: str | None = None) -> list[Example]:
    return [
        Example((Message("user", f"{source} {i}?"),), str(i), label, {"source": source}, f"f:{i}")
        for i in range(count)
    ]


SIZES = st.dictionaries(st.sampled_from("abcde"), st.integers(1, 60), min_size=1)
WEIGHTS = st.floats(0.01, 100, allow_nan=False)


@given(SIZES, st.data())
def test_weights_are_kept_to_within_a_row_and_nothing_is_taken_twice(
    sizes: dict[str, int], data: st.DataObject
) -> None:
    weights = {name: data.draw(WEIGHTS) for name in sizes}
    examples = [e for name, count in sizes.items() for e in rows(name, count)]
    mixed = mix(examples, {name: Wish(weight=w) for name, w in weights.items()}, seed=1)
    total = len(mixed.examples)
    assert len({e.id for e in mixed.examples}) == total
    for name, it in mixed.sources.items():
        assert it.taken <= it.available == sizes[name]
        share = Fraction(str(weights[name])) / sum(Fraction(str(w)) for w in weights.values())
        assert abs(it.taken - share * total) < 1
    larger = apportion({n: Fraction(str(w)) for n, w in weights.items()}, total + 1)
    assert any(larger[name] > sizes[name] for name in sizes), "the largest mix that fits"


def test_known_shares() -> None:
    examples = [*rows("stack", 300), *rows("made", 1000), *rows("paper", 100)]
    wishes = {"stack": Wish(weight=1), "made": Wish(weight=2), "paper": Wish(weight=0.5)}
    taken = {name: it.taken for name, it in mix(examples, wishes, seed=7).sources.items()}
    assert taken == {"stack": 201, "made": 402, "paper": 100}  # of 703; 704 wants 101 papers
    fewer = mix(examples, wishes, seed=7, rows=70).sources
    assert {name: it.taken for name, it in fewer.items()} == {"stack": 20, "made": 40, "paper": 10}


def test_the_same_rows_whatever_their_order_and_place() -> None:
    examples = rows("a", 50)
    moved = [
        Example(e.messages, e.target, e.label, e.meta, f"g:{n}")
        for n, e in enumerate(reversed(examples))
    ]
    first = {e.id for e in mix(examples, {"a": Wish(cap=20)}, seed=3).examples}
    assert first == {e.id for e in mix(moved, {"a": Wish(cap=20)}, seed=3).examples}
    assert first != {e.id for e in mix(examples, {"a": Wish(cap=20)}, seed=4).examples}
    assert [e.id for e in shuffled(examples, seed=3)] == [e.id for e in shuffled(moved, seed=3)]
    assert shuffled(examples, seed=3) != shuffled(examples, seed=4)
    # On every machine: a value that was computed once.
    assert [e.target for e in shuffled(examples, seed=3)][:6] == GOLDEN


GOLDEN = ["34", "4", "41", "27", "24", "23"]


def test_labels_keep_their_shares() -> None:
    examples = [*rows("a", 60, "yes"), *rows("b", 30, "no"), *rows("c", 10, "perhaps")]
    drawn = draw(examples, 20, seed=0)
    labels = [e.label for e in drawn]
    assert [labels.count(label) for label in ("yes", "no", "perhaps")] == [12, 6, 2]
    assert draw(examples, 1000, seed=0) == tuple(examples)


def test_rows_that_are_equal_are_not_taken_for_one_another() -> None:
    one = rows("a", 1)[0]
    twins = [Example(one.messages, one.target, None, one.meta, f"f:{i}") for i in range(10)]
    assert len(mix(twins, {"a": Wish(cap=4)}, seed=0).examples) == 4


def test_what_was_left_out_is_said() -> None:
    mixed = mix([*rows("a", 5), *rows("b", 3)], {"a": Wish(cap=2)}, seed=0)
    [found] = findings(mixed.sources)
    assert found.count == 3
    assert found.examples == ("a: 2 of 5",)
    assert findings(mix(rows("a", 5), {}, seed=0).sources) == ()


def test_shares_that_nobody_can_know_are_refused() -> None:
    examples = [*rows("a", 5), *rows("b", 3)]
    with pytest.raises(DataError, match=r"sources\.b has no weight, and a has one"):
        mix(examples, {"a": Wish(weight=1)}, seed=0)
    with pytest.raises(DataError, match=r"sources\.c has a weight and not one usable"):
        mix(examples, {name: Wish(weight=1) for name in "abc"}, seed=0)
