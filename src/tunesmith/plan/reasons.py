"""Why a value stands that nobody decided here, and whose it is: the recipe's, or a default's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tunesmith.plan.facts import Facts, batch_size

if TYPE_CHECKING:
    from tunesmith.config import TrainingSettings

GPU_OPTIMIZERS = ("adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit")
# Where a default comes from.
PAPERS: Mapping[str, str] = {
    "learning_rate": "arXiv 2305.14314, table 9",
    "lora_r": "arXiv 2106.09685",
    "lora_alpha": "arXiv 2106.09685",
    "use_rslora": "arXiv 2312.03732",
    "target_modules": "arXiv 2305.14314, sec. 4",
    "lr_scheduler_type": "arXiv 1608.03983",
    "weight_decay": "arXiv 1711.05101",
    "adam_beta1": "arXiv 1412.6980",
    "adam_beta2": "arXiv 1412.6980",
    "adam_epsilon": "arXiv 1412.6980",
    "max_grad_norm": "arXiv 1211.5063",
    "optim": "arXiv 1711.05101",
    "gradient_checkpointing": "arXiv 1604.06174",
    "label_smoothing_factor": "arXiv 1512.00567",
    "packing": "arXiv 2107.02027",
}


def source_of(name: str, origins: Mapping[str, str]) -> str:
    """Where the recipe says a value, or whose default it is."""
    origin = origins.get(name, "default")
    paper = PAPERS.get(name)
    return f"{origin} ({paper})" if origin == "default" and paper else origin


def meaning(name: str) -> str:
    """What a setting is, where nothing more is to be said of its value."""
    from tunesmith.config import TrainingSettings

    described = (TrainingSettings.model_fields[name].description or name).rstrip(".")
    if described.startswith("Adam"):  # a name
        return described
    return described[:1].lower() + described[1:]


def reasons(settings: TrainingSettings, facts: Facts) -> dict[str, str]:
    """Why values stand, where there is more to say than that somebody chose them."""
    data = facts.data
    scale = f"alpha / r = {settings.lora_alpha / settings.lora_r:g}"
    if settings.use_rslora:
        scale = f"alpha / sqrt(r) = {settings.lora_alpha / math.sqrt(settings.lora_r):g}"
    found = {
        "mode": "every value as the recipe or its default says"
        if settings.mode == "fixed"
        else f"what the recipe leaves open follows from {data.examples} examples",
        "lora_alpha": f"scale {scale}",
        "gradient_accumulation_steps": f"{batch_size(settings)} examples an optimizer step",
        "max_length": f"the longest of {data.examples} examples has {data.length_max} tokens, "
        f"99 in 100 at most {data.length_p99}",
        "packing": "short examples are laid end to end in one row and none sees another: saves "
        "the padding that would fill up the shorter ones",
    }
    if below_p99(facts):
        found["max_length"] += f"; {facts.overlong} longer ones were set aside"
    if settings.optim in GPU_OPTIMIZERS and facts.hardware.device != "cuda":
        found["optim"] = "no NVIDIA GPU here: adamw_torch stands in for it"
    return found


def below_p99(facts: Facts) -> bool:
    """Whether more than one example in a hundred was too long for max_length."""
    return facts.overlong > 0.01 * facts.bounded
