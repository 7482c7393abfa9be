"""Early stopping and the best checkpoint, with the names and meanings that transformers has."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tiny_models import load_base
from tunesmith.config import TrainingSettings
from tunesmith.errors import ConfigError, Interrupted
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded
from tunesmith.records import Adapter, TrainingStep
from tunesmith.train.best import Best, greater_is_better, judge
from tunesmith.train.job import TrainingJob
from tunesmith.train.loop import train
from tunesmith.train.method import get_method

# By step 2 the metric is best; it never comes back to that.
SCORES = (0.2, 0.7, 0.6, 0.6, 0.7, 0.1)


@pytest.fixture
def watched(settings: TrainingSettings) -> TrainingSettings:
    return settings.model_copy(
        update={
            "eval_strategy": "steps",
            "eval_steps": 1,
            "metric_for_best_model": "eval_valid",
            "lora_dropout": 0.1,
        }
    )


def scripted(values: Sequence[float]) -> Callable[[Loaded], dict[str, float]]:
    """Scores that do not depend on the model, so that the best step is known beforehand."""
    left: Iterator[float] = iter(values)
    return lambda _: {"valid": next(left)}


def run(
    base: Path, encoded: list[Encoded], settings: TrainingSettings, directory: Path, **more: Any
) -> tuple[Adapter, list[TrainingStep], list[str]]:
    steps: list[TrainingStep] = []
    said: list[str] = []
    more = {"score": scripted(SCORES), "on_step": steps.append} | more
    job = TrainingJob("lora", encoded, encoded[:3], settings, 1, directory, say=said.append, **more)
    return train(load_base(base), get_method("lora"), job), steps, said


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "adapter" / "adapter_model.safetensors")


def test_better_means_what_transformers_means() -> None:
    def settings(**values: Any) -> TrainingSettings:
        return TrainingSettings.model_validate(values)

    assert not greater_is_better(settings())
    assert not greater_is_better(settings(metric_for_best_model="eval_loss"))
    assert greater_is_better(settings(metric_for_best_model="accuracy"))
    assert not greater_is_better(settings(metric_for_best_model="wer", greater_is_better=False))


def test_only_a_better_value_ends_the_waiting() -> None:
    best = None
    for step, value in enumerate((2.0, 1.5, 1.5, math.nan, 1.6, 1.4), start=1):
        best = judge(best, value, step, greater=False)
        assert best == {
            1: Best(2.0, 1), 2: Best(1.5, 2), 3: Best(1.5, 2, 1), 4: Best(1.5, 2, 2),
            5: Best(1.5, 2, 3), 6: Best(1.4, 6),
        }[step]  # fmt: skip
    assert judge(Best(math.nan, 1), 0.5, 2, greater=True) == Best(0.5, 2)


def test_training_stops_when_the_metric_has_been_no_better_for_so_long(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], watched: TrainingSettings
) -> None:
    patient = watched.model_copy(update={"early_stopping_patience": 3})
    adapter, steps, said = run(base_folder, encoded, patient, tmp_path)
    assert [s.step for s in steps] == [1, 2, 3, 4, 5]
    assert adapter.steps == 5
    assert said == [
        "lora: stopped early at step 5 of 6: valid was best (0.7) at step 2, and no better in 3 "
        "validations since"
    ]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_adapter_is_that_of_the_best_step_and_its_checkpoint_outlives_newer_ones(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], watched: TrainingSettings, limit: int
) -> None:
    kept = {"load_best_model_at_end": True, "save_steps": 1, "save_total_limit": limit}
    adapter, _, said = run(base_folder, encoded, watched.model_copy(update=kept), tmp_path / "best")
    assert said == ["lora: the adapter is that of step 2 of 6, the best by valid (0.7)"]
    assert adapter.steps == 2
    names = sorted(p.name for p in (tmp_path / "best").glob("checkpoint-*"))
    assert names == ["checkpoint-2", *[f"checkpoint-{n}" for n in range(7 - max(limit, 2), 6)]]
    expected = {}

    def keep(step: TrainingStep) -> None:
        if step.step == 3:  # what step 2 left is on the disk then
            folder = tmp_path / "plain" / "checkpoint-2" / "adapter.safetensors"
            expected.update(load_file(folder))

    plain = watched.model_copy(update={"save_steps": 1})
    run(base_folder, encoded, plain, tmp_path / "plain", on_step=keep)
    found = weights(tmp_path / "best")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert not all(torch.equal(found[n], t) for n, t in weights(tmp_path / "plain").items())


def test_a_run_stopped_and_resumed_remembers_its_best_step(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], watched: TrainingSettings
) -> None:

    best = watched.model_copy(update={"load_best_model_at_end": True, "early_stopping_patience": 3})

    def stop(step: TrainingStep) -> None:
        if step.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    run(base_folder, encoded, best, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(base_folder, encoded, best, tmp_path / "cut", on_step=stop)
    _, steps, said = run(base_folder, encoded, best, tmp_path / "cut", score=scripted(SCORES[4:]))
    assert [s.step for s in steps] == [5]
    assert said[-1] == "lora: the adapter is that of step 2 of 5, the best by valid (0.7)"
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(one[name], other[name]) for name in one)
    # Behind its early stop it is not gone on with, whatever checkpoint it finds.
    _, steps, _ = run(base_folder, encoded, best, tmp_path / "cut", score=scripted(SCORES[4:]))
    assert [s.step for s in steps] == [5]


def test_a_best_step_that_was_lost_is_said(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], watched: TrainingSettings
) -> None:
    best = watched.model_copy(update={"load_best_model_at_end": True})

    def damage(step: TrainingStep) -> None:
        if step.step == 5:
            (tmp_path / "checkpoint-2" / "state.pt").write_bytes(b"")

    adapter, _, said = run(base_folder, encoded, best, tmp_path, on_step=damage)
    assert said[-1] == (
        "lora: the best step, 2, is lost with its checkpoint; the adapter is that of the last, 6"
    )
    assert adapter.steps == 6


@pytest.mark.parametrize("key", [{"load_best_model_at_end": True}, {"early_stopping_patience": 2}])
def test_a_best_step_that_nothing_can_show_is_refused(
    loaded: Loaded,
    tmp_path: Path,
    encoded: list[Encoded],
    settings: TrainingSettings,
    key: dict[str, Any],
) -> None:
    asked = settings.model_copy(update=key)
    with pytest.raises(ConfigError, match="no validation examples") as caught:
        train(loaded, get_method("lora"), TrainingJob("lora", encoded, (), asked, 1, tmp_path))
    assert "data.validation" in caught.value.hint
    never = asked.model_copy(update={"eval_strategy": "no"})
    with pytest.raises(ConfigError, match="eval_strategy is no"):
        train(loaded, get_method("lora"), TrainingJob("lora", encoded, encoded, never, 1, tmp_path))
    scored = asked.model_copy(update={"metric_for_best_model": "valid"})
    job = TrainingJob("lora", encoded, encoded[:3], scored, 1, tmp_path)
    with pytest.raises(ConfigError, match="metric_for_best_model is valid") as caught:
        train(loaded, get_method("lora"), job)
    assert "eval_prompts" in caught.value.hint
    unknown = TrainingJob(
        "lora", encoded, encoded[:3], scored, 1, tmp_path, score=lambda _: {"exact": 1.0}
    )
    with pytest.raises(ConfigError, match="which the validation does not give") as caught:
        train(loaded, get_method("lora"), unknown)
    assert caught.value.hint == "it gives loss, exact"
