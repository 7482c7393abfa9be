"""The low-rank path without its full-size temporaries: W x + s·B A x in the adapter's own layers.

PEFT computes `base(x) + lora_B(lora_A(dropout(x))) * scaling`: two passes over the whole output
forward and two backward that do nothing but scale and add; on a CPU they were measured to be a
fifth of a training step. Here the scale rides on the product and the sum lands in place. The
mathematics is PEFT's; results agree to rounding (tests/train/test_fused.py). Layers with dropout,
DoRA, several active adapters or merged weights keep PEFT's own forward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Listener = Callable[[Tensor, Tensor], None]  # A x and the loss's gradient there, (tokens, r) each
Listening = Callable[[LoraLayer], Listener | None]


def _nobody(_: LoraLayer) -> Listener | None:
    return None


class _LowRankLinear(torch.autograd.Function):
    """y = W x + bias + s·B A x with W frozen; saves x and A x."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,  # (tokens, d_in)
        weight: Tensor,  # (d_out, d_in)
        bias: Tensor | None,
        a: Tensor,  # (r, d_in)
        b: Tensor,  # (d_out, r)
        scale: float,
        listen: Listener | None,
    ) -> Tensor:
        low = x @ a.T  # (tokens, r)
        y = nn.functional.linear(x, weight, bias)
        y.addmm_(low, b.T, alpha=scale)
        ctx.save_for_backward(x, weight, a, b, low)
        ctx.scale, ctx.listen = scale, listen
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads  # (tokens, d_out)
        x, weight, a, b, low = ctx.saved_tensors
        delta = (grad @ b).mul_(ctx.scale)  # (tokens, r): the loss's gradient at A x
        if ctx.listen is not None:
            ctx.listen(low, delta)
        into_x = None
        if ctx.needs_input_grad[0]:
            into_x = grad @ weight
            into_x.addmm_(delta, a)
        return into_x, None, None, delta.T @ x, (grad.T @ low).mul_(ctx.scale), None, None


class _LowRankAdd(torch.autograd.Function):
    """y + s·B A x for a y that came from any base layer (a 4-bit one, say), added in place."""

    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        x: Tensor,
        a: Tensor,
        b: Tensor,
        scale: float,
        listen: Listener | None,
    ) -> Tensor:
        low = x @ a.T
        ctx.mark_dirty(y)
        y.addmm_(low, b.T, alpha=scale)
        ctx.save_for_backward(x, a, b, low)
        ctx.scale, ctx.listen = scale, listen
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, a, b, low = ctx.saved_tensors
        delta = (grad @ b).mul_(ctx.scale)
        if ctx.listen is not None:
            ctx.listen(low, delta)
        into_x = delta @ a if ctx.needs_input_grad[1] else None
        return grad, into_x, delta.T @ x, (grad.T @ low).mul_(ctx.scale), None, None


# torch leaves `apply` untyped.
_low_rank_linear: Callable[..., Tensor] = _LowRankLinear.apply
_low_rank_add: Callable[..., Tensor] = _LowRankAdd.apply


def _fused_forward(layer: LoraLayer, adapter: str, listening: Listening) -> Callable[..., Tensor]:
    base = layer.get_base_layer()
    lora_a, lora_b = layer.lora_A[adapter], layer.lora_B[adapter]
    scale = float(layer.scaling[adapter])
    plain = type(base) is nn.Linear

    def forward(x: Tensor, *_: Any, **__: Any) -> Tensor:
        kind = torch.get_autocast_dtype(x.device.type) if _autocast(x) else x.dtype
        rows = x.reshape(-1, x.shape[-1]).to(kind)
        a, b = lora_a.weight.to(kind), lora_b.weight.to(kind)
        if plain:
            bias = None if base.bias is None else base.bias.to(kind)
            y = _low_rank_linear(rows, base.weight.to(kind), bias, a, b, scale, listening(layer))
        else:
            y = _low_rank_add(base(rows).to(kind), rows, a, b, scale, listening(layer))
        return y.view(*x.shape[:-1], y.shape[-1])

    return forward


def _autocast(x: Tensor) -> bool:
    return torch.is_autocast_enabled(x.device.type) and x.is_floating_point()


def _can_fuse(layer: LoraLayer) -> bool:
    """One active plain adapter: no dropout, no DoRA or other variant, nothing merged, no bias."""
    if len(layer.active_adapters) != 1 or layer.merged or layer.disable_adapters:
        return False
    name = layer.active_adapters[0]
    if name not in layer.lora_A or layer.lora_variant.get(name) is not None:
        return False
    return (
        isinstance(layer.lora_dropout[name], nn.Identity)
        and layer.lora_B[name].bias is None
        and not getattr(layer, "fan_in_fan_out", False)
    )


@contextmanager
def fused_adapters(model: nn.Module, listening: Listening = _nobody) -> Iterator[int]:
    """Let the adapter layers of `model` take the short path in the block; yields their number.

    `listening` is asked in each forward pass who wants to hear of it (see Method.listener).
    """
    patched: list[nn.Module] = []
    for layer in model.modules():
        known = isinstance(layer, LoraLinear) or type(layer).__name__ == "Linear4bit"
        if isinstance(layer, LoraLayer) and known and _can_fuse(layer):
            # Set on the instance: the class, and every layer outside the block, stay PEFT's.
            layer.__dict__["forward"] = _fused_forward(layer, layer.active_adapters[0], listening)
            patched.append(layer)
    try:
        yield len(patched)
    finally:
        for layer in patched:
            del layer.__dict__["forward"]
