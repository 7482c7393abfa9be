"""GRIT in transformers' Trainer, and in what stands on it (TRL's SFTTrainer, say).

    trainer = SFTTrainer(model, args, peft_config=LoraConfig(...), callbacks=[GritCallback()])

The Trainer clips before it calls: the natural gradient is made of clipped ones. The statistics go
into each checkpoint (`grit.safetensors`) and come back on resumption. Several processes (DDP) add
theirs up; a model whose adapter is divided among them is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
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
    `loss` takes the loss (nats per answer token) that smaller ranks at the end must not raise, on
    rows that are kept back; without it they are judged by what they are expected to cost alone.
    Raises ConfigError for settings that are the Trainer's to make (learning rate, optimizer), and
    for ranks that change on the way, which its checkpoints cannot hold.
    """

    def __init__(
        self,
        config: GritConfig | None = None,
        adapter: str = "default",
        loss: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.loss = loss
        self.config = config or GritConfig()
        self.adapter = adapter
        self.grit: Grit | None = None
        self.said: Sequence[str] = ()
        self._counted: Any = (
            0  # answer tokens of the step at hand; None: the batches have no labels
        )
        self._hook: Any = None
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
        model = kwargs["model"]
        self.grit = Grit(model, self.config, self.adapter)
        self.grit.seed = args.seed  # torch's own may be another in each process
        self._hook = model.register_forward_pre_hook(self._count, with_kwargs=True)
        if state.global_step:
            self._load(_place(args, state))

    def _load(self, place: Path) -> bool:
        """Go on with a checkpoint's statistics; whether there are any."""
        if self.grit is not None and place.is_file():
            self.grit.load_state(load_file(place))
            return True
        warnings.warn(
            f"no {FILE} in {place.parent}: GRIT's statistics begin anew (a checkpoint to resume "
            "from must lie in output_dir)",
            stacklevel=2,
        )
        return False

    def _count(self, model: Any, _: Any, inputs: dict[str, Any]) -> None:
        """The answer tokens that the loss will be a mean over."""
        labels = inputs.get("labels")
        if labels is None or self._counted is None:
            self._counted = None if model.training else self._counted
        elif model.training:
            self._counted = self._counted + (labels[:, 1:] != -100).sum()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """An optimizer step's passes begin."""
        if self.grit is not None:
            self.grit.begin(state.global_step + 1)
            self._counted = 0

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Natural gradients in the place of the plain ones."""
        if self.grit is None:
            return
        seen, processes = self.grit.seen, 1
        if seen.looking:
            answers = torch.tensor(int(self._counted or 0), device=seen.device)
            if dist.is_available() and dist.is_initialized():
                processes = dist.get_world_size()
                for tensor in (*seen.sums[:-1], answers):
                    dist.all_reduce(tensor)
            if self._counted is not None:
                seen.count(max(int(answers), 1))
        scaler = getattr(kwargs.get("optimizer"), "scaler", None)
        scale = float(scaler.get_scale()) if scaler is not None and scaler.is_enabled() else 1.0
        # DDP takes the mean of gradients: each loss is so many times its part of the whole one.
        self.grit.precondition(state.global_step + 1, loss_scale=scale * processes)

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
        self._hook.remove()
        if not self.config.compact_at_end:
            return
        best = state.best_model_checkpoint if args.load_best_model_at_end else None
        if self._counted is None:
            self.said = ("every rank stays: the batches have no labels to weigh a change by",)
        elif best is None or self._load(Path(best) / FILE):
            peft = kwargs["model"].peft_config[self.adapter]
            self.said = self.grit.compact(self.loss, peft)
        else:
            self.said = ("every rank stays: the best step came back without its statistics",)


def _place(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}" / FILE
