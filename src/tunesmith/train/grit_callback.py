"""GRIT in transformers' Trainer, and in what stands on it (TRL's SFTTrainer, say).

    trainer = SFTTrainer(model, args, peft_config=LoraConfig(...), callbacks=[GritCallback()])

The Trainer clips before it calls: the natural gradient is made of clipped ones. The statistics go
into each checkpoint (`grit.safetensors`) and come back on resumption. Several processes (DDP) add
theirs up; a model whose adapter is divided among them is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from tunesmith.config.grit import GritConfig
from tunesmith.errors import ConfigError
from tunesmith.records import LayerReport
from tunesmith.train.grit import Grit

FILE = "grit.safetensors"


class GritCallback(TrainerCallback):
    """GRIT for a Trainer whose model is a PeftModel with LoRA layers.

    `said` holds what the end of the training had to say; `reports()` what was seen in the layers.
    Raises ConfigError for settings that are the Trainer's to make (learning rate, optimizer), and
    for ranks that change on the way, which its checkpoints cannot hold.
    """

    def __init__(self, config: GritConfig | None = None, adapter: str = "default") -> None:
        self.config = config or GritConfig()
        self.adapter = adapter
        self.grit: Grit | None = None
        self.said: Sequence[str] = ()
        if self.config.inner != "optim" or self.config.learning_rate is not None:
            raise ConfigError(
                "grit.inner and grit.learning_rate: a Trainer has its own",
                hint="set optim and learning_rate in its TrainingArguments",
            )
        if self.config.fisher != "empirical":
            raise ConfigError(
                "grit.fisher: a Trainer gives no pass of its own to sampled labels",
                hint="use the empirical Fisher matrix",
            )
        if self.config.reprojection_freq and self.config.after == "compact":
            raise ConfigError(
                "grit.after: compact on the way gives the adapter other shapes, which a Trainer's "
                "checkpoints cannot be resumed with",
                hint="use refresh, or compact_at_end",
            )

    def reports(self) -> Sequence[LayerReport]:
        """What was seen in the layers since this was asked last."""
        return self.grit.reports() if self.grit is not None else ()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look into the model; go on with a checkpoint's statistics, where it is one's."""
        self.grit = Grit(kwargs["model"], self.config, self.adapter)
        if state.global_step and (kept := _place(args, state)).is_file():
            self.grit.load_state(load_file(kept))

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """An optimizer step's passes begin."""
        if self.grit is not None:
            self.grit.begin(state.global_step + 1)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Natural gradients in the place of the plain ones."""
        if self.grit is None:
            return
        if dist.is_available() and dist.is_initialized():
            for tensor in self.grit.seen.sums[:-1]:
                dist.all_reduce(tensor)
        scaler = getattr(kwargs.get("optimizer"), "scaler", None)
        scale = float(scaler.get_scale()) if scaler is not None and scaler.is_enabled() else 1.0
        self.grit.precondition(state.global_step + 1, loss_scale=scale)

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Reprojection, where it is due."""
        if self.grit is not None:
            self.grit.after(state.global_step + 1, kwargs.get("optimizer"))

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The statistics go into the checkpoint."""
        if self.grit is not None and state.is_world_process_zero:
            save_file(self.grit.state(), _place(args, state))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Smaller adapters, where that costs next to nothing; the hooks come off."""
        if self.grit is None:
            return
        self.grit.detach()
        if self.config.compact_at_end:
            peft = kwargs["model"].peft_config[self.adapter]
            self.said = self.grit.compact(lambda: None, peft)


def _place(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}" / FILE
