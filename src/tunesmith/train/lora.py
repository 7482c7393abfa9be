"""LoRA (Hu et al. 2021, arXiv 2106.09685): W x + s·B A x with A, B of low rank, s = alpha / r.

On a base in 4 bits the same lines are QLoRA (Dettmers et al. 2023, arXiv 2305.14314).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peft import LoraConfig, get_peft_model
from torch import Tensor

from tunesmith.config import TrainingSettings
from tunesmith.errors import ModelError


class Lora:
    """Low-rank adaptation as PEFT has it; nothing happens between backward and step."""

    name = "lora"

    def attach(self, model: Any, settings: TrainingSettings) -> Any:
        """Wrap `model`; B starts at zero, so the wrapped model answers as the base does."""
        targets = settings.target_modules
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=settings.lora_r,
            lora_alpha=settings.lora_alpha,
            lora_dropout=settings.lora_dropout,
            use_rslora=settings.use_rslora,
            target_modules=targets if isinstance(targets, str) else list(targets),
            bias="none",
        )
        try:
            return get_peft_model(model, config)
        except ValueError as error:
            raise ModelError(
                f"no adapter can be put on this model: {error}",
                hint='check training.target_modules; "all-linear" fits every model',
            ) from error

    def precondition(self, step: int) -> None:
        """Plain gradients."""

    def after(self, step: int) -> None:
        """Nothing."""

    def state(self) -> Mapping[str, Tensor]:
        """LoRA keeps nothing beside the adapter itself."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to put back."""
