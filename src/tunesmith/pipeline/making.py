"""A recipe's rows in one go: collect what is to be read, generate what is to be written."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import EndpointError
from tunesmith.pipeline.collecting import collected
from tunesmith.pipeline.context import Listener
from tunesmith.pipeline.datasets import desk_of
from tunesmith.pipeline.generating import generate_named, generation

if TYPE_CHECKING:
    from tunesmith.config import Resolved


def make_rows(resolved: Resolved, *, home: Path, listener: Listener, budget: float) -> float:
    """Make the rows of every source that says `generate: NAME` of data.generate; returns USD spent.

    The documents that they are made of are collected where they are missing. `budget` is in USD
    and counts what these generations ever cost, as that of `tunesmith data generate` does; where a
    generation has a budget of its own, the smaller one holds. Raises
    EndpointError where it is reached, with what was saved; the same call goes on from there.
    """
    recipe = resolved.recipe
    asked = dict.fromkeys(
        s.generate
        for s in recipe.data.sources.values()
        if s is not None and s.generate in recipe.data.generate
    )
    desk = desk_of(resolved, home, listener)
    spent = 0.0
    for name in filter(None, asked):
        source = generation(recipe, name).source
        if source in recipe.data.collect:
            collected(desk, source)
        own = generation(recipe, name).budget
        left = max(min(budget - spent, own or math.inf), 1e-9)
        made = generate_named(resolved, name, home=home, listener=listener, budget=left)
        spent += made.facts["cost_usd"]["spent"]
        if not made.complete:
            raise EndpointError(
                f"{name}: {made.facts['message']}; {made.facts['rows']:,} rows are kept",
                hint="a larger --budget goes on from here; without --budget the run takes the rows "
                "that are there",
            )
    return spent
