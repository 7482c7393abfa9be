"""The plan of one variant's training: what the recipe says, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tunesmith.config import TrainingSettings
from tunesmith.plan.memory import estimate_memory
from tunesmith.records import Choice, ChoiceSource, DataFacts, Hardware, ModelFacts, Plan

EIGHT_BIT = ("adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a plan reasons about."""

    data: DataFacts
    model: ModelFacts
    hardware: Hardware
    bytes_per_weight: int
    four_bit: bool


def make_plan(
    settings: TrainingSettings, facts: Facts, origins: Mapping[str, ChoiceSource]
) -> Plan:
    """Every hyperparameter with its reason, and what the training will need.

    `origins` says where each field of `settings` came from; fields not named there are defaults.
    """
    checkpointing, why = _checkpointing(settings, facts)
    values = settings.model_dump() | {"gradient_checkpointing": checkpointing}
    reasons = _reasons(settings, facts) | {"gradient_checkpointing": why}
    size = settings.per_device_train_batch_size * settings.gradient_accumulation_steps
    per_epoch = math.ceil(facts.data.examples / size)
    steps = math.ceil(per_epoch * settings.num_train_epochs)
    if settings.max_steps is not None:
        steps = min(steps, settings.max_steps)
    needed = _memory(settings, facts, checkpointing=checkpointing)
    return Plan(
        choices=tuple(
            Choice(name, value, reasons.get(name) or _meaning(name), origins.get(name, "default"))
            for name, value in values.items()
        ),
        steps=steps,
        memory_bytes=needed,
        seconds=None,
        cost_usd=None,
        fits=needed < facts.hardware.device_memory,
    )


def _meaning(name: str) -> str:
    """What a setting is, where nothing more is to be said of its value."""
    described = (TrainingSettings.model_fields[name].description or name).rstrip(".")
    if described.startswith("Adam"):  # a name
        return described
    return described[:1].lower() + described[1:]


def _memory(settings: TrainingSettings, facts: Facts, *, checkpointing: bool) -> int:
    """Bytes at the peak."""
    targets = settings.target_modules
    return estimate_memory(
        facts.model,
        facts.data,
        rank=settings.lora_r,
        target_modules=targets if isinstance(targets, str) else tuple(targets),
        rows=settings.per_device_train_batch_size,
        bytes_per_weight=facts.bytes_per_weight,
        four_bit=facts.four_bit,
        checkpointing=checkpointing,
    ).total


def _checkpointing(settings: TrainingSettings, facts: Facts) -> tuple[bool, str]:
    """Whether activations are computed again, and why: it costs a third of the speed."""
    if settings.gradient_checkpointing != "auto":
        return bool(settings.gradient_checkpointing), ""
    plain = _memory(settings, facts, checkpointing=False)
    gib, there = plain / 2**30, facts.hardware.device_memory / 2**30
    if plain < facts.hardware.device_memory:
        return False, f"about {gib:.1f} GiB are enough without it, {there:.1f} are there"
    return True, f"about {gib:.1f} GiB would be needed without it, {there:.1f} are there"


def _reasons(settings: TrainingSettings, facts: Facts) -> dict[str, str]:
    """Why values stand, where there is more to say than that somebody chose them."""
    size = settings.per_device_train_batch_size * settings.gradient_accumulation_steps
    data = facts.data
    scale = f"alpha / r = {settings.lora_alpha / settings.lora_r:g}"
    if settings.use_rslora:
        scale = f"alpha / sqrt(r) = {settings.lora_alpha / math.sqrt(settings.lora_r):g}"
    reasons = {
        "lora_alpha": f"scale {scale}",
        "gradient_accumulation_steps": f"{size} examples an optimizer step",
        "max_length": f"the longest of {data.examples} examples has {data.length_max} tokens, "
        f"99 in 100 at most {data.length_p99}",
        "packing": "short examples are laid end to end in one row and none sees another: saves "
        "the padding that would fill up the shorter ones",
    }
    if settings.optim in EIGHT_BIT and facts.hardware.device != "cuda":
        reasons["optim"] = "no NVIDIA GPU here: adamw_torch stands in for it"
    return reasons
