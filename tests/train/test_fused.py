"""The short low-rank path against PEFT's own: the same losses and gradients, to rounding."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import Tensor

from tiny_models import adapted, load_base
from tunesmith.config import TrainingSettings
from tunesmith.models.render import Encoded
from tunesmith.train.batches import pad
from tunesmith.train.fused import fused_adapters
from tunesmith.train.loss import answer_nll


def loss_and_gradients(
    model: PeftModel, examples: list[Encoded], *, fused: bool, dtype: torch.dtype | None = None
) -> tuple[int, float, dict[str, Tensor]]:
    """(layers on the short path, loss, gradients) of one padded batch; dropout from one seed."""
    model.zero_grad()
    autocast = torch.autocast("cpu", dtype=dtype) if dtype else nullcontext()
    torch.manual_seed(11)
    with autocast, fused_adapters(model) if fused else nullcontext(0) as layers:
        loss = answer_nll(model, pad(examples, 0)) / 30
    loss.backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return layers, loss.item(), grads


def assert_same(
    model: PeftModel,
    examples: list[Encoded],
    *,
    layers: int,
    tolerance: float = 1e-5,
    dtype: torch.dtype | None = None,
) -> None:
    _, loss, grads = loss_and_gradients(model, examples, fused=False, dtype=dtype)
    taken, fused_loss, fused_grads = loss_and_gradients(model, examples, fused=True, dtype=dtype)
    assert taken == layers
    assert fused_loss == pytest.approx(loss, abs=tolerance)
    assert fused_grads.keys() == grads.keys()
    assert len(grads) > 0
    for name, grad in fused_grads.items():
        torch.testing.assert_close(grad, grads[name], atol=tolerance, rtol=tolerance)


def test_losses_and_gradients_are_pefts(
    adapted_model: PeftModel, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    assert_same(adapted_model, encoded[:4], layers=14)


def test_scale_of_rslora_rides_along(
    base_folder: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    rslora = settings.model_copy(update={"use_rslora": True})
    assert_same(adapted(load_base(base_folder), rslora), encoded[:4], layers=14)


def test_a_base_in_four_bits_takes_the_short_path_too(
    base_folder: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    model = adapted(load_base(base_folder, four_bit=True), settings)
    assert_same(model, encoded[:4], layers=14)


def test_mixed_precision_agrees_to_its_own_rounding(
    base_folder: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    model = adapted(load_base(base_folder, dtype="bfloat16"), settings)
    assert_same(model, encoded[:2], layers=14, tolerance=3e-2, dtype=torch.bfloat16)


def test_dropout_keeps_pefts_own_forward(
    base_folder: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    dropout = settings.model_copy(update={"lora_dropout": 0.2})
    assert_same(adapted(load_base(base_folder), dropout), encoded[:4], layers=0, tolerance=0.0)


def test_a_bias_of_the_base_is_added_once(
    base_folder: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    loaded = load_base(base_folder)
    for layer in loaded.model.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.bias = torch.nn.Parameter(torch.randn(layer.out_features) * 0.1)
    assert_same(adapted(loaded, settings), encoded[:4], layers=14)


def test_merged_and_disabled_adapters_are_left_alone(
    adapted_model: PeftModel, encoded: list[Encoded]
) -> None:
    with adapted_model.disable_adapter(), fused_adapters(adapted_model) as layers:
        assert layers == 0
    adapted_model.merge_adapter()
    with fused_adapters(adapted_model) as layers:
        assert layers == 0


def test_the_layers_are_pefts_again_behind_the_block(adapted_model: PeftModel) -> None:
    with pytest.raises(KeyError), fused_adapters(adapted_model):
        raise KeyError("anything")
    assert not any("forward" in module.__dict__ for module in adapted_model.modules())
