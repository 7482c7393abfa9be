"""Batches: nothing lost, nothing twice, the same answer tokens however a batch is cut."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.models.render import Encoded
from tunesmith.train.batches import (
    Batch,
    BatchBuilder,
    balance,
    best_fit,
    effective_batches,
    epoch_order,
    pack,
    pad,
)

encodings = st.builds(
    lambda ids, cut: Encoded(tuple(ids), 1 + cut % (len(ids) - 1)),
    st.lists(st.integers(1, 99), min_size=2, max_size=30),
    st.integers(0, 1000),
)
PAD = 0
PARTS = st.integers(1, 3)


def supervised(batch: Batch) -> list[tuple[int, int, int]]:
    """(position in its example, token there, token to predict) for every supervised token."""
    ids, positions = batch.input_ids.flatten(), batch.position_ids.flatten()
    return [
        (int(positions[i]), int(ids[i]), int(target))
        for i, target in zip(batch.predicting, batch.targets, strict=True)
    ]


def by_hand(example: Encoded) -> list[tuple[int, int, int]]:
    pairs = zip(example.ids, example.ids[1:], strict=False)
    all_ = [(i, here, there) for i, (here, there) in enumerate(pairs)]
    return all_[example.answer_start - 1 :]


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 50))
def test_best_fit_places_every_item_once_and_overfills_no_bin(
    lengths: list[int], capacity: int
) -> None:
    bins = best_fit(lengths, capacity)
    assert sorted(i for items in bins for i in items) == list(range(len(lengths)))
    for items in bins:
        assert sum(lengths[i] for i in items) <= capacity or len(items) == 1


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_best_fit_never_leaves_two_bins_that_fit_together(lengths: list[int]) -> None:
    loads = sorted(sum(lengths[i] for i in items) for items in best_fit(lengths, 50))
    assert len(loads) < 2 or loads[0] + loads[1] > 50


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(1, 5))
def test_balanced_parts_hold_every_item_once_and_differ_by_one_item_at_most(
    lengths: list[int], parts: int
) -> None:
    bins = balance(lengths, parts)
    assert sorted(i for items in bins for i in items) == list(range(len(lengths)))
    loads = [sum(lengths[i] for i in items) for items in bins]
    # Graham's argument: whoever got the last item was the lightest before it.
    assert max(loads) - min(loads) <= max(lengths)
    assert all(bins)


@given(st.integers(1, 200), st.integers(1, 17), st.integers(0, 2**40), st.integers(0, 50))
def test_an_epoch_sees_every_example_once_in_an_order_of_its_seed(
    examples: int, size: int, seed: int, epoch: int
) -> None:
    batches = effective_batches(examples, size, seed=seed, epoch=epoch)
    flat = [i for batch in batches for i in batch]
    assert sorted(flat) == list(range(examples))
    assert flat == epoch_order(examples, seed=seed, epoch=epoch)
    assert all(len(batch) == size for batch in batches[:-1])


def test_epochs_and_seeds_differ_in_their_order() -> None:
    orders = [epoch_order(50, seed=s, epoch=e) for s in range(3) for e in range(3)]
    assert len({tuple(order) for order in orders}) == 9


@given(st.lists(encodings, min_size=1, max_size=8))
def test_packed_and_padded_batches_supervise_the_answers_and_nothing_else(
    examples: list[Encoded],
) -> None:
    expected = [triple for example in examples for triple in by_hand(example)]
    for batch in (pack(examples), pack(examples, shared=False), pad(examples, PAD)):
        assert supervised(batch) == expected
        assert batch.tokens == sum(len(e.ids) for e in examples)


@given(st.lists(encodings, min_size=1, max_size=8))
def test_padding_is_masked_and_every_real_token_is_not(examples: list[Encoded]) -> None:
    batch = pad(examples, PAD)
    assert batch.attention_mask is not None
    assert torch.equal(batch.attention_mask, (batch.input_ids != PAD).long())


@given(st.lists(encodings, min_size=1, max_size=12), st.integers(1, 9), st.booleans(), PARTS)
def test_micro_batches_hold_each_example_of_the_effective_batch_once(
    examples: list[Encoded], rows: int, packed: bool, parts: int
) -> None:
    longest = max(len(e.ids) for e in examples)
    builder = BatchBuilder(rows=rows, longest=longest, packed=packed, pad_id=PAD, parts=parts)
    batches = list(builder.micro_batches(examples))
    found = sorted(triple for batch in batches for triple in supervised(batch))
    assert found == sorted(triple for example in examples for triple in by_hand(example))
    assert sum(batch.tokens for batch in batches) == sum(len(e.ids) for e in examples)
    # The bound that the recipe's batch size stands for: no more tokens than `rows` longest ones.
    assert all(batch.input_ids.numel() <= rows * longest for batch in batches)
