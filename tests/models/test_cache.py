"""The cache with room, against transformers' own; the shared prefix."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import DynamicCache, MistralConfig
from transformers.cache_utils import DynamicLayer

from tunesmith.models.cache import BLOCK, Prefix, RoomyLayer, common_length, roomy_cache
from tunesmith.models.load import Loaded

KINDS = ("append", "append", "select", "repeat", "crop", "reorder", "reset")
STEPS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 10**6)), max_size=8)


def done(layer: DynamicLayer, step: str, n: int) -> list[torch.Tensor]:
    """Do one step on a layer, drawn from `n` alone; what an append returns."""
    draw, tokens = torch.Generator().manual_seed(n), layer.get_seq_length()
    rows = layer.keys.shape[0] if tokens else 3
    if step == "append":
        keys, values = torch.randn((2, rows, 2, 1 + n % (BLOCK + 3), 4), generator=draw)
        return list(layer.update(keys, values))
    if step == "select":
        layer.batch_select_indices(torch.tensor(sorted({n % rows, (n // 7) % rows})))
    elif step == "repeat":
        layer.batch_repeat_interleave(2)
    elif step == "reorder":
        layer.reorder_cache(torch.randperm(rows, generator=draw))
    elif step == "crop" and tokens > 1:
        layer.crop(-min(1 + n % 4, tokens - 1))
    elif step == "reset":
        layer.reset()
    return []


@given(steps=STEPS)
def test_it_holds_what_a_dynamic_layer_holds(steps: list[tuple[str, int]]) -> None:
    ours, theirs = RoomyLayer(), DynamicLayer()
    for step, n in [("append", 2), *steps]:
        pairs = zip(done(ours, step, n), done(theirs, step, n), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        assert ours.get_seq_length() == theirs.get_seq_length()
    if theirs.get_seq_length():
        assert torch.equal(ours.keys, theirs.keys)
        assert torch.equal(ours.values, theirs.values)


def test_layers_of_other_kinds_stay_as_they_are() -> None:
    config = MistralConfig(num_hidden_layers=2, sliding_window=8)
    kinds = [type(layer) for layer in roomy_cache(config).layers]
    assert kinds == [type(layer) for layer in DynamicCache(config=config).layers]
    assert RoomyLayer not in kinds


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), max_size=5))
def test_common_length(prompts: list[list[int]]) -> None:
    length = common_length(prompts)
    beginnings = {tuple(prompt[:length]) for prompt in prompts}
    assert len(beginnings) <= 1
    if prompts:
        shortest = min(map(len, prompts))
        assert length < shortest
        more = {tuple(prompt[: length + 1]) for prompt in prompts}
        assert length == shortest - 1 or len(more) > 1  # no longer one would do


def test_models_that_forget_share_no_prefix(loaded: Loaded) -> None:
    sliding = MistralConfig(num_hidden_layers=2, sliding_window=8)
    prompts = [[5] * 40 + [6], [5] * 40 + [7]]
    assert Prefix.read(loaded.model, sliding, prompts, loaded.device).length == 0
    assert Prefix.read(loaded.model, loaded.base.config, prompts, loaded.device).length == 40
    assert Prefix.read(loaded.model, loaded.base.config, prompts[:1], loaded.device).length == 0
