"""Broken graphs: each is refused by the judge of DOT, each comes from one that it accepts."""

from __future__ import annotations

from collections import Counter

import pytest

from tunesmith.data.generate import generate_rows
from tunesmith.data.generate.broken_dot import FAULTS, broken_pairs
from tunesmith.tasks.dot import extract_graph
from tunesmith.tasks.dot.validity import by_grammar, valid_all

PLAIN = 'digraph g {\n  // a -> comment\n  a -> "b -> c" [label="x"];\n  b [shape=box];\n}'
UNDIRECTED = "graph {\n  a -- b [color=red, label=loud];\n}"


def graphs() -> list[str]:
    made = [str(row["output_dot"]) for row in generate_rows("machines", 40, 1, "train")]
    return [*made, PLAIN, UNDIRECTED]


def test_the_judge_refuses_each_broken_text_and_accepts_each_mended_one() -> None:
    pairs = broken_pairs(graphs(), 120, seed=3)
    assert len(pairs) == 120
    assert len({pair.broken for pair in pairs}) == 120
    assert not any(valid_all([pair.broken for pair in pairs]))
    assert not any(by_grammar(pair.broken) for pair in pairs)
    assert all(valid_all([pair.mended for pair in pairs]))
    # As an answer, too, none would pass: what is found in it is not sound either.
    assert not any(valid_all([extract_graph(pair.broken) or "" for pair in pairs]))
    assert {pair.mended for pair in pairs} <= set(graphs())
    assert set(Counter(pair.fault for pair in pairs)) == set(FAULTS)


def test_the_same_pairs_from_the_same_seed() -> None:
    assert broken_pairs(graphs(), 20, seed=1) == broken_pairs(graphs(), 20, seed=1)
    assert broken_pairs(graphs(), 20, seed=1) != broken_pairs(graphs(), 20, seed=2)


def test_a_graph_that_is_not_sound_gives_no_pair() -> None:
    assert broken_pairs(["digraph { a -> ", "no graph"], 5, seed=0) == []
    assert {p.mended for p in broken_pairs(["digraph { a -> ", PLAIN], 5, seed=0)} == {PLAIN}
    assert broken_pairs([], 5, seed=0) == []


def test_where_there_is_little_to_break_fewer_come_back() -> None:
    assert 0 < len(broken_pairs(["graph{}"], 50, seed=0)) < 50


@pytest.mark.parametrize("fault", list(FAULTS))
def test_every_fault_changes_one_place_only(fault: str) -> None:
    for pair in broken_pairs([PLAIN], 40, seed=4):
        if pair.fault != fault:
            continue
        head = next(
            (i for i, (a, b) in enumerate(zip(pair.broken, pair.mended, strict=False)) if a != b),
            min(len(pair.broken), len(pair.mended)),
        )
        tail = next(
            (
                i
                for i, (a, b) in enumerate(
                    zip(reversed(pair.broken), reversed(pair.mended), strict=False)
                )
                if a != b
            ),
            min(len(pair.broken), len(pair.mended)),
        )
        assert len(pair.mended) - head - tail <= 12, pair
