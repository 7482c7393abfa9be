"""Adaptive mode in a run: what the plan says is what is trained, and found again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from small_runs import SMALL, Ear
from tunesmith.config import load_recipe
from tunesmith.pipeline import run_recipe
from tunesmith.store.store import Store

pytestmark = pytest.mark.xdist_group("pipeline")

RECIPE = """\
name: open
task: dot_graph
data:
  sources:
    machines: {generate: machines, rows: 40, role: train}
    unseen: {generate: machines, rows: 12, role: test}
  validation: 0.05
training:
  mode: adaptive
  learning_rate: 4.0e-3
"""


def test_a_run_trains_with_what_the_plan_decided(tmp_path: Path) -> None:
    (tmp_path / "open.yaml").write_text(RECIPE, "utf-8")
    resolved = load_recipe(str(tmp_path / "open.yaml"), sets=SMALL)
    home = tmp_path / "home"
    finished = run_recipe(resolved, home=home, listener=Ear())
    with Store.open(home) as store:
        plan = store.plans(finished.id)["lora"]
    sources = {choice.name: choice.source for choice in plan.choices}
    assert (plan.value("lora_r"), plan.value("num_train_epochs")) == (8, 10)
    assert plan.value("learning_rate") == 4e-3
    assert sources["learning_rate"] == "recipe, line 10"
    assert sources["max_steps"] == "set (--set)"
    assert sources["lora_r"] == "size table, under 100 examples"
    [config] = home.glob("artefacts/adapter-*/adapter/adapter_config.json")
    adapter = json.loads(config.read_text("utf-8"))
    assert (adapter["r"], adapter["lora_alpha"]) == (8, 16)

    ear = Ear()
    run_recipe(resolved, home=home, listener=ear)
    assert any("trained before from the same inputs" in line for line in ear.lines)
    said = load_recipe(str(tmp_path / "open.yaml"), sets=(*SMALL, "training.lora_r=4"))
    run_recipe(said, home=home, listener=Ear())
    ranks = {
        json.loads(c.read_text("utf-8"))["r"]
        for c in home.glob("artefacts/adapter-*/adapter/adapter_config.json")
    }
    assert ranks == {4, 8}
