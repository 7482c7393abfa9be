"""Batches of prompts: sorted by length, padded on the left, halved where memory does not suffice.

Prompts of like length share a batch, so that little is padded; the longest come first, so that
a batch too large for the memory shows itself at once and not after an hour.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


def in_batches(
    lengths: Sequence[int],
    work: Callable[[list[int]], list[Result]],
    *,
    batch_size: int,
    failed: Callable[[int, str], Result],
    most_tokens: int | None = None,
) -> Iterator[list[Result]]:
    """Do `work` on batches of indices, longest first, and yield what it returns, batch by batch.

    A batch holds at most `batch_size` prompts and, padded, about `most_tokens` tokens.

    A batch that fails is halved and tried again, so that one prompt takes no other with it; where
    memory did not suffice, the batches behind it start at the smaller size too. What fails alone is
    reported through `failed(index, reason)`. `work` returns one result for each index, in any
    order.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    start, size = 0, batch_size
    while start < len(order):
        if most_tokens is not None:
            size = min(size, max(most_tokens // max(lengths[order[start]], 1), 1))
        batch = order[start : start + size]
        reason = ""
        results: list[Result] = []
        try:
            results = work(batch)
        except (RuntimeError, MemoryError) as error:
            size = max(len(batch) // 2, 1)
            if out_of_memory(error):
                batch_size = size
            reason = f"{type(error).__name__}: {error}".strip()
        if reason:
            # Only now, outside the handler, has the error let go of the tensors in its traceback.
            release_memory()
            if len(batch) > 1:
                continue
            results = [failed(batch[0], reason)]
        yield results
        start += len(batch)
        size = min(batch_size, 2 * size)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, on an accelerator or the host."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text


def release_memory() -> None:
    """Give cached memory of an accelerator back; a host takes its own back without being asked."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


def pad_left(
    prompts: Sequence[Sequence[int]], pad_id: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Prompts as one block: ids, attention mask, position ids, each (batch, longest), int64.

    Positions count from 0 at each prompt's own first token, so that padding changes nothing.
    """
    width = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), width), pad_id)
    mask = torch.zeros((len(prompts), width), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    return ids.to(device), mask.to(device), positions.to(device)
