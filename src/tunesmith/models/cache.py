"""A key-value cache that keeps room for what is to come.

transformers' DynamicLayer concatenates at every token, and so copies every key and value of the
batch each time. Here a layer holds room for a block of further tokens and writes into it; the
copy comes once a block. Layers of other kinds (sliding window, recurrent) stay as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

BLOCK = 64  # tokens


# transformers leaves the hook that this line runs, `__init_subclass__`, untyped.
class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values of one layer, (batch, heads, tokens, head_dim), with room behind them.

    `keys` and `values` are views on the filled part, so that whatever reads or replaces those of a
    DynamicLayer (crop, reorder, reset) works on this one too: a room they are no view of any more
    is given up.
    """

    _layer_type = None  # transformers would otherwise register this class in DynamicLayer's place

    keys: Tensor
    values: Tensor
    _room: tuple[Tensor, Tensor] | None = None
    _shown: Tensor | None = None  # the view of the room that `keys` was last

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append (batch, heads, new, head_dim) and return all keys and values so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        filled = self.get_seq_length()
        if filled == 0:
            # Often this is all there will be: room is made when more comes.
            self.keys, self.values = key_states, value_states
            return self.keys, self.values
        total = filled + key_states.shape[-2]
        room = self._room if self._shown is self.keys else None
        if room is None or room[0].shape[-2] < total:
            room = (
                _grown(self.keys, filled, total + BLOCK),
                _grown(self.values, filled, total + BLOCK),
            )
        room[0][:, :, filled:total] = key_states
        room[1][:, :, filled:total] = value_states
        return self._show(room, total)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows of the batch, or repeat them."""
        if self._room is None or self._shown is not self.keys:
            super().batch_select_indices(indices)
            return
        filled = self.get_seq_length()
        self._show((self._room[0][indices], self._room[1][indices]), filled)

    def _show(self, room: tuple[Tensor, Tensor], filled: int) -> tuple[Tensor, Tensor]:
        self._room = room
        self.keys, self.values = room[0][:, :, :filled], room[1][:, :, :filled]
        self._shown = self.keys
        return self.keys, self.values


def _grown(old: Tensor, filled: int, tokens: int) -> Tensor:
    batch, heads, _, head_dim = old.shape
    room = old.new_empty((batch, heads, tokens, head_dim))
    room[:, :, :filled] = old
    return room


def roomy_cache(config: Any) -> DynamicCache:
    """An empty cache for a model with this configuration."""
    cache = DynamicCache(config=config)
    roomy: Callable[[], RoomyLayer] = RoomyLayer
    cache.layers = [roomy() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    if getattr(cache, "layer_class_to_replicate", None) is DynamicLayer:
        cache.layer_class_to_replicate = RoomyLayer
    return cache


class Prefix:
    """The beginning that all prompts share, read once: `length` tokens, their keys and values.

    Only models whose layers all keep every key share a prefix; in others (sliding window,
    recurrent) the padding of the later tokens would come to stand in the state.
    """

    WORTHWHILE = 16  # tokens: a shorter one costs more in copies than it saves

    def __init__(self, length: int, cache: DynamicCache | None) -> None:
        self.length = length
        self._cache = cache

    @classmethod
    @torch.inference_mode()
    def read(
        cls, model: Any, config: Any, prompts: Sequence[Sequence[int]], device: torch.device
    ) -> Prefix:
        """Find what `prompts` (token ids, none empty) share and run `model` over it.

        Each prompt keeps at least one token of its own, so that there is one to go on from.
        """
        length = common_length(prompts)
        cache = roomy_cache(config)
        sharable = all(type(layer) is RoomyLayer for layer in cache.layers) and cache.layers
        if len(prompts) < 2 or length < cls.WORTHWHILE or not sharable:
            return cls(0, None)
        ids = torch.tensor([list(prompts[0][:length])], device=device)
        model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return cls(length, cache)

    def cache(self, config: Any, rows: int) -> DynamicCache:
        """A cache for `rows` prompts, with the prefix in it."""
        if self._cache is None:
            return roomy_cache(config)
        mine = copy.deepcopy(self._cache)
        mine.batch_repeat_interleave(rows)
        return mine


def common_length(prompts: Sequence[Sequence[int]]) -> int:
    """How many first tokens all prompts share, less than the shortest has; 0 for no prompts."""
    if not prompts:
        return 0
    # What the first and the last in order share, all between them share.
    first, last = min(map(tuple, prompts)), max(map(tuple, prompts))
    limit = max(min(len(prompt) for prompt in prompts) - 1, 0)
    pairs = zip(first[:limit], last, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), limit)
