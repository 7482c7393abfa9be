"""Optimizer and learning-rate schedule, by the names that transformers' TrainingArguments uses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from tunesmith.config import TrainingSettings
from tunesmith.errors import ConfigError

MOMENTUM = 0.9  # of `sgd`, for whatever method


def warmup_steps(settings: TrainingSettings, total: int) -> int:
    """Warm-up in steps; below 1 it is a share of all steps, rounded up, as transformers does."""
    value = settings.warmup_steps
    return int(value) if value >= 1 else -int(-value * total // 1)


def build_optimizer(
    parameters: Iterable[Parameter], settings: TrainingSettings, device: torch.device
) -> tuple[Optimizer, str]:
    """The optimizer, and one line where another was taken than the recipe asks for."""
    kind, arguments, note = optimizer_of(settings, device)
    return kind([p for p in parameters if p.requires_grad], **arguments), note


def optimizer_of(
    settings: TrainingSettings, device: torch.device
) -> tuple[type[Optimizer], dict[str, Any], str]:
    """Its class and arguments, and that line."""
    common: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    adam = common | {
        "betas": (settings.adam_beta1, settings.adam_beta2),
        "eps": settings.adam_epsilon,
    }
    name = settings.optim
    if name in {"adamw_torch", "adamw_torch_fused"}:
        return torch.optim.AdamW, adam | {"fused": True}, ""
    if name == "sgd":
        return torch.optim.SGD, common | {"momentum": MOMENTUM}, ""
    if name in {"adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit"}:
        if device.type != "cuda":
            note = f"{name} needs an NVIDIA GPU; adamw_torch stands in for it here"
            return torch.optim.AdamW, adam | {"fused": True}, note
        from bitsandbytes.optim.adamw import AdamW8bit, PagedAdamW8bit, PagedAdamW32bit

        classes = {
            "adamw_8bit": AdamW8bit,
            "paged_adamw_8bit": PagedAdamW8bit,
            "paged_adamw_32bit": PagedAdamW32bit,
        }
        return classes[name], adam, ""
    raise ConfigError(f"unknown training.optim {name!r}", hint="adamw_torch is the default")


def build_scheduler(optimizer: Optimizer, settings: TrainingSettings, total: int) -> LRScheduler:
    """The schedule over `total` optimizer steps, from transformers."""
    schedule: LRScheduler = get_scheduler(
        settings.lr_scheduler_type,
        optimizer,
        num_warmup_steps=warmup_steps(settings, total),
        num_training_steps=total,
    )
    return schedule
