"""nano's first weights: a circuit that repeats what came after the last time it saw this token.

A model of this size needs tens of millions of tokens to find out how to copy (Olsson et al.,
"In-context learning and induction heads", 2022), and copying is most of what its tasks ask. So it
starts with the circuit in place, in the manner of mimetic initialisation (Trockman and Kolter,
2023), and training has only to learn when to use it:

- layer 0, head 0 looks one token back and writes what it finds into a subspace of its own; head 1
  does so two tokens back. All embeddings share a direction, so that queries and keys made from it
  depend on nothing but the distance, through the rotary angles.
- in each later layer but the last, head 0 compares the current token with what stands in that
  subspace, in the slowly turning rotary pairs only, so that distance hardly counts; it copies a
  block of what it attends to. The tied output embedding reads it as a prediction.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

SHARED = 0.4  # share of the common direction in every embedding
EMBEDDING_NORM = 0.5
BACK_SCORE = 12.0  # attention score of the place looked back to, above the others
BACK_WEIGHTS = (1.0, 1.0, 1.0, 0.7, 0.5, 0.5)  # of the fastest rotary pairs
BACK_GAIN = 0.06
MATCH, COPY_GAIN = 2.5, 0.8
SLOW = 0.006  # radians a token: below it a rotary pair hardly turns within a prompt
QUIET = 0.1  # what is left of the random weights of a wired head


@torch.no_grad()
def wire(model: Any, *, seed: int) -> None:
    """Write the circuit into a fresh LlamaForCausalLM with tied embeddings, in place."""
    config = model.config
    width, layers, heads = config.hidden_size, model.model.layers, config.num_attention_heads
    size = config.head_dim
    draw = torch.Generator().manual_seed(seed)
    common = _unit(torch.randn(width, generator=draw))
    _embeddings(model.model.embed_tokens.weight, common, draw)
    for name, weight in model.named_parameters():
        if weight.ndim == 2 and "embed" not in name:
            scale = 0.5 / math.sqrt(weight.shape[1])
            last = "o_proj" in name or "down_proj" in name
            weight.copy_(torch.randn(weight.shape, generator=draw) * scale * (0.2 if last else 1.0))
    content, behind, copied = (_basis(width, draw) for _ in range(3))
    content = content - torch.outer(common, common @ content)
    rates = _rates(config.rope_parameters["rope_theta"], size)
    for back in (1, 2):
        head = _Head(layers[0].self_attn, back - 1, size)
        head.look_back(back, common * SHARED * math.sqrt(width), rates)
        block = behind[:, (back - 1) * size : back * size]
        head.pass_on(content[:, :size], block, BACK_GAIN)
    slow = [i for i, rate in enumerate(rates.tolist()) if rate < SLOW]
    rows = slow + [i + size // 2 for i in slow]
    for at, layer in enumerate(layers[1:-1]):
        head = _Head(layer.self_attn, 0, size)
        head.match(content[:, : len(rows)], behind[:, : len(rows)], rows)
        block = copied[:, (at % heads) * size : (at % heads + 1) * size]
        head.pass_on(block, block, COPY_GAIN)


class _Head:
    """The weights of one attention head; each is a view into its layer."""

    def __init__(self, attention: Any, head: int, size: int) -> None:
        part = slice(head * size, (head + 1) * size)
        self.size = size
        self.query: Tensor = attention.q_proj.weight[part]  # (size, width)
        self.key: Tensor = attention.k_proj.weight[part]
        self.value: Tensor = attention.v_proj.weight[part]
        self.out: Tensor = attention.o_proj.weight[:, part]  # (width, size)
        self.query.mul_(QUIET)
        self.key.mul_(QUIET)

    def look_back(self, distance: int, common: Tensor, rates: Tensor) -> None:
        """Attend to the token `distance` places back: score sum of cos(rate * (d - distance))."""
        reader = common / common.dot(common) * math.sqrt(BACK_SCORE * math.sqrt(self.size))
        half = self.size // 2
        for i, weight in enumerate(BACK_WEIGHTS):
            angle = -distance * float(rates[i])
            self.key[i] += weight * reader
            self.query[i] += weight * math.cos(angle) * reader
            self.query[i + half] += weight * math.sin(angle) * reader

    def match(self, query: Tensor, key: Tensor, rows: list[int]) -> None:
        """Attend where `key` reads what `query` reads here; columns of (width, n) bases."""
        for column, row in enumerate(rows):
            self.query[row] += MATCH * query[:, column]
            self.key[row] += MATCH * key[:, column]

    def pass_on(self, read: Tensor, write: Tensor, gain: float) -> None:
        """Carry what `read` (width, size) sees into the subspace `write` (width, size)."""
        self.value.copy_(read.T)
        self.out.copy_(write * gain)


def _embeddings(weight: Tensor, common: Tensor, draw: torch.Generator) -> None:
    """Random directions of one length, all with the same share of the common one."""
    rows = torch.randn(weight.shape, generator=draw)
    rows -= torch.outer(rows @ common, common)
    rows = math.sqrt(1 - SHARED**2) * rows / rows.norm(dim=1, keepdim=True) + SHARED * common
    weight.copy_(rows * EMBEDDING_NORM)


def _rates(theta: float, size: int) -> Tensor:
    """Radians a token of each rotary pair, the fastest first (Su et al., 2021)."""
    half = size // 2
    rates: Tensor = theta ** (-torch.arange(half) / half)
    return rates


def _basis(width: int, draw: torch.Generator) -> Tensor:
    """A random orthonormal basis, one vector a column."""
    basis: Tensor = torch.linalg.qr(torch.randn(width, width, generator=draw))[0]
    return basis


def _unit(vector: Tensor) -> Tensor:
    unit: Tensor = vector / vector.norm()
    return unit
