"""The cache with room, against transformers' own; the shared prefix."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import DynamicCache, MistralConfig
from transformers.cache_utils import DynamicLayer

from tunesmith.models.cache import BLOCK, Prefix, RoomyLayer, common_length, roomy_cache
from tunesmith.models.load import Loaded

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, BLOCK + 3)),
        st.tuples(st.just("select"), st.integers(0, 10**6)),
        st.tuples(st.just("repeat"), st.integers(1, 2)),
        st.tuples(st.just("crop"), st.integers(1, 4)),
        st.tuples(st.just("reorder"), st.integers(0, 10**6)),
        st.tuples(st.just("reset"), st.just(0)),
    ),
    max_size=8,
)


@given(steps=STEPS)
def test_it_holds_what_a_dynamic_layer_holds(steps: list[tuple[str, int]]) -> None:
    ours, theirs = RoomyLayer(), DynamicLayer()
    rows, draw = 3, torch.Generator().manual_seed(0)
    for step, n in [("append", 2), *steps]:
        tokens = theirs.get_seq_length()
        if step == "append":
            keys, values = torch.randn((2, rows, 2, n, 4), generator=draw)
            got, wanted = ours.update(keys, values), theirs.update(keys.clone(), values.clone())
            assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
        elif step == "select":
            index = torch.tensor(sorted({n % rows, (n // 7) % rows}))
            rows = rows if tokens == 0 else len(index)
            for layer in (ours, theirs):
                layer.batch_select_indices(index)
        elif step == "repeat":
            rows = rows if tokens == 0 else rows * n
            for layer in (ours, theirs):
                layer.batch_repeat_interleave(n)
        elif step == "crop" and tokens > n:
            for layer in (ours, theirs):
                layer.crop(-n)
        elif step == "reorder":
            order = torch.randperm(rows, generator=draw)
            for layer in (ours, theirs):
                layer.reorder_cache(order)
        elif step == "reset":
            for layer in (ours, theirs):
                layer.reset()
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
