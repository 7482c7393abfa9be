"""Batches by length, halved where they fail; left padding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.models.batching import in_batches, out_of_memory, pad_left


@given(
    lengths=st.lists(st.integers(1, 50), max_size=40),
    batch_size=st.integers(1, 12),
    most_tokens=st.none() | st.integers(1, 200),
    bad=st.sets(st.integers(0, 39)),
    memory=st.integers(1, 12),
)
def test_every_index_comes_once_and_only_the_bad_fail(
    lengths: list[int],
    batch_size: int,
    most_tokens: int | None,
    bad: set[int],
    memory: int,
) -> None:
    def work(batch: list[int]) -> list[tuple[int, str]]:
        if len(batch) > memory:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        if bad.intersection(batch):
            raise RuntimeError("this prompt breaks the model")
        return [(i, "") for i in batch]

    batches = list(
        in_batches(
            lengths,
            work,
            batch_size=batch_size,
            failed=lambda i, why: (i, why),
            most_tokens=most_tokens,
        )
    )
    results = dict(one for batch in batches for one in batch)
    assert sum(map(len, batches)) == len(results) == len(lengths)
    assert {i for i, why in results.items() if why} == bad & set(range(len(lengths)))
    assert all(len(batch) <= batch_size for batch in batches)
    if most_tokens is not None:
        assert all(
            len(batch) == 1 or len(batch) * max(lengths[i] for i, _ in batch) <= most_tokens
            for batch in batches
        )
    order = [lengths[i] for batch in batches for i, _ in batch]
    assert order == sorted(lengths, reverse=True)


def test_what_is_no_runtime_error_is_not_hidden() -> None:
    def work(batch: list[int]) -> list[int]:
        raise KeyError("a mistake in the program")

    with pytest.raises(KeyError):
        list(in_batches([1, 2], work, batch_size=2, failed=lambda i, why: i))


def test_a_batch_holds_at_least_one() -> None:
    with pytest.raises(ValueError, match="batch_size"):
        list(in_batches([1], lambda b: b, batch_size=0, failed=lambda i, why: i))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_out_of_memory(error: BaseException, expected: bool) -> None:
    assert out_of_memory(error) is expected


def test_pad_left() -> None:
    ids, mask, positions = pad_left([[7, 8, 9], [4]], 0, torch.device("cpu"))
    assert ids.tolist() == [[7, 8, 9], [0, 0, 4]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert positions.tolist() == [[0, 1, 2], [0, 0, 0]]
