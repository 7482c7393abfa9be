"""AdaLoRA (Zhang et al. 2023, arXiv 2303.10512): W x + s·B diag(E) A x; singular values compete.

Every module starts with half again as many directions as the recipe's rank. After a warm-up those
that matter least (sensitivity times its uncertainty, both smoothed) get E = 0, over all modules
together, until the rank is the recipe's on average; the last half of the steps trains what is left.
A penalty keeps the rows of A and the columns of B near orthonormal.

PEFT has it as a model, a trainer and a way to save in one; here its allocator is called behind the
optimizer's step, and the penalty, which PEFT adds to a loss of its own, enters as a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from peft import AdaLoraConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from tunesmith.config import TrainingSettings
from tunesmith.errors import ModelError
from tunesmith.models.adapters import TRAINED, earlier_adapters
from tunesmith.train.lora import Lora

# Of all steps, after the authors' scripts for GLUE (MNLI, CoLA, MRPC: 9 to 17 % and 52 to 58 %; a
# look at the budget every 0.03 to 0.15 %, penalty 0.1 where PEFT's default is 0.5).
WARM_UP, LAST, LOOKS, PENALTY = 1 / 8, 1 / 2, 1000, 0.1
AVERAGE, UNCERTAINTY, KEPT = "average.", "uncertainty.", "kept."  # names in a checkpoint


class AdaLora(Lora):
    """PEFT's AdaLoRA in the loop: training.lora_r is the mean rank that it ends with."""

    name = "adalora"

    def __init__(self) -> None:
        self.model: Any = None
        self.pattern: dict[str, list[bool]] = {}  # which singular values stay, by E's name

    def attach(self, model: Any, settings: TrainingSettings) -> Any:
        """As LoRA's; E starts at zero. ModelError on a base with earlier adapters."""
        if earlier_adapters(model):
            raise ModelError(
                "adalora cannot stand beside other adapters: PEFT keeps its kind apart from theirs",
                hint="take another method, or a base without model.adapters",
            )
        self.model = super().attach(model, settings)
        for name, parameter in self.model.named_parameters():
            if ".ranknum." in name:  # a constant that PEFT does not save, and trains in 16 bit
                parameter.requires_grad_(False)
        return self.model

    def config(self, settings: TrainingSettings, where: Mapping[str, Any]) -> AdaLoraConfig:
        """With half again the rank at the start (paper, sec. 4); PEFT divides alpha by that, and
        the recipe's alpha is meant for its own rank."""
        rank = settings.lora_r
        start = -(-3 * rank // 2)
        divisor = rank**0.5 if settings.use_rslora else rank
        alpha: Any = settings.lora_alpha * start / divisor  # PEFT's annotation says int
        return AdaLoraConfig(
            task_type="CAUSAL_LM",
            init_r=start,
            target_r=rank,
            lora_alpha=alpha,
            lora_dropout=settings.lora_dropout,
            orth_reg_weight=PENALTY,
            total_step=1,  # told when the optimizer is made
            bias="none",
            **where,
        )

    def optimizer(
        self, model: Any, settings: TrainingSettings, device: torch.device, total: int
    ) -> tuple[Optimizer, str]:
        """As the recipe asks for it; the budget's schedule is over the same `total` steps."""
        config = model.peft_config[TRAINED]
        config.total_step = total
        config.tinit, config.tfinal = int(WARM_UP * total), int(LAST * total)
        config.deltaT = max(1, total // LOOKS)
        return super().optimizer(model, settings, device, total)

    def precondition(self, step: int, clip: Callable[[], float]) -> float:
        """Add the gradient of PENALTY · mean ‖P P^T - 1‖ over all A and B^T; then clip."""
        with torch.no_grad():
            sides = [p for name, p in self._parameters() if "lora_E" not in name]
            for name, parameter in self._parameters():
                if parameter.grad is None:  # the allocator asks for every one
                    parameter.grad = torch.zeros_like(parameter)
                if "lora_E" in name:
                    continue
                rows = parameter if "lora_A" in name else parameter.T
                off = rows @ rows.T
                off.diagonal().sub_(1)
                slope = off @ rows / off.norm().clamp_min(1e-12)
                added = slope if "lora_A" in name else slope.T
                parameter.grad.add_(added, alpha=2 * PENALTY / len(sides))
        return clip()

    def after(self, step: int) -> None:
        """Judge the directions by weights and gradients; put to zero what is over the budget."""
        config = self.model.peft_config[TRAINED]
        config.rank_pattern = self.pattern or None
        self.model.base_model.update_and_allocate(step)
        self.pattern = config.rank_pattern or {}
        # With a pattern PEFT writes the directions that stay and no others; those that are at zero
        # in the middle of a training may come back, and a checkpoint needs them.
        config.rank_pattern = None

    def finish(self, loss: Callable[[], float | None]) -> Sequence[str]:
        """Leave out what is at zero: the adapter is written without it."""
        pattern: dict[str, list[bool]] = {}
        ranks: list[int] = []
        for name, parameter in self._parameters():
            if "lora_E" in name:
                stays = (parameter != 0).flatten().tolist()
                ranks.append(sum(stays))
                # A module without any keeps one, at zero: nobody reads tensors without elements.
                pattern[name] = stays if any(stays) else [True, *stays[1:]]
        self.model.peft_config[TRAINED].rank_pattern = pattern
        every = sum(map(len, pattern.values()))
        kept = f"{sum(ranks)} of {every} directions, {min(ranks)} to {max(ranks)} a module"
        return [f"adalora keeps {kept}"]

    def state(self) -> Mapping[str, Tensor]:
        """The allocator's smoothed scores, and which directions stay."""
        allocator = self.model.base_model.rankallocator
        kept = {KEPT + name: torch.tensor(stays) for name, stays in self.pattern.items()}
        scores = {
            prefix + name: score
            for prefix, table in self._tables(allocator)
            for name, score in table.items()
        }
        return scores | kept

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        allocator = self.model.base_model.rankallocator
        allocator.reset_ipt()
        places = dict(self._parameters())
        for prefix, table in self._tables(allocator):
            for key, score in state.items():
                if key.startswith(prefix):
                    name = key.removeprefix(prefix)
                    table[name] = score.to(places[name].device)
        allocator.ipt = dict(allocator.exp_avg_ipt)  # PEFT begins anew for a name not in it
        self.pattern = {
            key.removeprefix(KEPT): stays.tolist()
            for key, stays in state.items()
            if key.startswith(KEPT)
        }

    def _parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """What is trained, by the names that PEFT's allocator has for it."""
        for name, parameter in self.model.base_model.model.named_parameters():
            if parameter.requires_grad:
                yield name, parameter

    @staticmethod
    def _tables(allocator: Any) -> Sequence[tuple[str, dict[str, Tensor]]]:
        return (AVERAGE, allocator.exp_avg_ipt), (UNCERTAINTY, allocator.exp_avg_unc)
