"""The one kernel's mask and its result against attention segment by segment.

There is no backward on a CPU (torch 2.13), so gradients are compared by the trial that every GPU is
put to before the kernel is used (`flex.agrees`).
"""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import create_mask

from tunesmith.models import flex
from tunesmith.models.attention import _plainly, fits_one_kernel, packed_attention
from tunesmith.train.prefixes import share_prefixes

CPU = torch.device("cpu")
# Outside torch.compile the kernel is its own definition, slowly: here that is what is wanted.
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without:UserWarning")


@st.composite
def tries(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Lengths and parents in preorder: each segment continues one on the way to the one before."""
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=8))
    parents: list[int] = []
    path: list[int] = []
    for segment in range(len(lengths)):
        depth = draw(st.integers(0, len(path)))
        path = path[:depth]
        parents.append(path[-1] if path else -1)
        path.append(segment)
    return lengths, parents


def by_definition(lengths: list[int], parents: list[int], window: int | None) -> torch.Tensor:
    """Row by row: a query sees the tokens of its own segment up to itself, and of those before."""
    firsts = [0, *itertools.accumulate(lengths)]
    seen = torch.zeros(sum(lengths), sum(lengths), dtype=torch.bool)
    for segment, length in enumerate(lengths):
        chain, above = [], parents[segment]
        while above >= 0:
            chain = [*range(firsts[above], firsts[above + 1]), *chain]
            above = parents[above]
        for i in range(length):
            q = firsts[segment] + i
            example = [*chain, *range(firsts[segment], q + 1)]
            seen[q, example[-window:] if window else example] = True
    return seen


@given(tries(), st.sampled_from([None, 1, 3]))
def test_the_mask_is_its_definition(trie: tuple[list[int], list[int]], window: int | None) -> None:
    lengths, parents = trie
    tokens = sum(lengths)
    asked = flex.seen_by(lengths, parents, window, CPU)
    mask = create_mask(asked, 1, 1, tokens, tokens, device="cpu")[0, 0]
    assert torch.equal(mask, by_definition(lengths, parents, window))


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=6), min_size=1, max_size=8))
def test_packs_stand_in_the_order_that_the_mask_needs(examples: list[list[int]]) -> None:
    trie = share_prefixes(examples, shortest=1)
    ends = flex.subtree_ends([len(s) for s in trie.segments], trie.parents)
    for row, places in enumerate(trie.places):
        assert [trie_token(trie.segments, place) for place in places] == examples[row]
    assert max(ends) == sum(len(s) for s in trie.segments)


def trie_token(segments: tuple[tuple[int, ...], ...], place: int) -> int:
    return [token for segment in segments for token in segment][place]


def test_segments_in_another_order_are_refused() -> None:
    with pytest.raises(ValueError, match="segment 2 does not stand behind what it continues"):
        flex.subtree_ends((2, 2, 2), (-1, -1, 0))


@pytest.mark.parametrize("window", [None, 20])
@pytest.mark.parametrize("heads", [(4, 4), (4, 2)])
@torch.no_grad()
def test_it_gives_what_the_segments_give(heads: tuple[int, int], window: int | None) -> None:
    torch.manual_seed(0)
    lengths, parents = (70, 90, 40, 60, 41), (-1, 0, 1, 1, -1)
    query = torch.randn(1, heads[0], sum(lengths), 16)
    key, value = torch.randn(2, 1, heads[1], sum(lengths), 16).unbind()
    mask = flex.block_mask(lengths, parents, window, CPU)
    found = flex.attend(query, key, value, mask, 0.3)
    expected, _ = packed_attention(
        torch.nn.Identity(),
        query,
        key,
        value,
        None,
        scaling=0.3,
        segments=lengths,
        parents=parents,
        sliding_window=window,
    )
    torch.testing.assert_close(found.transpose(1, 2), expected, atol=2e-6, rtol=1e-5)


def test_the_trial_tells_right_from_wrong() -> None:
    query, key = torch.randn(1, 4, 8, 16), torch.randn(1, 2, 8, 16)
    assert fits_one_kernel(query, key)
    assert not fits_one_kernel(query[..., :8], key[..., :8])  # heads that it does not take

    def mixed(q, k, v, lengths, parents):  # type: ignore[no-untyped-def]
        return _plainly(q, k, v, (sum(lengths),), (-1,))

    assert not flex.agrees(mixed, CPU, torch.float32, (4, 2), 16)
