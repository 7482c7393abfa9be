"""What a training method is to the loop, which calls it at four places and knows no more of it.

`attach` puts adapters on the model; `precondition` runs between backward and the optimizer's step;
`after` behind the step; `state` goes into the checkpoint. A method is one file beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor

from tunesmith.config import ModelSettings, TrainingSettings
from tunesmith.errors import ConfigError


class Method(Protocol):
    """One way to adapt a model."""

    name: str

    def attach(self, model: Any, settings: TrainingSettings) -> Any:
        """Put trainable adapters on `model` and return the wrapped model (a PeftModel)."""
        ...

    def precondition(self, step: int) -> None:
        """Change the gradients in place, behind backward and clipping's place before it."""
        ...

    def after(self, step: int) -> None:
        """Do what belongs behind the optimizer's step."""
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
    from tunesmith.train.lora import Lora
    from tunesmith.train.upper import UpperLora

    methods: dict[str, Callable[[], Method]] = {
        "lora": Lora,
        "qlora": Lora,
        "upper_lora": UpperLora,
    }
    if name not in methods:
        raise ConfigError(
            f"unknown method {name!r}", hint=f"the methods are {', '.join(sorted(methods))}"
        )
    return methods[name]()
