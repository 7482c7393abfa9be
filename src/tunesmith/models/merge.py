"""Adapters into weights: merge one into its base, or join several into one.

The merged weight is W + s B A in float32: in 16 bits most of a small update is rounded away
(decision 010, `benchmarks/merge_precision.py`). Adapters are read from their files, so that the
loaded base is never touched. `agreement.py` checks what came of it.
"""

from __future__ import annotations

import copy
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.core_model_loading import revert_weight_conversion
from transformers.pytorch_utils import Conv1D

from tunesmith.errors import ModelError, first_line
from tunesmith.models.load import Loaded
from tunesmith.models.plain_lora import PREFIX, PlainAdapter, on_hub, read_adapter

SHARD_BYTES = 10**9  # so much of the float32 weights is in memory beside the base


@dataclass(frozen=True, slots=True)
class Merged:
    """A model folder made of a base and an adapter.

    `update` is the Frobenius norm of what was added over that of the weights it was added to.
    """

    directory: Path
    base: str
    adapter: Path
    layers: int
    tensors: int
    bytes: int
    update: float


def merge(loaded: Loaded, adapter: Path, out: Path, *, shard_bytes: int = SHARD_BYTES) -> Merged:
    """Write base and adapter as one float32 model folder that transformers loads by itself.

    `out` is made where it is missing and should be empty. A base in 4 bits is dequantised: the
    folder holds W4 + s B A, where W4 are the weights it computes with. Besides the base, one shard
    (`shard_bytes`, or the largest tensor) is in memory. The loaded base stays as it is, bit by bit.

    Raises ModelError for an adapter that is not plain, that belongs to another base, or that gives
    weights that are not finite, and where the disk has no room.
    """
    base = loaded.model
    if any(isinstance(module, BaseTunerLayer) for module in base.modules()):
        raise ValueError("take the adapter off first: the base is to be merged with a stored one")
    update = read_adapter(adapter)
    _check_base(update, loaded)
    tensors, tied = _stored(base, {f"{name}.weight" for name in update.layers})
    plan = split_torch_state_dict_into_shards(
        {name: torch.empty(_shape(t), device="meta") for name, t in tensors.items()},
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=shard_bytes,
    )
    out.mkdir(parents=True, exist_ok=True)
    _check_room(out, plan.metadata["total_size"])
    norms: list[tuple[float, float]] = []
    placed: dict[str, str] = {}
    for file, names in plan.filename_to_tensors.items():
        shard = {}
        for name in names:
            weight, sizes = _with_update(tensors[name], name, update)
            if not torch.isfinite(weight).all():
                raise ModelError(
                    f"{adapter} in {loaded.name} gives weights that are not finite: {name}",
                    hint="the base or the adapter is damaged; nothing was accepted",
                )
            shard[name] = weight.cpu()
            norms += sizes
        shard = revert_weight_conversion(base, shard)  # the names of the model's own files
        _write(shard, out / file)
        placed.update(dict.fromkeys(shard, file))
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": dict(sorted(placed.items()))}
        (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), "utf-8")
    _describe(loaded, out, tied=tied)
    return Merged(
        directory=out,
        base=loaded.name,
        adapter=adapter,
        layers=len(update.layers),
        tensors=len(placed),
        bytes=sum(file.stat().st_size for file in out.iterdir()),
        update=math.hypot(*(d for d, _ in norms)) / (math.hypot(*(w for _, w in norms)) or 1.0),
    )


def _with_update(
    stored: Tensor, name: str, update: PlainAdapter
) -> tuple[Tensor, list[tuple[float, float]]]:
    """A tensor of the base in float32 with its update, and where it has one the Frobenius norms of
    the update and of what it was added to. Never in place: it may be the base's own tensor."""
    weight = _dequantised(stored)
    weight = weight.float() if weight.is_floating_point() else weight
    change = update.layers.get(name.removesuffix(".weight"))
    if change is None:
        return weight, []
    delta = change.dense(weight.device)
    if update.fan_in_fan_out:
        delta = delta.T
    return weight + delta, [(float(delta.norm()), float(weight.norm()))]


def concatenate(adapters: Sequence[Path], out: Path) -> Path:
    """Join plain adapters of one base into one that adds up to the same, and return its folder.

    sum_i s_i B_i A_i = [s_1 B_1, s_2 B_2, ...] [A_1; A_2; ...]: rank sum(r_i), scale 1, nothing
    approximated; the scaled B are rounded to float32 once, or not at all where s is a power of two.
    A layer that one adapter leaves out gets zeros in its place, so that every layer has the same
    rank, as programs that serve adapters expect. Dropout is not carried over: it is for serving.

    Raises ModelError where one is not plain, or they belong to different bases.
    """
    if not adapters:
        raise ValueError("no adapter to concatenate")
    parts = [read_adapter(adapter) for adapter in adapters]
    names = sorted({name for part in parts for name in part.layers})
    tensors = {}
    ranks = [max(layer.A.shape[0] for layer in part.layers.values()) for part in parts]
    for part in parts:
        _check_joins(parts[0], part)
    for name in names:
        found = [part.layers.get(name) for part in parts]
        out_in = {layer.shape for layer in found if layer is not None}
        if len(out_in) > 1:
            raise ModelError(
                f"the adapters have different shapes at {name}: {sorted(out_in)}",
                hint="adapters can be added only where they stand on one base",
            )
        (rows, columns) = out_in.pop()
        A = torch.zeros(sum(ranks), columns)
        B = torch.zeros(rows, sum(ranks))
        for layer, rank, end in zip(found, ranks, _ends(ranks), strict=True):
            if layer is not None:
                start, own = end - rank, layer.A.shape[0]
                A[start : start + own] = layer.A.float()
                B[:, start : start + own] = layer.B.float() * layer.scale
        tensors[f"{PREFIX}{name}.lora_A.weight"] = A
        tensors[f"{PREFIX}{name}.lora_B.weight"] = B
    out.mkdir(parents=True, exist_ok=True)
    for part in parts:
        for name, tensor in part.copies.items():
            tensors[f"{PREFIX}{name.removesuffix('.weight')}.base_layer.weight"] = tensor
    _write(tensors, out / "adapter_model.safetensors")
    LoraConfig(
        task_type="CAUSAL_LM",
        base_model_name_or_path=parts[0].base,
        r=sum(ranks),
        lora_alpha=sum(ranks),
        target_modules=names,
        fan_in_fan_out=parts[0].fan_in_fan_out,
        inference_mode=True,
    ).save_pretrained(str(out))
    return out


def _ends(ranks: Sequence[int]) -> list[int]:
    return [sum(ranks[: i + 1]) for i in range(len(ranks))]


def _check_joins(first: PlainAdapter, other: PlainAdapter) -> None:
    names = {name for name in (first.base, other.base) if name is not None and on_hub(name)}
    copies = set(first.copies) & set(other.copies)
    same = all(torch.equal(first.copies[name], other.copies[name]) for name in copies)
    if len(names) > 1 or first.fan_in_fan_out != other.fan_in_fan_out or not same:
        raise ModelError(
            f"{first.directory} and {other.directory} were made for different bases: "
            f"{first.base} and {other.base}",
            hint="adapters can be added only where they stand on one base",
        )


def _check_base(update: PlainAdapter, loaded: Loaded) -> None:
    """Refuse an adapter whose base has another name on the hub, other layers, or other shapes."""
    hint = "an adapter belongs to the base it was trained on (adapter_config.json names it)"

    def misfit(why: str) -> ModelError:
        return ModelError(
            f"the adapter in {update.directory} does not fit {loaded.name}: {why}", hint=hint
        )

    named = update.base
    if named is not None and named != loaded.name and on_hub(named) and on_hub(loaded.name):
        raise misfit(f"it was made for {named}")
    modules = dict(loaded.model.named_modules(remove_duplicate=False))
    for name, layer in update.layers.items():
        module = modules.get(name)
        if not isinstance(module, nn.Linear | Conv1D):
            raise misfit(f"there is no linear layer {name}")
        if isinstance(module, Conv1D) != update.fan_in_fan_out:
            raise misfit(f"the weights of {name} are laid out the other way round")
        shape = _shape(module.weight)[::-1] if update.fan_in_fan_out else _shape(module.weight)
        if layer.shape != shape:
            raise misfit(f"{name} is {shape}, the adapter's {layer.shape}")
    for name, tensor in update.copies.items():
        own = getattr(modules.get(name.removesuffix(".weight")), "weight", None)
        if own is None or not torch.equal(own.cpu().to(tensor.dtype), tensor):
            raise misfit(f"the {name} that it brings along is another")


def _stored(base: Any, changed: set[str]) -> tuple[dict[str, Tensor], bool]:
    """What the folder has to hold, by name, and whether tied weights stay tied.

    Tied weights stand there once, unless the adapter changes one of them and not the other.
    """
    every = dict(base.named_parameters(remove_duplicate=False))
    every |= dict(base.named_buffers(remove_duplicate=False))
    names = [name for name in base.state_dict() if name in every]
    split = {id(every[name]) for name in names if name in changed}
    kept: dict[str, Tensor] = {}
    seen: set[int] = set()
    tied = True
    for name in names:
        tensor = every[name]
        if id(tensor) in seen and id(tensor) not in split:
            continue
        tied = tied and id(tensor) not in seen
        seen.add(id(tensor))
        kept[name] = tensor
    return kept, tied


def _dequantised(weight: Tensor) -> Tensor:
    """The weight as the model computes with it; 4-bit ones in the type they were quantised from."""
    state = getattr(weight, "quant_state", None)
    if state is not None:
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(weight.data, state)
    if isinstance(weight, nn.Parameter) and not weight.is_floating_point():
        raise ModelError(
            f"the base is quantised in a way that cannot be merged into ({weight.dtype})",
            hint="load the full weights, or let tunesmith quantise them (load_in_4bit)",
        )
    return weight.detach()


def _shape(tensor: Tensor) -> tuple[int, ...]:
    state = getattr(tensor, "quant_state", None)
    return tuple(tensor.shape if state is None else state.shape)


def _check_room(out: Path, needed: int) -> None:
    free = shutil.disk_usage(out).free
    if free < needed:
        raise ModelError(
            f"the merged model takes {needed / 1e9:.1f} GB in float32, and the disk of {out} has "
            f"{free / 1e9:.1f} GB left",
            hint="make room, or keep the adapter beside its base",
        )


def _write(tensors: Mapping[str, Tensor], file: Path) -> None:
    try:
        save_file({k: t.contiguous() for k, t in tensors.items()}, file, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"cannot write {file}: {first_line(error)}",
            hint="look whether the disk is full; what was written so far is incomplete",
        ) from error


def _describe(loaded: Loaded, out: Path, *, tied: bool) -> None:
    """All that stands beside the weights: configuration, generation, tokenizer with template."""
    config = copy.deepcopy(loaded.model.config)
    config.__dict__.pop("quantization_config", None)
    for part in (config, config.get_text_config()):
        part.dtype = torch.float32
        if not tied:
            part.tie_word_embeddings = False
    config.architectures = [type(loaded.model).__name__]
    config.save_pretrained(str(out))
    if getattr(loaded.model, "generation_config", None) is not None:
        # Not its save_pretrained, which refuses what some published models carry.
        loaded.model.generation_config.to_json_file(str(out / "generation_config.json"))
    loaded.renderer.tokenizer.save_pretrained(str(out))
