"""The trie of shared starts: every example is found again along its branch, and nothing is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.train.prefixes import Trie, share_prefixes

# Few different tokens, so that starts are shared often and on several levels.
sequences = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=14), max_size=12)


def branch(trie: Trie, segment: int) -> list[int]:
    """The segments from the beginning of an example to this one."""
    above = [] if trie.parents[segment] < 0 else branch(trie, trie.parents[segment])
    return [*above, segment]


@given(sequences, st.integers(1, 5))
def test_every_example_stands_along_one_branch(examples: list[list[int]], shortest: int) -> None:
    trie = share_prefixes(examples, shortest)
    row = [token for segment in trie.segments for token in segment]
    owner = [i for i, segment in enumerate(trie.segments) for _ in segment]
    assert [[row[place] for place in places] for places in trie.places] == examples
    for places in trie.places:
        path = branch(trie, owner[places[-1]])
        assert list(dict.fromkeys(owner[place] for place in places)) == path
        starts = [places.index(next(p for p in places if owner[p] == s)) for s in path]
        assert starts == [trie.starts[s] for s in path]


@given(sequences)
def test_with_no_least_length_a_row_holds_each_distinct_start_once(
    examples: list[list[int]],
) -> None:
    trie = share_prefixes(examples, 1)
    starts = {tuple(e[: i + 1]) for e in examples for i in range(len(e))}
    assert sum(map(len, trie.segments)) == len(starts)


@given(sequences, st.integers(1, 5))
def test_a_shared_piece_is_never_shorter_than_asked(
    examples: list[list[int]], shortest: int
) -> None:
    trie = share_prefixes(examples, shortest)
    shared = set(trie.parents) - {-1}
    assert all(len(trie.segments[segment]) >= shortest for segment in shared)


def test_what_shares_nothing_keeps_its_order() -> None:
    trie = share_prefixes([(3, 1), (2, 2, 2), (1,)], 1)
    assert trie.segments == ((3, 1), (2, 2, 2), (1,))
    assert trie.parents == (-1, -1, -1)
