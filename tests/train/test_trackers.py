"""Trackers: the real libraries' files; hosts that refuse or hang; one that is not installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tunesmith.errors import ConfigError
from tunesmith.records import TrainingStep
from tunesmith.train.trackers import Trackers


def step(number: int, validation: float | None = None) -> TrainingStep:
    return TrainingStep(
        step=number,
        epoch=number / 2,
        loss=3.0 / number,
        learning_rate=1e-3,
        grad_norm=0.5,
        tokens=100,
        answer_tokens=10,
        seconds=0.25,
        memory_bytes=1,
        validation_loss=validation,
    )


def open_trackers(names: list[str], folder: Path, said: list[str]) -> Trackers:
    settings = {"lora_r": 4, "target_modules": ("q_proj",), "max_steps": None}
    return Trackers(names, run="run", directory=folder, settings=settings, say=said.append)


def test_tensorboard_gets_every_step(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    said: list[str] = []
    trackers = open_trackers(["tensorboard"], tmp_path, said)
    for number in (1, 2, 3):
        trackers.log(step(number, validation=2.0 if number == 3 else None))
    trackers.close()
    read = events.EventAccumulator(str(tmp_path / "run"))
    read.Reload()
    losses = [(e.step, e.value) for e in read.Scalars("train/loss")]
    assert losses == [(1, 3.0), (2, 1.5), (3, 1.0)]
    assert [(e.step, e.value) for e in read.Scalars("eval/loss")] == [(3, 2.0)]
    assert [e.value for e in read.Scalars("train/tokens_per_second")] == [400.0] * 3
    assert said == []


def test_a_tracker_that_is_not_installed_is_refused_with_its_extra(tmp_path: Path) -> None:
    names = ("wandb", "tensorboard", "mlflow", "trackio")
    missing = [name for name in names if find_spec(name) is None]
    if not missing:
        pytest.skip("every tracker is installed here")
    with pytest.raises(ConfigError, match=f"names {missing[0]}, which is not installed") as caught:
        open_trackers([missing[0]], tmp_path, [])
    assert f"tunesmith[{missing[0]}]" in caught.value.hint


def test_a_tracker_that_cannot_start_is_said_and_left_out(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("where a folder should be")
    said: list[str] = []
    trackers = open_trackers(["tensorboard"], tmp_path / "file", said)
    trackers.log(step(1))
    trackers.close()
    assert len(said) == 1
    assert said[0].startswith("tensorboard is left out: ")


def test_a_tracker_that_fails_later_is_said_once_and_left_out(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    said: list[str] = []
    trackers = open_trackers(["tensorboard"], tmp_path, said)
    trackers.log(step(1))
    # The writer under it is gone, as when the disk is.
    trackers._open["tensorboard"].calls.put(lambda to: to.writer.file_writer.event_writer.close())
    trackers.log(step(2))
    trackers.log(step(3))
    trackers.close()
    assert len(said) == 1
    assert said[0].startswith("tensorboard is left out from here on: ")


def test_wandb_without_a_key_is_said_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    said: list[str] = []
    trackers = open_trackers(["wandb"], tmp_path, said)
    trackers.log(step(1))
    trackers.close()
    assert len(said) == 1
    assert said[0].startswith("wandb is left out: ")


def test_no_tracker_asks_for_nothing(tmp_path: Path) -> None:
    trackers = open_trackers([], tmp_path / "none", [])
    trackers.log(step(1))
    trackers.close()
    assert not (tmp_path / "none").exists()
