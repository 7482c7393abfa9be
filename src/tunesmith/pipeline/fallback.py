"""A recipe as this machine can run it: without 4-bit where there is none.

What is run is what is recorded: plan, store and report speak of the methods that were trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from tunesmith.errors import ModelError
from tunesmith.records import Hardware

if TYPE_CHECKING:
    from tunesmith.config import Resolved
    from tunesmith.config.model import MethodSettings, Recipe


def as_possible(resolved: Resolved, hardware: Hardware, say: Callable[[str], None]) -> Resolved:
    """The recipe itself; where it wants 4 bits and the machine has none, the same with LoRA on the
    unquantised base, and one line that says so.

    ModelError where adapters stand on the 4-bit base: on other weights they would answer otherwise
    than they were trained to.
    """
    from tunesmith.models.load import choose_dtype

    recipe = resolved.recipe
    wanting = [variant for variant in recipe.methods if recipe.four_bit(variant)]
    if hardware.four_bit or not (wanting or recipe.model.load_in_4bit):
        return resolved
    if recipe.model.adapters:
        raise ModelError(
            f"model.adapters want a base in 4 bits, and here is none: {hardware.four_bit_reason}",
            hint="install bitsandbytes, or go on where it is installed",
        )
    methods, names = _unquantised(recipe, wanting)
    dtype = str(choose_dtype(recipe.model.dtype, hardware)).removeprefix("torch.")
    fates = [_fate(old, new, methods) for old, new in names.items()]
    if recipe.model.load_in_4bit:
        fates.append("the baseline answers with the unquantised base")
    say(f"no 4-bit base ({hardware.four_bit_reason}), {dtype} instead: " + "; ".join(fates))
    model = recipe.model.model_copy(update={"load_in_4bit": False})
    return replace(
        resolved,
        recipe=recipe.model_copy(update={"model": model, "methods": methods}),
        origins={_renamed(key, names): origin for key, origin in resolved.origins.items()},
    )


def _fate(old: str, new: str | None, methods: Mapping[str, MethodSettings]) -> str:
    if new is None:
        return f"{old} is left out, the recipe has the same without"
    method = methods[new].method
    return f"{old} becomes {method}" + (f", called {new}" if new not in (old, method) else "")


def _unquantised(
    recipe: Recipe, wanting: list[str]
) -> tuple[dict[str, MethodSettings], dict[str, str | None]]:
    """The methods on a base that is not quantised, and the new name of each that wanted it to be;
    None for one that is then the same as another."""
    plain = {
        variant: method.model_copy(
            update={
                "method": "lora" if method.method == "qlora" else method.method,
                "load_in_4bit": False,
            }
        )
        for variant, method in recipe.methods.items()
    }
    kept = {variant: method for variant, method in plain.items() if variant not in wanting}
    names: dict[str, str | None] = {}
    for variant in wanting:
        free = "lora" if "lora" not in recipe.methods else "lora_unquantised"
        names[variant] = free if variant == "qlora" else variant
        if plain[variant] in kept.values():
            names[variant] = None
        else:
            kept[names[variant] or variant] = plain[variant]
    return kept, names


def _renamed(key: str, names: dict[str, str | None]) -> str:
    """The dotted key of a value under its variant's new name."""
    parts = key.split(".")
    if parts[0] == "methods" and len(parts) > 1:
        parts[1] = names.get(parts[1]) or parts[1]
    return ".".join(parts)
