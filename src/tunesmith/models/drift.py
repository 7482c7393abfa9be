"""How far an adapter moves the weights: the Frobenius norm of all that it adds to them.

For LoRA ||s B A||_F^2 = s^2 tr((B'B)(A A')), from two r x r Gram matrices, in float64 and without
the base. Other kinds stand on the base for it: AdaLoRA's update is PEFT's own delta weight; DoRA
also sets the length of every output's row, so its change is the difference of the merged and the
base's weights, one layer in memory at a time.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor

from tunesmith.models.adapters import TRAINED, with_adapter, without_adapter
from tunesmith.models.load import Loaded
from tunesmith.models.plain_lora import LowRank, read_adapter


def drift(loaded: Loaded, directory: Path) -> float:
    """Square root of the sum over modules of ||W' - W||_F^2; W is what the base computes with.

    Raises ModelError where the directory holds no adapter for this base.
    """
    config = json.loads((directory / "adapter_config.json").read_text("utf-8"))
    if config.get("peft_type") == "LORA" and not config.get("use_dora"):
        return math.sqrt(sum(_squared(layer) for layer in read_adapter(directory).layers.values()))
    ready = with_adapter(loaded, directory)
    try:
        layers = [m for m in ready.model.modules() if isinstance(m, BaseTunerLayer)]
        with torch.no_grad():
            return math.sqrt(sum(float(_change(m).double().square().sum()) for m in layers))
    finally:
        without_adapter(ready)


def _squared(layer: LowRank) -> float:
    """||s B A||_F^2 of one layer."""
    A, B = layer.A.double(), layer.B.double()  # (r, in), (out, r)
    return max(0.0, layer.scale**2 * float(((B.T @ B) * (A @ A.T)).sum()))


def _change(layer: Any) -> Tensor:
    """(out, in): what an adapter layer makes of its weight, less that weight."""
    delta: Tensor = layer.get_delta_weight(TRAINED)
    magnitudes = getattr(layer, "lora_magnitude_vector", {})
    if TRAINED not in magnitudes:
        return delta
    base = dequantize_module_weight(layer.get_base_layer()).to(delta.dtype)
    turned = base + delta
    lengths = magnitudes[TRAINED].weight / turned.norm(dim=1)  # (out,)
    change: Tensor = lengths.unsqueeze(1) * turned - base
    return change
