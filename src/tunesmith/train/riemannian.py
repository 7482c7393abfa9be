"""Riemannian preconditioned LoRA (Zhang and Pilanci 2024, arXiv 2402.02347), as PEFT has it.

Before the recipe's optimizer sees them, A's gradient is multiplied by (B^T B + reg)^-1 from the
left and B's by (A A^T + reg)^-1 from the right, in float32. The recipe's clipping comes before
that, and weight decay behind it.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.optimizers import create_riemannian_optimizer
from torch.optim import Optimizer

from tunesmith.config import TrainingSettings
from tunesmith.train.lora import Lora
from tunesmith.train.optimizer import optimizer_of

REG = 1e-2  # PEFT's default; B starts at zero, so something must be added to B^T B


class Riemannian(Lora):
    """LoRA whose gradients are scaled by the other factor's Gram matrix."""

    name = "riemannian"

    def optimizer(
        self, model: Any, settings: TrainingSettings, device: torch.device, total: int
    ) -> tuple[Optimizer, str]:
        """As the recipe asks for it, on preconditioned gradients."""
        kind, arguments, note = optimizer_of(settings, device)
        return create_riemannian_optimizer(model, kind, reg=REG, **arguments), note
