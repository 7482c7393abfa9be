"""Asked to stop in the middle of anything: at once, with a checkpoint, and the same in the end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tiny_models import load_base
from tunesmith.config import TrainingSettings
from tunesmith.errors import Interrupted
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded
from tunesmith.records import TrainingStep
from tunesmith.train.job import TrainingJob
from tunesmith.train.loop import train
from tunesmith.train.method import get_method
from tunesmith.train.signals import StoppedError, stop_signals

SOON = 10.0  # seconds from the signal to the checkpoint


@pytest.fixture
def noisy(settings: TrainingSettings) -> TrainingSettings:
    """Four micro-batches a step, dropout, a validation behind every second step."""
    return settings.model_copy(
        update={
            "per_device_train_batch_size": 1,
            "gradient_accumulation_steps": 4,
            "packing": False,
            "lora_dropout": 0.1,
            "eval_strategy": "steps",
            "eval_steps": 2,
        }
    )


def run(
    loaded: Loaded,
    encoded: list[Encoded],
    settings: TrainingSettings,
    directory: Path,
    score: Callable[[Loaded], dict[str, float]] | None = None,
) -> tuple[list[TrainingStep], list[str], dict[str, torch.Tensor]]:
    """Steps without what differs between two runs of anything, lines said, weights."""
    steps: list[TrainingStep] = []
    said: list[str] = []
    job = TrainingJob(
        "lora",
        encoded,
        encoded[:6],
        settings,
        1,
        directory,
        on_step=lambda step: steps.append(replace(step, seconds=0.0, memory_bytes=0)),
        say=said.append,
        score=score,
    )
    try:
        adapter = train(loaded, get_method("lora"), job)
    except Interrupted as stopped:
        return steps, [stopped.message], {}
    return steps, said, load_file(adapter.directory / "adapter_model.safetensors")


def signal_at(loaded: Loaded, which: signal.Signals, *, training: bool, call: int) -> Loaded:
    """A base that is sent a signal from inside a forward pass, the `call`th of its kind."""
    calls = 0

    def send(model: Any, _: Any) -> None:
        nonlocal calls
        calls += model.training == training and torch.is_grad_enabled() == training
        if model.training == training and calls == call:
            os.kill(os.getpid(), which)

    loaded.model.register_forward_pre_hook(send)
    return loaded


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("training", "call", "step"), [(True, 10, 2), (True, 2, 0), (False, 10, 4)]
)
def test_a_stop_in_the_middle_of_a_step_or_a_validation_changes_nothing(
    base_folder: Path,
    tmp_path: Path,
    encoded: list[Encoded],
    noisy: TrainingSettings,
    which: signal.Signals,
    training: bool,
    call: int,
    step: int,
) -> None:
    expected, _, weights = run(load_base(base_folder), encoded, noisy, tmp_path / "whole")
    asked = signal_at(load_base(base_folder), which, training=training, call=call)
    before = signal.getsignal(which)
    began = time.monotonic()
    first, said, _ = run(asked, encoded, noisy, tmp_path / "cut")
    assert time.monotonic() - began < SOON
    assert signal.getsignal(which) == before
    assert said == [f"lora: stopped at step {step} of 6; checkpoint kept"]
    # A step that waits for its validation is reported when it has it.
    assert len(first) == (step if training else step - 1)
    rest, said, found = run(load_base(base_folder), encoded, noisy, tmp_path / "cut")
    assert said == [f"lora: resumed at step {step} of 6"]
    assert first + rest == expected
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_answers_on_the_way_are_left_at_once(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], noisy: TrainingSettings
) -> None:
    asked = 0

    def score(_: Loaded) -> dict[str, float]:
        nonlocal asked
        asked += 1
        if asked == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        return {"asked": float(torch.rand(()))}

    expected, _, weights = run(
        load_base(base_folder), encoded, noisy, tmp_path / "whole", lambda _: {"asked": 0.5}
    )
    began = time.monotonic()
    first, said, _ = run(load_base(base_folder), encoded, noisy, tmp_path / "cut", score)
    assert time.monotonic() - began < SOON
    assert said == ["lora: stopped at step 4 of 6; checkpoint kept"]
    rest, _, found = run(load_base(base_folder), encoded, noisy, tmp_path / "cut", score)
    assert [s.step for s in first + rest] == [1, 2, 3, 4, 5, 6]
    assert [s.validation_scores is not None for s in rest] == [True, False, True]
    # What the scores drew at random is no business of the training.
    assert [s.loss for s in first + rest] == [s.loss for s in expected]
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_a_second_ctrl_c_means_it() -> None:
    with stop_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(StoppedError):
            stop.check()
