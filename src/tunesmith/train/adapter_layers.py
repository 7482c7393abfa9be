"""The LoRA layers of a model, one by one, and giving one of them another rank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from tunesmith.errors import TrainingError

SHOWN = 3  # names in an error


@dataclass(frozen=True, slots=True)
class AdapterLayer:
    """One module with its low-rank path s B A x; `name` is the module's in the base model."""

    name: str
    module: Any
    adapter: str

    @property
    def a(self) -> nn.Parameter:
        """A, (r, d_in)."""
        found: nn.Parameter = self.module.lora_A[self.adapter].weight
        return found

    @property
    def b(self) -> nn.Parameter:
        """B, (d_out, r)."""
        found: nn.Parameter = self.module.lora_B[self.adapter].weight
        return found

    @property
    def rank(self) -> int:
        """r."""
        return int(self.a.shape[0])

    def set_rank(self, a: Tensor, b: Tensor) -> None:
        """Put other weights, of any rank, in the place of these; the scale s stays, and the
        parameters stay the same objects."""
        lora_a, lora_b = self.module.lora_A[self.adapter], self.module.lora_B[self.adapter]
        rank = int(a.shape[0])
        for parameter, value in ((lora_a.weight, a), (lora_b.weight, b)):
            parameter.grad = None
            parameter.data = value.to(parameter.dtype).contiguous()
        lora_a.out_features = lora_b.in_features = self.module.r[self.adapter] = rank


def note_ranks(layers: Sequence[AdapterLayer], config: Any) -> None:
    """Tell PEFT's configuration of the layers whose rank is not its r, so that the written adapter
    has them with their scale.

    r and lora_alpha stay: their quotient is the scale that programs without patterns take.
    """
    for layer in layers:
        if layer.rank != config.r:
            scale = float(layer.module.scaling[layer.adapter])
            per_rank = math.sqrt(layer.rank) if config.use_rslora else layer.rank
            config.rank_pattern[layer.name] = layer.rank
            config.alpha_pattern[layer.name] = scale * per_rank


def adapter_layers(model: nn.Module, adapter: str) -> list[AdapterLayer]:
    """Every linear layer that `adapter` is on. TrainingError where there is none, where one is not
    linear (embeddings, convolutions), is a variant of LoRA, or is divided among processes."""
    found: list[AdapterLayer] = []
    for full, module in model.named_modules():
        if not isinstance(module, LoraLayer):
            continue
        name = full.removeprefix("base_model.model.")
        if adapter in module.lora_embedding_A:
            raise TrainingError(
                f"{name}: adapters on embeddings have no rank-space statistics",
                hint="leave it out of training.target_modules",
            )
        if adapter not in module.lora_A:
            continue
        if not isinstance(module.lora_A[adapter], nn.Linear) or module.lora_variant.get(adapter):
            raise TrainingError(
                f"{name}: only plain LoRA on linear layers has rank-space statistics",
                hint="leave it out of training.target_modules, and use neither DoRA nor the like",
            )
        layer = AdapterLayer(name, module, adapter)
        if isinstance(layer.a.data, DTensor) or isinstance(layer.b.data, DTensor):
            raise TrainingError(
                f"{name}: its adapter is divided among processes (FSDP, tensor parallel); its "
                "rank-space statistics would be those of a part",
                hint="keep the adapter whole in each process (data parallel)",
            )
        found.append(layer)
    if not found:
        raise TrainingError(
            f"the model has no LoRA layer of adapter {adapter!r}",
            hint="wrap it by peft.get_peft_model with a LoraConfig first",
        )
    return found


def reduced(
    layer: AdapterLayer, left: Tensor, right: Tensor, optimizer: Optimizer | None
) -> tuple[Tensor, Tensor, Tensor]:
    """A and B on k directions, (k, d_in) and (d_out, k), and the scale given to each, (k,): rows of
    the new A have the mean norm of the old ones', as Adam's step size supposes. The optimizer's
    moments go along."""
    a, b = layer.a.data, layer.b.data
    kept = right.to(a) @ a
    norms = kept.norm(dim=1).clamp_min(torch.finfo(kept.dtype).tiny)
    scale = a.norm(dim=1).mean() / norms
    into, out = scale[:, None] * right.to(a), left.to(b) / scale
    if optimizer is not None:
        map_moments(optimizer, layer, out.mT, into.mT)
    return into @ a, b @ out, scale


def map_moments(optimizer: Optimizer, layer: AdapterLayer, on_a: Tensor, on_b: Tensor) -> None:
    """Carry the optimizer's moments over: A's gradient goes by `on_a` from the left, B's by `on_b`
    from the right; squares go by squares, as if the entries were uncorrelated. Moments that are
    kept in another form (8 bits) begin anew."""
    for parameter, side in ((layer.a, "a"), (layer.b, "b")):
        state = optimizer.state.get(parameter)
        if not state:
            continue
        plain = {"exp_avg", "momentum_buffer", "exp_avg_sq", "step"}
        if not set(state) <= plain:
            optimizer.state[parameter] = {}
            continue
        for key in ("exp_avg", "momentum_buffer", "exp_avg_sq"):
            if state.get(key) is None:
                continue
            by = on_a if side == "a" else on_b
            by = by.to(state[key]) ** (2 if key == "exp_avg_sq" else 1)
            state[key] = by @ state[key] if side == "a" else state[key] @ by


def pad_moments(optimizer: Optimizer, layer: AdapterLayer, rank: int) -> None:
    """Room for directions that begin anew: no first moment, the second that of the others."""
    for parameter, dim in ((layer.a, 0), (layer.b, 1)):
        for key, value in (optimizer.state.get(parameter) or {}).items():
            if not isinstance(value, Tensor) or value.ndim < 2:
                continue
            shape = list(value.shape)
            shape[dim] = rank - shape[dim]
            fill = value.mean() if key == "exp_avg_sq" else torch.zeros_like(value[0, 0])
            optimizer.state[parameter][key] = torch.cat([value, fill.expand(shape)], dim)


def fresh_rows(kept: Tensor, count: int, seed: int) -> Tensor:
    """`count` rows at right angles to one another and to those of `kept` (k, d), with their mean
    norm, drawn from `seed` (and from no common stream: each of several processes must come to the
    same); beyond d rows there is no room for right angles."""
    own = torch.Generator().manual_seed(seed % 2**63)
    drawn = torch.randn(count, kept.shape[1], generator=own).to(kept.device)
    basis = torch.linalg.qr(torch.cat([kept.float(), drawn]).mT).Q.mT
    apart = basis[kept.shape[0] :]
    rows = torch.cat([apart, nn.functional.normalize(drawn[len(apart) :])])
    found: Tensor = (rows * kept.float().norm(dim=1).mean()).to(kept.dtype)
    return found
