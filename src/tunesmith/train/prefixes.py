"""What examples of a pack share at their start, computed once: their token trie, cut into segments.

Every access decision opens with the same instructions; a causal model gives those tokens the same
hidden states in every example. So a pack holds each shared prefix once, and what follows attends to
its own prefix (`models/attention.py`). The idea is that of serving (Hydragen, arXiv 2402.05099;
RadixAttention, 2312.07104). It is exact in training as well: a shared token's gradient is the sum
over the examples that share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

SHORTEST = 16  # tokens; a shorter shared piece costs more in calls of the attention than it saves


@dataclass(frozen=True, slots=True)
class Trie:
    """Segments of a packed row, a parent always before its children, and where each example is."""

    segments: tuple[tuple[int, ...], ...]  # tokens of each
    parents: tuple[int, ...]  # index of the segment that each continues; -1: none
    starts: tuple[int, ...]  # position of a segment's first token in its examples
    places: tuple[tuple[int, ...], ...]  # for each example, where its tokens stand in the row


def share_prefixes(examples: Sequence[Sequence[int]], shortest: int = SHORTEST) -> Trie:
    """The trie of the examples' tokens; a piece is shared where it has `shortest` tokens or more.

    Branches stand in the order of their first examples: what shares nothing keeps its order.
    """
    order = sorted(range(len(examples)), key=lambda i: (tuple(examples[i]), i))
    common = [_common(examples[a], examples[b]) for a, b in pairwise(order)]
    segments: list[tuple[int, ...]] = []
    parents: list[int] = []
    starts: list[int] = []
    places: list[tuple[int, ...]] = [()] * len(examples)
    used = 0

    def emit(tokens: Sequence[int], start: int, parent: int) -> tuple[int, ...]:
        """Append a segment; returns where its tokens stand."""
        nonlocal used
        segments.append(tuple(tokens))
        parents.append(parent)
        starts.append(start)
        used += len(tokens)
        return tuple(range(used - len(tokens), used))

    # Rows low to high of `order` share their first `depth` tokens, which stand at `behind`.
    pending: list[tuple[int, int, int, int, tuple[int, ...]]] = [(0, len(order), 0, -1, ())]
    while order and pending:
        low, high, depth, parent, behind = pending.pop()
        first = examples[order[low]]
        shared = min(common[low : high - 1], default=len(first))
        alone = high - low == 1
        if shared > depth and (alone or shared - depth >= shortest):
            behind += emit(first[depth:shared], depth, parent)
            depth, parent = shared, len(segments) - 1
        if alone:
            places[order[low]] = behind
            continue
        cuts = [i + 1 for i in range(low, high - 1) if common[i] < depth + shortest]
        groups = zip([low, *cuts], [*cuts, high], strict=True)
        for start, end in sorted(groups, key=lambda g: min(order[g[0] : g[1]]), reverse=True):
            pending.append((start, end, depth, parent, behind))
    return Trie(tuple(segments), tuple(parents), tuple(starts), tuple(places))


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common prefix."""
    shorter = min(len(a), len(b))
    return next((i for i in range(shorter) if a[i] != b[i]), shorter)
