"""DoRA (Liu et al. 2024, arXiv 2402.09353): LoRA turns the rows of W, and their lengths are learnt.

PEFT's own forward, which unpacks a base in 4 bits for each pass to take those lengths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from peft import LoraConfig

from tunesmith.config import TrainingSettings
from tunesmith.train.lora import Lora


class Dora(Lora):
    """LoRA with a trained magnitude for each output, which starts at the base's own."""

    name = "dora"

    def config(self, settings: TrainingSettings, where: Mapping[str, Any]) -> LoraConfig:
        """LoRA's, with use_dora."""
        return replace(super().config(settings, where), use_dora=True)
