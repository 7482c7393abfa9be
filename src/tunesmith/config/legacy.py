"""Keys that people's files still hold: older spellings are translated and said, other tools' names
get a *did you mean*.

The older spellings are those of transformers 4 and TRL before 0.20; transformers 5 takes a warm-up
ratio as a `warmup_steps` below 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Translation:
    """Where an older key's value goes, and how it is read."""

    target: str
    value: Callable[[Any], Any] = lambda value: value


TRUE = frozenset({"true", "yes", "on", "1", "full"})  # "full": transformers' fp16_full_eval
FALSE = frozenset({"false", "no", "off", "0", "none", ""})


def _truth(key: str, value: Any) -> bool:
    """Whether an older flag is set; ConfigError for a word that says neither."""
    word = str(value).strip().lower()
    if value is None or word in FALSE:
        return False
    if word in TRUE:
        return True
    raise ConfigError(
        f"{key}: {value!r} is neither true nor false",
        hint="write true or false; for the type of the weights, model.dtype: bfloat16",
    )


OLDER: Mapping[str, Translation] = {
    "training.evaluation_strategy": Translation("training.eval_strategy"),
    "training.warmup_ratio": Translation("training.warmup_steps"),
    "training.max_seq_length": Translation("training.max_length"),
    "training.learning_rate_scheduler": Translation("training.lr_scheduler_type"),
    "training.r": Translation("training.lora_r"),
    "training.per_gpu_train_batch_size": Translation("training.per_device_train_batch_size"),
    "model.model_name_or_path": Translation("model.name"),
    "model.torch_dtype": Translation("model.dtype"),
    "model.model_revision": Translation("model.revision"),
    "model.use_flash_attention_2": Translation(
        "model.attn_implementation",
        lambda v: "flash_attention_2" if _truth("model.use_flash_attention_2", v) else "auto",
    ),
    "evaluation.per_gpu_eval_batch_size": Translation("evaluation.per_device_eval_batch_size"),
}

# Read by hand: a flag that becomes a value of another key, or that has become unnecessary.
PRECISION = {"training.bf16": "bfloat16", "training.fp16": "float16"}
DROPPED: Mapping[str, str] = {
    "training.group_by_length": "batches are always built by length here (training.packing)",
    "training.train_sampling_strategy": "batches are always built by length here",
    "training.completion_only_loss": "the loss always stands on the answer alone",
    "training.assistant_only_loss": "the loss always stands on the answer alone",
    "training.remove_unused_columns": "there are no unused columns here",
    "training.dataset_text_field": "data.sources.NAME.fields names the columns",
}

ELSEWHERE: Mapping[str, str] = {
    "base_model": "model.name",
    "model_name_or_path": "model.name",
    "model_id": "model.name",
    "cutoff_len": "training.max_length",
    "sequence_len": "training.max_length",
    "max_seq_length": "training.max_length",
    "max_length": "training.max_length",
    "micro_batch_size": "training.per_device_train_batch_size",
    "batch_size": "training.per_device_train_batch_size",
    "per_device_train_batch_size": "training.per_device_train_batch_size",
    "gradient_accumulation_steps": "training.gradient_accumulation_steps",
    "val_set_size": "data.validation",
    "test_size": "data.test",
    "num_epochs": "training.num_train_epochs",
    "epochs": "training.num_train_epochs",
    "num_train_epochs": "training.num_train_epochs",
    "lr": "training.learning_rate",
    "learning_rate": "training.learning_rate",
    "lora_rank": "training.lora_r",
    "lora_r": "training.lora_r",
    "rank": "training.lora_r",
    "lora_alpha": "training.lora_alpha",
    "lora_dropout": "training.lora_dropout",
    "lora_target": "training.target_modules",
    "lora_target_modules": "training.target_modules",
    "lora_target_linear": "training.target_modules: all-linear",
    "target_modules": "training.target_modules",
    "adapter": "methods.NAME.method",
    "finetuning_type": "methods.NAME.method",
    "quantization_bit": "model.load_in_4bit",
    "load_in_4bit": "model.load_in_4bit",
    "dataset": "data.sources",
    "datasets": "data.sources",
    "sample_packing": "training.packing",
    "output_dir": "the option --home",
    "optimizer": "training.optim",
    "save_strategy": "training.save_steps",
    "lr_scheduler": "training.lr_scheduler_type",
    "warmup_ratio": "training.warmup_steps",
}


@dataclass(frozen=True, slots=True)
class Meant:
    """What an older key means today: a key (none: it is left out), a value, and a line about it."""

    key: str | None
    value: Any
    note: str


def translate(key: str, value: Any) -> Meant | None:
    """What `key: value` is called today, or None where it is not an older spelling."""
    if key in OLDER:
        older = OLDER[key]
        return Meant(older.target, older.value(value), f"{key} is called {older.target} now")
    if key in DROPPED:
        return Meant(None, None, f"{key} is left out: {DROPPED[key]}")
    if key == "training.max_steps" and value == -1:
        return Meant(key, None, f"{key}: -1 is no limit; left out")
    return _precision(key, value) if key in PRECISION else None


def contradiction(leaves: Iterable[tuple[str, Any]]) -> tuple[str, str] | None:
    """The two keys of one file that ask for both half precisions, which nobody can mean."""
    asked = [
        key
        for key, value in leaves
        if key in PRECISION and (meant := _precision(key, value)).key and meant.value != "auto"
    ]
    return (asked[0], asked[1]) if len(asked) > 1 else None


def _precision(key: str, value: Any) -> Meant:
    if isinstance(value, str) and value.strip().lower() == "auto":
        return Meant("model.dtype", "auto", f"{key}: auto is model.dtype: auto")
    if not _truth(key, value):
        return Meant(None, None, f"{key}: false says nothing here; model.dtype decides")
    return Meant("model.dtype", PRECISION[key], f"{key} is model.dtype: {PRECISION[key]} now")
