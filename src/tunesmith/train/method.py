"""What a training method is to the loop, which calls it at a few places and knows no more of it.

    attach, optimizer                  once
    begin                              before the gradients of a step, and before each further try
    observe, listener                  around and inside each micro-batch's passes
    precondition, after                before and behind the optimizer's step
    finish                             behind the last step, before the adapter is written
    state, load_state                  into and out of a checkpoint

A method is one file beside this one; what it does not say, `train/lora.py` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from tunesmith.config import ModelSettings, TrainingSettings
from tunesmith.errors import ConfigError
from tunesmith.records import LayerReport

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.optim import Optimizer

    from tunesmith.train.fused import Listener


class Method(Protocol):
    """One way to adapt a model."""

    name: str

    def attach(self, model: Any, settings: TrainingSettings) -> Any:
        """Put trainable adapters on `model` and return the wrapped model (a PeftModel)."""
        ...

    def optimizer(
        self, model: Any, settings: TrainingSettings, device: torch.device, total: int
    ) -> tuple[Optimizer, str]:
        """What takes the `total` steps, and one line where it is not what the recipe asks for."""
        ...

    def begin(self, step: int, answers: int) -> bool:
        """Step `step` is about to be computed, for the first time or again, with a loss that is a
        mean over `answers` tokens: forget what an earlier try of it left. True where the examples
        of this step must be computed apart: of a token that several share, a single pass has the
        sum of their gradients and not each of them."""
        ...

    def draws(self) -> bool:
        """Whether this step's statistics are to be taken with targets that the model draws itself,
        in a pass of their own."""
        ...

    def observe(self) -> AbstractContextManager[Sequence[Tensor]]:
        """Around the passes of one micro-batch, in the thread that runs it: gives what they add to
        `statistics`, whole when the block ends."""
        ...

    def listener(self, layer: Any) -> Listener | None:
        """Who wants to hear of a pass through this adapter layer; asked in the forward pass by code
        that does not call the layer's own modules (train/fused.py)."""
        ...

    def statistics(self) -> Sequence[Tensor]:
        """The sums of the step at hand: over its micro-batches in their order, and over all
        processes; added to in place."""
        ...

    def precondition(self, step: int, clip: Callable[[], float]) -> float:
        """Change the gradients in place before the optimizer's step; `clip` clips them where the
        recipe asks for it and gives their norm before that, which is given on."""
        ...

    def after(self, step: int) -> None:
        """Do what belongs behind the optimizer's step; the gradients are still there."""
        ...

    def finish(self, loss: Callable[[], float | None]) -> Sequence[str]:
        """Behind the last step, with the adapter as it will be written: change its form, where the
        method does. `loss` takes the validation loss. Lines for the person watching."""
        ...

    def reports(self) -> Sequence[LayerReport]:
        """What was seen in the layers since this was asked last, for whoever watches."""
        ...

    def state(self) -> Mapping[str, Tensor]:
        """All that exact resumption needs."""
        ...

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        ...


def check_attachable(name: str, base: ModelSettings, settings: TrainingSettings) -> None:
    """Raise what `attach` would, by the base's configuration alone: no weights are read."""
    import torch

    from tunesmith.models.load import load_config, skeleton

    with torch.device("meta"):
        get_method(name).attach(skeleton(load_config(base)), settings)


def get_method(name: str) -> Method:
    """The method of that name; `qlora` is `lora` on a base in 4 bits."""
    from tunesmith.train.adalora import AdaLora
    from tunesmith.train.dora import Dora
    from tunesmith.train.grit import GritMethod
    from tunesmith.train.lora import Lora
    from tunesmith.train.lora_plus import LoraPlus
    from tunesmith.train.riemannian import Riemannian
    from tunesmith.train.upper import UpperLora

    methods: dict[str, Callable[[], Method]] = {
        "lora": Lora,
        "qlora": Lora,
        "upper_lora": UpperLora,
        "grit": GritMethod,
        "dora": Dora,
        "adalora": AdaLora,
        "lora_plus": LoraPlus,
        "riemannian": Riemannian,
    }
    if name not in methods:
        raise ConfigError(
            f"unknown method {name!r}", hint=f"the methods are {', '.join(sorted(methods))}"
        )
    return methods[name]()
