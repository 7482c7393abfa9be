"""Adapters on a base: put on to answer, taken off again, and frozen ones that others stand beside.

What is trained, or was just trained, has PEFT's own name `default`. Adapters of earlier sessions
have names of their own and are never trained again: the model is the base, and all that stands on
it adds up (W x + s1 B1 A1 x + s2 B2 A2 x).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from tunesmith.errors import ModelError, first_line
from tunesmith.models.load import Loaded

TRAINED = "default"  # the only name under which PEFT loads a folder without being told
FILES = ("adapter_config.json", "adapter_model.safetensors")


def with_adapter(loaded: Loaded, directory: Path, *, instead_of_last: bool = False) -> Loaded:
    """The base with a trained adapter on it, ready to answer.

    It stands beside the frozen ones; `instead_of_last`: in the place of the last of them, of which
    it is the continuation. Raises ModelError where the directory holds no adapter, or one made for
    another base.
    """
    model = _put_on(loaded, directory, TRAINED)
    earlier = earlier_adapters(model)
    activate(model, [*(earlier[:-1] if instead_of_last else earlier), TRAINED])
    model.eval()
    return replace(loaded, model=model)


def without_adapter(loaded: Loaded) -> Loaded:
    """The base as it was loaded, unchanged, so that it serves many runs."""
    if TRAINED not in getattr(loaded.model, "peft_config", {}):
        return loaded
    return replace(loaded, model=take_off(loaded.model))


def bare(loaded: Loaded) -> Loaded:
    """The base with nothing on it, neither what was trained nor what is frozen."""
    from peft import PeftModel

    model = loaded.model
    return replace(
        loaded, model=_strip(model.get_base_model() if isinstance(model, PeftModel) else model)
    )


def with_earlier(loaded: Loaded, directories: Sequence[Path]) -> Loaded:
    """The base with the adapters of earlier sessions on it, frozen, in their order."""
    for number, directory in enumerate(directories):
        loaded = replace(loaded, model=_put_on(loaded, directory, f"earlier_{number}"))
    if directories:
        activate(loaded.model, earlier_adapters(loaded.model))
        loaded.model.eval()
    return loaded


def earlier_adapters(model: Any) -> list[str]:
    """Names of the frozen adapters on a model, in their order."""
    return [name for name in getattr(model, "peft_config", {}) if name != TRAINED]


def activate(model: Any, names: Sequence[str], *, train: bool = False) -> None:
    """Let these adapters add up, and no other; with `train` the one that is trained learns."""
    model.set_adapter(names[-1])  # what PEFT's outer model takes for its configuration
    model.base_model.set_adapter(list(names), inference_mode=True)
    if train:
        for name, parameter in model.named_parameters():
            if f".{TRAINED}." in name:
                parameter.requires_grad_(True)


def take_off(model: Any) -> Any:
    """The model without what was trained; where nothing else stands on it, the plain base.

    PEFT leaves a note on the base on which a second adapter would stack: it is removed.
    """
    if earlier := earlier_adapters(model):
        activate(model, earlier)
        if TRAINED in model.peft_config:
            model.delete_adapter(TRAINED)
        return model
    return _strip(model.unload())


def _put_on(loaded: Loaded, directory: Path, name: str) -> Any:
    from peft import PeftModel

    for file in FILES:
        if not (directory / file).is_file():
            raise ModelError(
                f"{directory} holds no adapter ({file} is missing)",
                hint="give the directory that training wrote",
            )
    model = loaded.model
    others = isinstance(model, PeftModel)
    try:
        with peft_unwarned():
            if others:
                model.load_adapter(str(directory), name, is_trainable=False)
                return model
            return PeftModel.from_pretrained(model, str(directory), name, is_trainable=False)
    except (RuntimeError, ValueError, TypeError, KeyError, OSError, SafetensorError) as error:
        if not others:
            _strip(model)
        elif name in model.peft_config:
            model.delete_adapter(name)
        raise ModelError(
            f"the adapter in {directory} does not fit {loaded.name}: {first_line(error)}",
            hint="an adapter belongs to the base it was trained on (adapter_config.json names it)",
        ) from error


@contextmanager
def peft_unwarned() -> Iterator[None]:
    """Keep back what no reader can change: PEFT asks transformers 5 for a property under its older
    name, and takes AdaLoRA's rank_pattern for LoRA's, before it reads it rightly."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning
        )
        unmatched = "The following rank_pattern keys did not match .*lora_E"
        warnings.filterwarnings("ignore", message=unmatched, category=RuntimeWarning)
        yield


def _strip(base: Any) -> Any:
    """The base without what PEFT leaves on it: its note, and layers of an adapter half put on.

    PEFT puts the layers on before it reads the weights; with a note left, a second would stack.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in list(base.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            base.set_submodule(name, layer.get_base_layer())
    if hasattr(base, "peft_config"):
        del base.peft_config
    return base
