"""Batches for short examples: which examples make an optimizer step, and how they are packed.

An *effective batch* is the set of examples of one optimizer step. It depends on the seed alone and
is what the mathematics sees. How it is cut into *micro-batches* is a matter of memory: examples
are packed by best fit, decreasing (Johnson 1974, the heuristic TRL packs by too), into rows of at
most `capacity` tokens; the loss is a sum over answer tokens divided once by their number in the
whole effective batch, so that the cut cannot change it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.models.render import Encoded
from tunesmith.train.prefixes import SHORTEST, Trie, share_prefixes

IGNORED = -100
Lookup = Callable[[Encoded], Tensor | None]  # (tokens, width) of an example; train/trunk.py


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch. Packed: one row of segments, each an example or, where examples share their
    start, a piece of some. Padded (for models whose examples a pack would mix): one row each, with
    an attention mask."""

    input_ids: Tensor  # (rows, tokens)
    position_ids: Tensor  # (rows, tokens), from 0 in each example
    attention_mask: Tensor | None  # (rows, tokens); None when packed
    segments: tuple[int, ...]  # lengths of the pieces in the row; empty when padded
    parents: tuple[int, ...]  # the piece that each continues, -1: none; empty when padded
    predicting: Tensor  # (answers,) flat positions whose next token is supervised
    targets: Tensor  # (answers,) those next tokens
    tokens: int  # of the examples: a shared one counts in each, padding in none
    hidden: Tensor | None = None  # (1, tokens, width) what enters the lowest adapted layer, if kept

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        mask, hidden = self.attention_mask, self.hidden
        return Batch(
            input_ids=self.input_ids.to(device),
            position_ids=self.position_ids.to(device),
            attention_mask=None if mask is None else mask.to(device),
            segments=self.segments,
            parents=self.parents,
            predicting=self.predicting.to(device),
            targets=self.targets.to(device),
            tokens=self.tokens,
            hidden=None if hidden is None else hidden.to(device),
        )


def epoch_order(examples: int, *, seed: int, epoch: int) -> list[int]:
    """The order of one epoch: a permutation that depends on seed and epoch, and on nothing else."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    order: list[int] = torch.randperm(examples, generator=generator).tolist()
    return order


def effective_batches(examples: int, size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Indices of the examples of each optimizer step of an epoch; the last may be smaller."""
    order = epoch_order(examples, seed=seed, epoch=epoch)
    return [order[start : start + size] for start in range(0, examples, size)]


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Pack items into bins of `capacity` by best fit, decreasing; an item over it has its own bin.

    Returns indices by bin. Ties fall by position, so that the result is the same everywhere.
    """
    bins: list[list[int]] = []
    room: list[int] = []
    for item in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        fitting = [b for b in range(len(bins)) if room[b] >= lengths[item]]
        if fitting:
            chosen = min(fitting, key=lambda b: (room[b], b))
        else:
            chosen = len(bins)
            bins.append([])
            room.append(capacity)
        bins[chosen].append(item)
        room[chosen] -= lengths[item]
    return bins


def pack(
    examples: Sequence[Encoded], *, shared: bool = True, hidden: Lookup | None = None
) -> Batch:
    """Put examples behind each other in one row; positions restart with each.

    With `shared`, what several have in common at their start stands there once; without, each
    example is a piece of its own. `hidden` knows what was kept of examples.
    """
    longest = max(len(example.ids) for example in examples)
    trie = share_prefixes([e.ids for e in examples], shortest=SHORTEST if shared else longest + 1)
    predicting: list[int] = []
    targets: list[int] = []
    for example, places in zip(examples, trie.places, strict=True):
        predicting.extend(places[example.answer_start - 1 : -1])
        targets.extend(example.ids[example.answer_start :])
    pieces = list(zip(trie.segments, trie.starts, strict=True))
    return Batch(
        input_ids=torch.tensor([[token for piece, _ in pieces for token in piece]]),
        position_ids=torch.tensor([[start + i for p, start in pieces for i in range(len(p))]]),
        attention_mask=None,
        segments=tuple(len(piece) for piece in trie.segments),
        parents=trie.parents,
        predicting=torch.tensor(predicting, dtype=torch.long),
        targets=torch.tensor(targets, dtype=torch.long),
        tokens=sum(len(example.ids) for example in examples),
        hidden=None if hidden is None else _kept(examples, trie, hidden),
    )


def _kept(examples: Sequence[Encoded], trie: Trie, hidden: Lookup) -> Tensor | None:
    """What is kept of the tokens of a row; None where an example is not among what is kept."""
    kept = [hidden(example) for example in examples]
    row: Tensor | None = None
    for each, places in zip(kept, trie.places, strict=True):
        if each is None:
            return None
        if row is None:
            row = each.new_empty(1, sum(len(s) for s in trie.segments), each.shape[1])
        row[0, list(places)] = each
    return row


def pad(examples: Sequence[Encoded], pad_id: int) -> Batch:
    """One row for each example, padded on the right."""
    width = max(len(example.ids) for example in examples)
    ids = torch.full((len(examples), width), pad_id)
    mask = torch.zeros((len(examples), width), dtype=torch.long)
    predicting: list[int] = []
    targets: list[int] = []
    for row, example in enumerate(examples):
        length = len(example.ids)
        ids[row, :length] = torch.tensor(example.ids)
        mask[row, :length] = 1
        start = row * width + example.answer_start - 1
        predicting.extend(range(start, row * width + length - 1))
        targets.extend(example.ids[example.answer_start :])
    return Batch(
        input_ids=ids,
        position_ids=torch.arange(width).expand(len(examples), -1),
        attention_mask=mask,
        segments=(),
        parents=(),
        predicting=torch.tensor(predicting, dtype=torch.long),
        targets=torch.tensor(targets, dtype=torch.long),
        tokens=int(mask.sum()),
    )


def balance(lengths: Sequence[int], parts: int) -> list[list[int]]:
    """Divide items among `parts` bins of nearly the same sum: the longest first, each to the
    lightest bin (Graham 1969, doi:10.1137/0117039). Returns indices by bin; none is empty."""
    bins: list[list[int]] = [[] for _ in range(min(parts, len(lengths)))]
    loads = [0] * len(bins)
    for item in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        lightest = min(range(len(bins)), key=lambda b: (loads[b], b))
        bins[lightest].append(item)
        loads[lightest] += lengths[item]
    return bins


@dataclass(frozen=True, slots=True)
class BatchBuilder:
    """Cuts an effective batch into micro-batches that fit the memory.

    `rows` is the recipe's per_device_train_batch_size: a micro-batch never holds more tokens than
    that many of the longest examples would, padded. `shared`: common prefixes stand in it once.
    `parts`: each is divided into so many, to be computed side by side. `hidden`: what is kept
    of the layers below the adapters (train/trunk.py).
    """

    rows: int
    longest: int
    packed: bool
    pad_id: int
    shared: bool = True
    parts: int = 1
    hidden: Lookup | None = None

    def micro_batches(self, examples: Sequence[Encoded], *, apart: bool = False) -> Iterator[Batch]:
        """The micro-batches of one effective batch; `apart`: without common prefixes, and cut so
        small that they hold no more tokens than with them."""
        shared = self.shared and not apart
        if self.packed:
            for indices in best_fit([len(e.ids) for e in examples], self.rows * self.longest):
                lengths = [len(examples[i].ids) for i in indices]
                more = 1
                if self.shared and apart:
                    together = pack([examples[i] for i in indices], shared=True, hidden=None)
                    more = -(-sum(lengths) // together.input_ids.shape[1])
                for part in balance(lengths, self.parts * more):
                    some = [examples[indices[i]] for i in part]
                    yield pack(some, shared=shared, hidden=self.hidden)
            return
        rows = -(-self.rows // self.parts)
        by_length = sorted(examples, key=lambda e: len(e.ids), reverse=True)
        for start in range(0, len(by_length), rows):
            yield pad(by_length[start : start + rows], self.pad_id)
