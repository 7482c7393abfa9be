"""The hyperparameters of a training, with a description and a unit for every key."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from tunesmith.config.base import Settings
from tunesmith.config.grit import GritConfig


class TrainingSettings(Settings):
    """Hyperparameters, by the names of transformers' TrainingArguments and PEFT's LoraConfig."""

    mode: Literal["fixed", "adaptive"] = Field(
        "fixed",
        description="adaptive: what the recipe does not set follows from the size of the data.",
    )
    learning_rate: float = Field(2e-4, gt=0, description="Peak learning rate.")
    num_train_epochs: float = Field(3.0, gt=0, description="Passes over the training part.")
    max_steps: int | None = Field(None, gt=0, description="Stop after this many optimizer steps.")
    per_device_train_batch_size: int = Field(
        8, gt=0, description="Examples of a micro-batch; bounds memory, packed or padded."
    )
    gradient_accumulation_steps: int = Field(
        1, gt=0, description="Micro-batches of an optimizer step."
    )
    lora_r: int = Field(16, gt=0, description="Rank of the adapter.")
    lora_alpha: float = Field(32, gt=0, description="Scale: the update is multiplied by alpha / r.")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout in front of the adapter.")
    use_rslora: bool = Field(False, description="Scale by alpha / sqrt(r) (arXiv 2312.03732).")
    target_modules: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear", description="Layers that get an adapter: all-linear, or a list of names."
    )
    layers_to_transform: tuple[int, ...] | None = Field(
        None, description="upper_lora: layers that get an adapter; None: the upper half."
    )
    continue_adapter: bool = Field(
        False, description="Train the last of model.adapters further, instead of a new adapter."
    )
    max_length: int = Field(2048, gt=0, description="Longest example, in tokens with its answer.")
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = Field(
        "cosine", description="Learning-rate schedule."
    )
    warmup_steps: float = Field(
        0.03, ge=0, description="Warm-up in optimizer steps; below 1 a share of all steps."
    )
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay.")
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="Adam's first decay.")
    adam_beta2: float = Field(0.999, ge=0, lt=1, description="Adam's second decay.")
    adam_epsilon: float = Field(1e-8, gt=0, description="Adam's epsilon.")
    max_grad_norm: float = Field(1.0, ge=0, description="Clip gradients to this norm; 0 never.")
    optim: Literal[
        "adamw_torch",
        "adamw_torch_fused",
        "adamw_8bit",
        "paged_adamw_8bit",
        "paged_adamw_32bit",
        "sgd",
    ] = Field("adamw_torch", description="Optimizer; sgd has momentum 0.9.")
    packing: bool | Literal["auto"] = Field(
        "auto", description="Examples share a row without seeing one another; no padding."
    )
    gradient_checkpointing: bool | Literal["auto"] = Field(
        "auto", description="Compute activations again to save memory; auto: only if memory asks."
    )
    label_smoothing_factor: float = Field(0.0, ge=0, lt=1, description="Label smoothing.")
    eval_strategy: Literal["no", "steps", "epoch"] = Field(
        "epoch", description="When the validation loss is taken; at the end in any case."
    )
    eval_steps: int | None = Field(None, gt=0, description="Steps between validations.")
    eval_prompts: int = Field(
        0,
        ge=0,
        description="Validation prompts answered (greedily) and scored when the validation loss is "
        "taken; 0 for none.",
    )
    save_steps: int | None = Field(None, gt=0, description="Steps between checkpoints.")
    save_total_limit: int = Field(2, gt=0, description="Checkpoints kept.")
    load_best_model_at_end: bool = Field(
        False, description="The adapter is that of the best validation, not of the last step."
    )
    metric_for_best_model: str | None = Field(
        None,
        description="What the best validation is told by: loss (also None), or a score's name.",
    )
    greater_is_better: bool | None = Field(
        None, description="Whether more of that is better; None: yes, but for a loss."
    )
    early_stopping_patience: int | None = Field(
        None, gt=0, description="Stop after so many validations in a row that were no better."
    )
    loss_spike_factor: float = Field(
        3.0,
        ge=0,
        description="Stop where the loss is over so many times the median of the last 20 steps, "
        "and a nat over all of the first five; 0 never.",
    )
    grit: GritConfig = Field(default_factory=GritConfig, description="The knobs of method grit.")
    logging_steps: int = Field(1, gt=0, description="Steps between lines sent to trackers.")
    report_to: tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...] = Field(
        (), description="Trackers beside the store: of tensorboard, wandb, mlflow and trackio."
    )

    @field_validator("report_to", mode="before")
    @classmethod
    def _trackers(cls, value: Any) -> Any:
        """As in transformers, one tracker may stand alone, and `none` is none."""
        return (() if value == "none" else (value,)) if isinstance(value, str) else value
