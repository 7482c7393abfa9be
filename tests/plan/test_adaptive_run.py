"""Adaptive mode in a run: what the plan says is what is trained, and found again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from small_runs import SMALL, Ear
from tunesmith.config import Resolved, load_recipe
from tunesmith.errors import ConfigError
from tunesmith.pipeline import forecast_recipe, run_recipe
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


@pytest.fixture
def asking(tmp_path: Path) -> Callable[..., Resolved]:
    """The recipe above in fixed mode, with these methods and `--set`."""

    def read(methods: str, *sets: str) -> Resolved:
        body = RECIPE.replace("adaptive", "fixed") + f"methods: {methods}\n"
        (tmp_path / "open.yaml").write_text(body, "utf-8")
        return load_recipe(tmp_path / "open.yaml", sets=sets)

    return read


ADAPTIVE = "{training: {mode: adaptive}}"


def test_a_method_of_its_own_may_be_adaptive(
    tmp_path: Path, asking: Callable[..., Resolved]
) -> None:
    plan = forecast_recipe(asking(f"{{lora: {ADAPTIVE}}}"), home=tmp_path)["lora"].plan
    assert (plan.value("lora_r"), plan.value("max_length")) == (8, 512)
    assert "size table" in next(c.source for c in plan.choices if c.name == "max_length")
    held = asking("{lora: {training: {mode: adaptive, lora_r: null}}}", "training.lora_r=3")
    assert forecast_recipe(held, home=tmp_path)["lora"].plan.value("lora_r") == 8


def test_variants_that_would_see_different_rows_are_refused_by_name(
    tmp_path: Path, asking: Callable[..., Resolved]
) -> None:
    mixed = "{lora: {}, sized: {method: lora, training: {mode: adaptive}}}"
    with pytest.raises(ConfigError, match=r"lora .*2048.*sized .*adaptive") as refused:
        forecast_recipe(asking(mixed), home=tmp_path)
    assert "training.max_length" in (refused.value.hint or "")
    plans = forecast_recipe(asking(mixed, "training.max_length=600"), home=tmp_path)
    assert {name: f.plan.value("max_length") for name, f in plans.items()} == {
        "lora": 600,
        "sized": 600,
    }
    assert plans["sized"].plan.value("lora_r") == 8
    with pytest.raises(ConfigError, match=r"lora .*64.*sized .*600"):
        forecast_recipe(
            asking(mixed, "training.max_length=600", "methods.lora.training.max_length=64"),
            home=tmp_path,
        )


def test_a_lone_methods_own_length_bounds_the_data(
    tmp_path: Path, asking: Callable[..., Resolved]
) -> None:
    found = forecast_recipe(
        asking("{lora: {training: {max_length: 700}}}", "data.overlong=drop"), home=tmp_path
    )
    assert found["lora"].plan.value("max_length") == 700
    (facts,) = tmp_path.glob("artefacts/data-*/facts.json")
    assert json.loads(facts.read_text("utf-8"))["max_length"] == 700
