"""A key-value cache that keeps room for what is to come.

transformers' DynamicLayer concatenates at every token, and so copies every key and value of the
batch each time. Here a layer holds room for a block of further tokens and writes into it; the
copy comes once a block. Layers of other kinds (sliding window, recurrent) stay as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

BLOCK = 64


class RoomyLayer(DynamicLayer):
    """Keys and values of one layer, (batch, heads, tokens, head_dim), with room behind them.

    `keys` and `values` are views on the filled part, so that whatever reads a DynamicLayer reads
    this one too.
    """

    _layer_type = None  # transformers would otherwise register this class in DynamicLayer's place

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._room: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append (batch, heads, new, head_dim) and return all keys and values so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        filled = self.get_seq_length()
        total = filled + key_states.shape[-2]
        if self._room is None or self._room[0].shape[-2] < total:
            self._room = (
                _grown(self.keys, filled, key_states, total + BLOCK),
                _grown(self.values, filled, value_states, total + BLOCK),
            )
        keys, values = self._room
        keys[:, :, filled:total] = key_states
        values[:, :, filled:total] = value_states
        self.keys, self.values = keys[:, :, :total], values[:, :, :total]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows of the batch."""
        super().batch_select_indices(indices)
        self._room = None

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row of the batch."""
        super().batch_repeat_interleave(repeats)
        self._room = None

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Put the rows of the batch in another order."""
        super().reorder_cache(beam_idx)
        self._room = None

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens (a count, given as a negative number)."""
        super().crop(tokens_to_remove)
        self._room = None

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self._room = None


def _grown(old: Tensor, filled: int, like: Tensor, tokens: int) -> Tensor:
    batch, heads, _, head_dim = like.shape
    room = torch.empty((batch, heads, tokens, head_dim), dtype=like.dtype, device=like.device)
    if filled:
        room[:, :, :filled] = old
    return room


def roomy_cache(config: Any) -> DynamicCache:
    """An empty cache for a model with this configuration."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    if getattr(cache, "layer_class_to_replicate", None) is DynamicLayer:
        cache.layer_class_to_replicate = RoomyLayer
    return cache
