"""Packed attention in one kernel, for GPUs: what a query sees is two comparisons of integers.

The segments of a pack stand in preorder, each followed by all that continues it. So the queries
that see the key at row k are those from k to the end of what continues its segment: k <= q <
ends[k]. flex_attention (arXiv 2412.05496) computes the blocks in which somebody sees something, and
no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

BLOCK = 128  # flex_attention's own; rows are filled up to it
LEAST_WIDTH = 16  # of a head: narrower ones the kernel does not take

Seen = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Oracle = Callable[..., Tensor]


def subtree_ends(lengths: Sequence[int], parents: Sequence[int]) -> list[int]:
    """For each segment, the row behind the last token of it and of all that continues it.

    Raises ValueError where the segments stand in no preorder.
    """
    stops = list(accumulate(lengths))
    ends = list(stops)
    path: list[int] = []  # the segment before and those that it continues
    for segment, parent in enumerate(parents):
        while path and path[-1] != parent:
            path.pop()
        if parent >= 0 and not path:
            raise ValueError(f"segment {segment} does not stand behind what it continues")
        path.append(segment)
        for above in path:
            ends[above] = stops[segment]
    return ends


def seen_by(
    lengths: Sequence[int], parents: Sequence[int], window: int | None, device: torch.device
) -> Seen:
    """The mask as flex_attention asks for it: does query q see key k?"""
    starts: list[int] = []  # position of each segment's first token in its examples
    for length, parent in zip(lengths, parents, strict=True):
        del length
        starts.append(0 if parent < 0 else starts[parent] + lengths[parent])
    times = torch.tensor(lengths, device=device)
    ends = torch.tensor(subtree_ends(lengths, parents), device=device).repeat_interleave(times)
    rows = torch.arange(len(ends), device=device)
    first = torch.tensor([0, *accumulate(lengths)][:-1], device=device).repeat_interleave(times)
    places = torch.tensor(starts, device=device).repeat_interleave(times) + rows - first

    def causal(batch: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (k <= q) & (q < ends[k])

    if window is None:
        return causal
    reach = window

    def sliding(batch: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return causal(batch, head, q, k) & (places[q] - places[k] < reach)

    return sliding


def block_mask(
    lengths: Sequence[int], parents: Sequence[int], window: int | None, device: torch.device
) -> BlockMask:
    """The mask of a row, filled up to whole blocks: the filling is a segment of its own."""
    tokens = sum(lengths)
    filling = -tokens % BLOCK
    if filling:
        lengths, parents = (*lengths, filling), (*parents, -1)
    rows = tokens + filling
    return create_block_mask(
        seen_by(lengths, parents, window, device), None, None, rows, rows, device=device
    )


def attend(
    query: Tensor,  # (1, heads, tokens, head_dim)
    key: Tensor,  # (1, key-value heads, tokens, head_dim)
    value: Tensor,  # (1, key-value heads, tokens, head_dim)
    mask: BlockMask,
    scaling: float | None,
) -> Tensor:
    """Attention over a packed row: (1, heads, tokens, head_dim)."""
    tokens = query.shape[2]
    fill = (0, 0, 0, -tokens % BLOCK)
    found: Tensor = _kernel(query.device.type)(
        functional.pad(query, fill),
        functional.pad(key, fill),
        functional.pad(value, fill),
        block_mask=mask,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return found[:, :, :tokens]


@cache
def _kernel(device: str) -> Callable[..., Any]:
    """Compiled where there is a kernel to compile; elsewhere torch's own definition of it."""
    plain: Callable[..., Any] = flex_attention
    return torch.compile(plain) if device == "cuda" else plain


@cache
def agrees(
    oracle: Oracle,
    device: torch.device,
    dtype: torch.dtype,
    heads: tuple[int, int],
    width: int,
) -> bool:
    """Whether the kernel compiles on this machine and gives what `oracle` gives, forward and
    backward: tried with a branching row of 300 tokens, once for each kind of layer.

    `heads` are those of queries and of keys. `oracle` takes query, key, value, lengths, parents.
    """
    if width < LEAST_WIDTH:
        return False
    lengths, parents = (70, 90, 40, 60, 40), (-1, 0, 1, 1, -1)
    generator = torch.Generator(device).manual_seed(0)
    trainable = device.type == "cuda"  # on a CPU it has no backward (torch 2.13)

    def drawn(count: int) -> Tensor:
        size = (1, count, sum(lengths), width)
        made = torch.randn(size, generator=generator, device=device, dtype=dtype)
        return made.requires_grad_(trainable)

    inputs = (drawn(heads[0]), drawn(heads[1]), drawn(heads[1]))
    try:
        with torch.enable_grad():
            mask = block_mask(lengths, parents, None, device)
            one, two = attend(*inputs, mask, None), oracle(*inputs, lengths, parents)
            if trainable:
                weight = torch.randn_like(one)
                grads = [torch.autograd.grad(out, inputs, weight) for out in (one, two)]
                return _near(one, two) and all(map(_near, *grads))
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ImportError, OSError):
        return False  # no compiler, or a shape that it does not take
    return _near(one, two)


def _near(one: Tensor, two: Tensor) -> bool:
    """Apart by rounding alone: 1e-3 of the size in float32 (TF32 products), 2e-2 in 16 bits."""
    tolerance = 2e-3 if one.dtype == torch.float32 else 2e-2
    return float((one - two).norm()) <= tolerance * float(two.norm())
