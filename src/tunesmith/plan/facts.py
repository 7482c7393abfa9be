"""What a plan reasons about, and what one micro-batch holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from tunesmith.plan.gpus import Gpu
from tunesmith.records import DataFacts, Hardware, ModelFacts

if TYPE_CHECKING:
    from tunesmith.config import TrainingSettings


@dataclass(frozen=True, slots=True)
class Facts:
    """Data, model and machine. `dtype` is the recipe's; `gpu` the machine's row in the table.

    `flops` is what this machine was measured to multiply, FLOP/s; None where nobody measured.
    `method` is the training's (config.MethodName).
    `overlong` of `bounded` examples (of every part) were set aside for being over max_length.
    """

    data: DataFacts
    model: ModelFacts
    hardware: Hardware
    four_bit: bool
    dtype: str = "auto"
    double_quant: bool = True
    gpu: Gpu | None = None
    flops: float | None = None
    method: str = "lora"
    overlong: int = 0
    bounded: int = 0

    @property
    def bytes_per_weight(self) -> int:
        """Of a weight that is not quantised; auto is bfloat16 where the machine has it."""
        wide = self.dtype == "float32" or (self.dtype == "auto" and not self.hardware.bf16_fast)
        return 4 if wide else 2


@dataclass(frozen=True, slots=True)
class Fill:
    """What a micro-batch holds: tokens that are computed, tokens of its examples, answer tokens."""

    tokens: float
    examples: float
    answers: float


def batch_size(settings: TrainingSettings) -> int:
    """Examples of an optimizer step."""
    return settings.per_device_train_batch_size * settings.gradient_accumulation_steps


def steps_of(settings: TrainingSettings, examples: int) -> int:
    """Optimizer steps of a whole training."""
    steps = math.ceil(math.ceil(examples / batch_size(settings)) * settings.num_train_epochs)
    return min(steps, settings.max_steps) if settings.max_steps else steps


def fullest(settings: TrainingSettings, facts: Facts) -> Fill:
    """The fullest micro-batch of a training.

    Padded, it is the longest examples. Packed, it holds at most as many tokens as they would, and
    no more than the fullest effective batch has: sums of random draws without replacement, of
    which the largest of n lies at the normal distribution's 1 - 1/(n + 1) quantile.
    """
    data, rows = facts.data, settings.per_device_train_batch_size
    if settings.packing is False:
        rows = min(rows, data.examples)
        return Fill(float(rows * data.length_max), rows, rows * data.answer_mean)
    size = min(batch_size(settings), data.examples)
    spread = data.length_sd * math.sqrt(size * (1 - size / max(data.examples, 1)))
    quantile = NormalDist().inv_cdf(1 - 1 / (steps_of(settings, data.examples) + 1))
    whole = min(size * data.length_mean + max(quantile, 0.0) * spread, size * data.length_max)
    room = float(rows * data.length_max)
    # Rows filled to the brim may hold few long examples, of which little is shared.
    return _packed(min(whole, room), size if whole <= room else rows, settings, facts)


def usual(settings: TrainingSettings, facts: Facts) -> Fill:
    """A micro-batch as it is on average: best fit leaves a few tokens in a hundred free."""
    data, rows = facts.data, settings.per_device_train_batch_size
    size = min(batch_size(settings), data.examples)
    if settings.packing is False:
        tokens = float(min(rows, size) * data.length_mean)
        return Fill(tokens, min(rows, size), min(rows, size) * data.answer_mean)
    whole = size * data.length_mean
    bins = max(1, math.ceil(whole / (0.97 * rows * data.length_max) - 1e-9))
    return _packed(whole / bins, size / bins, settings, facts)


def _packed(tokens: float, sharing: float, settings: TrainingSettings, facts: Facts) -> Fill:
    """A row of packed examples, in which what all of them open with stands once for each part
    that is computed by itself; with dropout nothing can be shared."""
    data = facts.data
    examples = tokens / max(data.length_mean, 1.0)
    parts = side_by_side(settings, facts.hardware)
    saved = 0.0
    if settings.lora_dropout == 0 and data.shared_prefix >= 16:
        saved = max(0.0, sharing - parts) * data.shared_prefix
    return Fill(max(tokens - saved, examples), examples, examples * data.answer_mean)


def side_by_side(settings: TrainingSettings, hardware: Hardware) -> int:
    """Parts of a micro-batch that are computed at once: on a CPU as many as it has cores."""
    if hardware.device != "cpu" or settings.lora_dropout > 0:
        return 1
    return max(1, min(hardware.cores, settings.per_device_train_batch_size))
