"""LoRA+ (Hayou et al. 2024, arXiv 2402.12354): B learns faster than A, by a fixed ratio."""

from __future__ import annotations

from typing import Any

import torch
from peft.optimizers import create_loraplus_optimizer
from torch.optim import Optimizer

from tunesmith.config import TrainingSettings
from tunesmith.train.lora import Lora
from tunesmith.train.optimizer import optimizer_of

RATIO = 16.0  # of B's rate to A's: what the paper found to do well without a search (2^4)


class LoraPlus(Lora):
    """LoRA whose A learns at training.learning_rate and whose B at `RATIO` times that."""

    name = "lora_plus"

    def optimizer(
        self, model: Any, settings: TrainingSettings, device: torch.device, total: int
    ) -> tuple[Optimizer, str]:
        """As the recipe asks for it, with two rates; the schedule scales both."""
        kind, arguments, note = optimizer_of(settings, device)
        decay = arguments.pop("weight_decay")
        made = create_loraplus_optimizer(
            model, kind, loraplus_lr_ratio=RATIO, loraplus_weight_decay=decay, **arguments
        )
        return made, note
