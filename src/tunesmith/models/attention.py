"""Attention over packed examples, without padding and without a mask that is mostly empty.

Examples of one micro-batch stand behind each other in a single row of tokens. A dense block mask
computes all the empty blocks: at 8 examples of 340 tokens, seven eighths of the work. Here each
example attends to itself in a call of its own, so no example can see another, by construction.
The lengths travel as a plain tuple of ints, so that no step waits for the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel

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
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each segment; `segments` are their lengths in tokens.

    Returns (1, tokens, heads, head_dim). Where a layer has a sliding window w, a query sees the w
    last keys, itself among them.
    """
    lengths = list(segments) or [query.shape[2]]
    grouped = query.shape[1] != key.shape[1]
    pieces = []
    for q, k, v in zip(
        query.split(lengths, dim=2),
        key.split(lengths, dim=2),
        value.split(lengths, dim=2),
        strict=True,
    ):
        length = q.shape[2]
        mask = None
        if sliding_window is not None and length > sliding_window:
            position = torch.arange(length, device=q.device)
            distance = position[:, None] - position[None, :]
            mask = (distance >= 0) & (distance < sliding_window)
        pieces.append(
            functional.scaled_dot_product_attention(
                q,
                k,
                v,
                attn_mask=mask,
                dropout_p=dropout,
                is_causal=mask is None,
                scale=scaling,
                enable_gqa=grouped,
            )
        )
    return torch.cat(pieces, dim=2).transpose(1, 2).contiguous(), None


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


@torch.no_grad()
def _stays_apart(model: PreTrainedModel) -> bool:
    """Try it: a packed answer is the lone one, and does not move when its neighbour changes."""
    vocabulary = model.config.get_text_config().vocab_size
    first, second, other = ((torch.arange(20) * 31 + 7) % vocabulary).split([7, 6, 7])

    def logits(*parts: Tensor, **packed: Any) -> Tensor:
        ids = torch.cat(parts)[None].to(model.device)
        return model(input_ids=ids, use_cache=False, **packed).logits[0].float()

    def pack(*parts: Tensor) -> Tensor:
        positions = torch.cat([torch.arange(len(part)) for part in parts])[None]
        return logits(
            *parts,
            position_ids=positions.to(model.device),
            segments=tuple(len(part) for part in parts),
            logits_to_keep=torch.arange(positions.shape[1], device=model.device),
        )

    def near(one: Tensor, two: Tensor) -> bool:
        # Rounding is 1e-6 in float32 and 1e-2 in 16 bit; a neighbour that is seen moves logits by
        # a tenth and more of their size.
        tolerance = 1e-3 if model.dtype == torch.float32 else 0.05
        return float((one - two).norm()) <= tolerance * float(two.norm())

    training = model.training
    model.eval()
    try:
        alone = torch.cat([logits(first), logits(second)])
        with packed_attention_on(model):
            both, beside_another = pack(first, second), pack(other, second)
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False  # its forward takes other arguments, or shapes that the kernel does not
    finally:
        model.train(training)
    return near(both, alone) and near(beside_another[-len(second) :], both[-len(second) :])


@contextmanager
def packed_attention_on(model: PreTrainedModel) -> Iterator[None]:
    """Let `model` attend within segments for the length of the block, then as it did before."""
    before = model.config._attn_implementation
    model.set_attn_implementation(PACKED)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
