"""The plan of a recipe without a run: `tunesmith plan`, for this machine or for a named GPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.pipeline.context import Listener, Silent
from tunesmith.pipeline.datasets import desk_of
from tunesmith.pipeline.fallback import as_possible
from tunesmith.pipeline.planning import check_methods, forecast_variant, known_model
from tunesmith.pipeline.preparing import prepare

if TYPE_CHECKING:
    from tunesmith.config import Resolved
    from tunesmith.plan import Forecast


def forecast_recipe(
    resolved: Resolved, *, home: Path, listener: Listener | None = None, gpu: str | None = None
) -> dict[str, Forecast]:
    """The plan of every variant with what it rests on, without training anything.

    With `gpu`, for that card of the table in place of this machine; ConfigError where the table
    has none of that name, before any data are read.
    """
    from tunesmith.models.hardware import find_hardware
    from tunesmith.plan import find_gpu, load_gpus

    chosen = find_gpu(gpu, load_gpus(home)) if gpu is not None else None
    listener = listener or Silent()
    hardware = chosen.hardware() if chosen else find_hardware()
    resolved = as_possible(resolved, hardware, listener.say)
    recipe = resolved.recipe
    desk = desk_of(resolved, home, listener)
    check_methods(desk)
    known_model(recipe.model)  # before any data are read
    data = prepare(desk)
    desk.hardware = hardware
    return {variant: forecast_variant(desk, data, variant) for variant in recipe.methods}
