"""Attention over packed examples, without padding and without a mask that is mostly empty.

Examples of one micro-batch stand behind each other in a single row of tokens. A dense block mask
computes all the empty blocks: at 8 examples of 340 tokens, seven eighths of the work. Here each
segment attends in a call of its own to itself and to the segments that it continues (a prefix that
several examples share stands in the row once), so no example can see another, by construction.
Lengths and parents travel as plain tuples of ints, so that no step waits for the device.

On a GPU the calls are one: the mask of the whole row, in `flex`, where a trial of its kernel gives
what the calls give.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface, PretrainedConfig, PreTrainedModel

from tunesmith.models import flex

PACKED = "tunesmith_packed"


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,  # (1, heads, tokens, head_dim)
    key: Tensor,  # (1, key-value heads, tokens, head_dim)
    value: Tensor,  # (1, key-value heads, tokens, head_dim)
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    segments: Sequence[int] = (),
    parents: Sequence[int] = (),
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each segment and over the segments before it that it continues.

    `segments` are their lengths in tokens; `parents` the index of the one that each continues, or
    -1, always an earlier one; without `parents` none continues another. Returns (1, tokens, heads,
    head_dim). Where a layer has a sliding window w, a query sees the w last keys of its example,
    itself among them.
    """
    lengths = tuple(segments) or (query.shape[2],)
    before = tuple(parents) or (-1,) * len(lengths)
    if query.is_cuda and dropout == 0 and fits_one_kernel(query, key):
        whole = _kept.get(
            ("one kernel", lengths, before, query.device),
            sliding_window,
            lambda: flex.block_mask(lengths, before, sliding_window, query.device),
        )
        found = flex.attend(query, key, value, whole, scaling)
    else:
        masks = _kept.get(
            ("by segments", lengths, before, query.dtype, query.device),
            sliding_window,
            lambda: _masks(lengths, before, sliding_window, query.dtype, query.device),
        )
        found = _by_segments(query, key, value, lengths, before, masks, scaling, dropout)
    return found.transpose(1, 2).contiguous(), None


def fits_one_kernel(query: Tensor, key: Tensor) -> bool:
    """Whether this machine computes such a layer in one kernel (models/flex.py), found by trial."""
    heads = (query.shape[1], key.shape[1])
    return flex.agrees(_plainly, query.device, query.dtype, heads, query.shape[3])


def _plainly(
    query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...], parents: tuple[int, ...]
) -> Tensor:
    masks = _masks(lengths, parents, None, query.dtype, query.device)
    return _by_segments(query, key, value, lengths, parents, masks)


def _by_segments(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: tuple[int, ...],
    parents: tuple[int, ...],
    masks: Sequence[Tensor | None],
    scaling: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """A call for each segment: (1, heads, tokens, head_dim)."""
    keys: list[Tensor] = []  # of each segment, those of its whole example up to its end
    values: list[Tensor] = []
    pieces = []
    for q, k, v, parent, mask in zip(
        torch.split(query, list(lengths), dim=2),
        torch.split(key, list(lengths), dim=2),
        torch.split(value, list(lengths), dim=2),
        parents,
        masks,
        strict=True,
    ):
        keys.append(k if parent < 0 else torch.cat((keys[parent], k), dim=2))
        values.append(v if parent < 0 else torch.cat((values[parent], v), dim=2))
        pieces.append(
            functional.scaled_dot_product_attention(
                q,
                keys[-1],
                values[-1],
                attn_mask=mask,
                dropout_p=dropout,
                is_causal=mask is None,
                scale=scaling,
                enable_gqa=query.shape[1] != key.shape[1],
            )
        )
    return torch.cat(pieces, dim=2)


def _masks(
    lengths: tuple[int, ...],
    parents: tuple[int, ...],
    window: int | None,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor | None, ...]:
    """What each segment adds to its scores, (queries, keys): 0 where a query sees a key, else -inf;
    None where the kernel's own causal mask says the same."""
    masks: list[Tensor | None] = []
    reach: list[int] = []  # keys of each segment's example up to its end
    for length, parent in zip(lengths, parents, strict=True):
        keys = length + (reach[parent] if parent >= 0 else 0)
        reach.append(keys)
        if keys == length and (window is None or keys <= window):
            masks.append(None)
            continue
        seen = torch.ones(length, keys, dtype=torch.bool, device=device).tril(keys - length)
        if window is not None:
            seen = seen.triu(keys - length - window + 1)
        hidden = torch.full((length, keys), -torch.inf, dtype=dtype, device=device)
        masks.append(hidden.masked_fill_(seen, 0.0))
    return tuple(masks)


class _Kept(threading.local):
    """The masks of the pack in hand, a thread's own: every layer asks for the same ones, with or
    without its window."""

    def __init__(self) -> None:
        self.pack: object = None
        self.by_window: dict[int | None, Any] = {}

    def get(self, pack: object, window: int | None, make: Callable[[], Any]) -> Any:
        """The mask of a pack with that window, kept or made now."""
        if pack != self.pack:
            self.pack, self.by_window = pack, {}
        if window not in self.by_window:
            self.by_window[window] = make()
        return self.by_window[window]


_kept = _Kept()


AttentionInterface.register(PACKED, packed_attention)


def can_pack(model: PreTrainedModel) -> bool:
    """Whether the examples of a pack stay apart in this model: by its configuration, and by trial.

    The configuration rules out what carries state along the row (recurrent and convolutional
    layers) and attention that the kernel here does not compute (soft-capped logits). It cannot tell
    whether a model hands the lengths down to its attention: in transformers 5.23 Nemotron says that
    it takes any attention and mixes the examples. So the model is asked, with a dozen tokens.
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    plain = kinds <= {"full_attention", "sliding_attention"}
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    recurrent = any(
        hasattr(config, key) for key in ("ssm_cfg", "state_size", "mamba_d_state", "conv_kernel")
    )
    supported = bool(getattr(model, "_supports_attention_backend", False))
    return plain and supported and not (capped or recurrent) and _stays_apart(model)


def _windows(config: PretrainedConfig) -> set[int]:
    """The sliding windows, in tokens, that the configuration speaks of."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    slides = kinds is None or "sliding_attention" in kinds
    return {int(window)} if window is not None and slides else set()


@torch.no_grad()
def _stays_apart(model: PreTrainedModel) -> bool:
    """Try it: a packed answer is the lone one, and does not move when its neighbour changes."""
    vocabulary = model.config.get_text_config().vocab_size
    first, second, other = ((torch.arange(20) * 31 + 7) % vocabulary).split([7, 6, 7])
    continued = torch.cat((first[:4], other[4:]))
    expected = _windows(model.config.get_text_config())

    def logits(*parts: Tensor, **packed: Any) -> Tensor:
        ids = torch.cat(parts)[None].to(model.device)
        found: Tensor = model(input_ids=ids, use_cache=False, **packed).logits[0].float()
        return found

    def pack(*parts: Tensor) -> Tensor:
        positions = torch.cat([torch.arange(len(part)) for part in parts])[None]
        return logits(
            *parts,
            position_ids=positions.to(model.device),
            segments=tuple(len(part) for part in parts),
            logits_to_keep=torch.arange(positions.shape[1], device=model.device),
        )

    def tree() -> Tensor:
        """`first` and `continued`, their first four tokens once."""
        positions = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 4, 5, 6]], device=model.device)
        found = logits(
            first,
            other[4:],
            position_ids=positions,
            segments=(4, 3, 3),
            parents=(-1, 0, 0),
            logits_to_keep=torch.arange(10, device=model.device),
        )
        return torch.cat((found[:7], found[:4], found[7:]))

    def near(one: Tensor, two: Tensor) -> bool:
        # Rounding is 1e-6 in float32 and 1e-2 in 16 bit; a neighbour that is seen moves logits by
        # a tenth and more of their size.
        tolerance = 1e-3 if model.dtype == torch.float32 else 0.05
        return float((one - two).norm()) <= tolerance * float(two.norm())

    training = model.training
    model.train(False)
    try:
        alone = torch.cat([logits(first), logits(second)])
        split = torch.cat([logits(first), logits(continued)])
        with packed_attention_on(model):
            both, beside_another, shared = pack(first, second), pack(other, second), tree()
            windows = {window for window in _kept.by_window if window is not None}
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False  # its forward takes other arguments, or shapes that the kernel does not
    finally:
        model.train(training)
    return (
        windows >= expected  # a window that stands in the model's own mask alone would be lost
        and near(both, alone)
        and near(shared, split)
        and near(beside_another[-len(second) :], both[-len(second) :])
    )


@torch.no_grad()
def is_deterministic(model: Any) -> bool:
    """Whether the model draws nothing at random in training mode: no dropout of any kind, be it a
    module's or a function's. A dozen tokens are tried: did they move the random generator?

    With dropout, examples that share a prefix would share its mask; apart they would not.
    """
    device = next(model.parameters()).device
    cuda = device.type == "cuda"
    state = partial(torch.cuda.get_rng_state, device) if cuda else torch.get_rng_state
    rows = model.get_input_embeddings().num_embeddings
    ids = (torch.arange(12, device=device) * 31 + 7)[None] % rows
    training = model.training
    model.train()
    try:
        with torch.random.fork_rng([device] if cuda else []):
            before = state()
            model(input_ids=ids, use_cache=False)
            return torch.equal(before, state())
    finally:
        model.train(training)


@contextmanager
def packed_attention_on(model: PreTrainedModel) -> Iterator[None]:
    """Let `model` attend within segments for the length of the block, then as it did before."""
    before = model.config._attn_implementation
    model.set_attn_implementation(PACKED)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
