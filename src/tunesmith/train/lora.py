"""LoRA (Hu et al. 2021, arXiv 2106.09685): W x + s·B A x with A, B of low rank, s = alpha / r.

On a base in 4 bits the same lines are QLoRA (Dettmers et al. 2023, arXiv 2305.14314).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.optim import Optimizer

from tunesmith.config import TrainingSettings
from tunesmith.errors import ConfigError, ModelError
from tunesmith.models.adapters import TRAINED, activate, earlier_adapters, peft_unwarned
from tunesmith.records import LayerReport
from tunesmith.train.fused import Listener
from tunesmith.train.optimizer import build_optimizer


class Lora:
    """Low-rank adaptation as PEFT has it; nothing happens between backward and step."""

    name = "lora"

    def attach(self, model: Any, settings: TrainingSettings) -> Any:
        """Wrap `model`; B starts at zero, so the wrapped model answers as the base does.

        Raises ConfigError where a name of training.target_modules matches no module, ModelError
        where a module takes no adapter.
        """
        targets = settings.target_modules
        if not isinstance(targets, str):
            _check_targets(model, targets)
        config = self.config(settings, self.where(model, settings))
        try:
            with peft_unwarned():
                if earlier := earlier_adapters(model):
                    return _beside(model, earlier, config, settings)
                return get_peft_model(model, config)
        except ValueError as error:
            raise ModelError(
                f"no adapter can be put on this model: {error}",
                hint='check training.target_modules; "all-linear" fits every model',
            ) from error

    def config(self, settings: TrainingSettings, where: Mapping[str, Any]) -> LoraConfig:
        """What PEFT is to put on the modules of `where`."""
        alpha: Any = settings.lora_alpha  # PEFT's annotation says int; it takes any number
        return LoraConfig(
            task_type="CAUSAL_LM",
            r=settings.lora_r,
            lora_alpha=alpha,
            lora_dropout=settings.lora_dropout,
            use_rslora=settings.use_rslora,
            bias="none",
            **where,
        )

    def where(self, model: Any, settings: TrainingSettings) -> dict[str, Any]:
        """Which modules get an adapter, as LoraConfig has it."""
        if settings.layers_to_transform is not None:
            raise ConfigError(
                "training.layers_to_transform: lora adapts every layer",
                hint="name the method upper_lora, so that a comparison tells the two apart",
            )
        targets = settings.target_modules
        return {"target_modules": targets if isinstance(targets, str) else list(targets)}

    def optimizer(
        self, model: Any, settings: TrainingSettings, device: torch.device, total: int
    ) -> tuple[Optimizer, str]:
        """As the recipe asks for it."""
        return build_optimizer(model.parameters(), settings, device)

    def begin(self, step: int, answers: int) -> bool:
        """Sums of gradients are all it wants."""
        return False

    def draws(self) -> bool:
        """There are none."""
        return False

    def observe(self) -> AbstractContextManager[Sequence[Tensor]]:
        """Nothing is observed."""
        return nullcontext(())

    def listener(self, layer: Any) -> Listener | None:
        """Nobody listens."""
        return None

    def statistics(self) -> Sequence[Tensor]:
        """There are none."""
        return ()

    def precondition(self, step: int, clip: Callable[[], float]) -> float:
        """Plain gradients."""
        return clip()

    def after(self, step: int) -> None:
        """Nothing."""

    def finish(self, loss: Callable[[], float | None]) -> Sequence[str]:
        """The adapter stays as it is."""
        return ()

    def reports(self) -> Sequence[LayerReport]:
        """Nothing is looked at."""
        return ()

    def state(self) -> Mapping[str, Tensor]:
        """LoRA keeps nothing beside the adapter itself."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to put back."""


def _beside(
    model: Any, earlier: Sequence[str], config: LoraConfig, settings: TrainingSettings
) -> Any:
    """A new adapter beside frozen ones; or the last of them, copied, in its own place."""
    if settings.continue_adapter:
        last = earlier[-1]
        model.add_adapter(TRAINED, replace(model.peft_config[last], inference_mode=False))
        weights = {name: p for name, p in model.named_parameters() if f".{last}." in name}
        for name, parameter in model.named_parameters():
            if f".{TRAINED}." in name:
                parameter.data.copy_(weights[name.replace(f".{TRAINED}.", f".{last}.")])
        earlier = earlier[:-1]
    else:
        model.add_adapter(TRAINED, config)
    activate(model, [*earlier, TRAINED], train=True)
    return model


def _check_targets(model: Any, targets: Sequence[str]) -> None:
    """Refuse names that match no module: PEFT passes over them as long as one name matches, and a
    list made for another family would adapt a part of the layers without a word."""
    modules = [name for name, _ in model.named_modules()]
    unmatched = [
        target
        for target in targets
        if not any(name == target or name.endswith(f".{target}") for name in modules)
    ]
    if not unmatched:
        return
    linear = dict.fromkeys(
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not model.get_output_embeddings()
    )
    near = [difflib.get_close_matches(target, linear, n=1) for target in unmatched]
    meant = ", ".join(dict.fromkeys(found[0] for found in near if found))
    raise ConfigError(
        f"training.target_modules: this model has no module named {', '.join(unmatched)}",
        hint=(f"did you mean {meant}? " if meant else "")
        + f'its layers are {", ".join(linear)}; "all-linear" takes every one',
    )
