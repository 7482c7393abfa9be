"""Read plain LoRA adapters from their folders, and refuse every other kind.

LoRA (arXiv 2106.09685) adds s B A to a weight, with s = alpha / r; rsLoRA (arXiv 2312.03732) takes
s = alpha / sqrt(r). Only of these does this package know that merging and adding are exact.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tunesmith.errors import ModelError, first_line

PREFIX = "base_model.model."
# Keys of adapter_config.json that leave the update at s B A. Any other that is set is refused: a
# variant that PEFT invents tomorrow is then refused, too.
PLAIN_KEYS = frozenset(
    "peft_type task_type auto_mapping base_model_name_or_path revision inference_mode r lora_alpha "
    "target_modules exclude_modules lora_dropout fan_in_fan_out use_rslora init_lora_weights "
    "layers_to_transform layers_pattern rank_pattern alpha_pattern megatron_core qalora_group_size "
    "eva_config runtime_config peft_version".split()
)
# These begin from A and B alone; pissa, olora, corda and loftq change the base's weights as well.
PLAIN_STARTS = (True, False, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True, slots=True)
class LowRank:
    """The update of one layer, scale * B @ A."""

    A: Tensor  # (rank, in)
    B: Tensor  # (out, rank)
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.B.shape[0], self.A.shape[1]

    def dense(self, device: torch.device) -> Tensor:
        """(out, in) in float32."""
        return (self.B.to(device).float() @ self.A.to(device).float()).mul_(self.scale)


@dataclass(frozen=True, slots=True)
class PlainAdapter:
    """A plain LoRA or rsLoRA adapter as its folder holds it: updates by the names of the layers."""

    directory: Path
    base: str | None
    fan_in_fan_out: bool
    layers: Mapping[str, LowRank]
    copies: Mapping[str, Tensor]  # PEFT stores the base's own embedding where it adapts one


def read_adapter(directory: Path) -> PlainAdapter:
    """Read a PEFT folder. Raises ModelError for all but plain LoRA and rsLoRA on linear layers."""
    try:
        config = json.loads((directory / "adapter_config.json").read_text("utf-8"))
        tensors = load_file(directory / "adapter_model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"{directory} holds no adapter that can be read: {first_line(error)}",
            hint="give the directory that training wrote",
        ) from error
    _check_plain(config, directory)
    halves: dict[str, dict[str, Tensor]] = {}
    copies: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = key.removeprefix(PREFIX)
        if not torch.isfinite(tensor).all():
            raise ModelError(
                f"the adapter in {directory} holds a number that is not finite: {key}",
                hint="its training diverged; take an earlier checkpoint",
            )
        if found := re.fullmatch(r"(.+)\.lora_([AB])\.weight", name):
            halves.setdefault(found[1], {})[found[2]] = tensor
        elif name.endswith(".base_layer.weight"):
            copies[name.replace(".base_layer.", ".")] = tensor
        else:
            raise _not_plain(directory, f"the tensor {key}")
    layers = {name: _low_rank(config, name, half, directory) for name, half in halves.items()}
    if not layers:
        raise _not_plain(directory, "no lora_A and lora_B at all")
    named = config.get("base_model_name_or_path")
    return PlainAdapter(directory, named, bool(config.get("fan_in_fan_out")), layers, copies)


def on_hub(name: str) -> bool:
    """Whether a name is a hub id; a folder may be moved or copied and says nothing."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None and not Path(name).exists()


def _check_plain(config: Any, directory: Path) -> None:
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise _not_plain(directory, f"peft_type {kind}")
    if (start := config.get("init_lora_weights", True)) not in PLAIN_STARTS:
        raise _not_plain(directory, f"init_lora_weights {start}, which changes the base, too")
    more = {k: v for k, v in config.items() if k not in PLAIN_KEYS and v not in (None, "none")}
    for key, value in more.items():
        if value not in (False, {}, []):
            raise _not_plain(directory, f"{key} {value}")


def _not_plain(directory: Path, what: str) -> ModelError:
    return ModelError(
        f"the adapter in {directory} is no plain LoRA: it has {what}",
        hint="plain LoRA and rsLoRA on linear layers can be merged or concatenated; serve this one "
        "beside its base",
    )


def _low_rank(
    config: Mapping[str, Any], name: str, half: Mapping[str, Tensor], directory: Path
) -> LowRank:
    rank = _of_layer(config, "r", "rank_pattern", name)
    alpha = _of_layer(config, "lora_alpha", "alpha_pattern", name)
    shapes = {side: tuple(tensor.shape) for side, tensor in half.items()}
    fits = (
        shapes.keys() == {"A", "B"}
        and all(len(shape) == 2 for shape in shapes.values())
        and shapes["A"][0] == shapes["B"][1] == rank
        and isinstance(alpha, int | float)
    )
    if not fits:
        raise ModelError(
            f"the adapter in {directory} contradicts itself at {name}: rank {rank}, alpha {alpha}, "
            f"shapes {shapes}",
            hint="its files do not belong together, or one is damaged",
        )
    scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    return LowRank(half["A"], half["B"], scale)


def _of_layer(config: Mapping[str, Any], key: str, pattern: str, name: str) -> Any:
    """A setting of one layer: that of the first pattern that its name ends with, or the shared."""
    own = config.get(pattern) or {}
    return own.get(get_pattern_key(list(own), name), config.get(key))
