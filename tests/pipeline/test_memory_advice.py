"""A training that finds too little memory stops with what the plan knows of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from small_runs import Ear
from small_topics import write_topics
from tunesmith.config import load_recipe
from tunesmith.errors import TrainingError
from tunesmith.models.resident import RESIDENT
from tunesmith.pipeline import run_recipe
from tunesmith.pipeline.datasets import desk_of
from tunesmith.pipeline.training import take_base

pytestmark = pytest.mark.xdist_group("pipeline")


def test_a_run_that_is_out_of_memory_stops_with_the_plans_advice(tmp_path: Path) -> None:
    resolved = load_recipe(write_topics(tmp_path))
    key, base = take_base(desk_of(resolved, tmp_path), resolved.recipe.model, four_bit=False)

    def refuse(model: Any, _: Any) -> None:
        if model.training:
            torch.empty(2**50, dtype=torch.uint8)  # the allocator's own refusal: a petabyte

    base.model.register_forward_pre_hook(refuse)
    RESIDENT.give_back(key, base)
    with pytest.raises(TrainingError, match="memory of cpu is not enough") as stopped:
        run_recipe(resolved, home=tmp_path / "home", listener=Ear())
    hint = stopped.value.hint or ""
    assert "the plan reckoned with" in hint
    assert "training.max_length: " in hint
    assert "other programs" in hint
