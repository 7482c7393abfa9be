"""TensorBoard and Weights & Biases, through accelerate's integrations; the store needs neither."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.errors import ConfigError, first_line
from tunesmith.records import TrainingStep


class Trackers:
    """The trackers that a recipe reports to.

    One that is not installed is refused (ConfigError). One that fails, at its start or later (no
    key, no network, a full disk), is said and left out: a tracker that is down must not stop a
    training.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        run: str,
        directory: Path,
        settings: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> None:
        self._say = say
        self._open: dict[str, Any] = {}
        for name in names:
            _check_installed(name)
        for name in names:
            try:
                self._open[name] = _start(name, run, directory, settings)
            except _failures(name) as error:
                say(f"{name} is left out: {first_line(error)}")

    def log(self, step: TrainingStep) -> None:
        """Send one step."""
        values = {
            "train/loss": step.loss,
            "train/learning_rate": step.learning_rate,
            "train/grad_norm": step.grad_norm,
            "train/tokens_per_second": step.tokens / max(step.seconds, 1e-9),
            "train/epoch": step.epoch,
        }
        if step.validation_loss is not None:
            values["eval/loss"] = step.validation_loss
        for name, value in (step.validation_scores or {}).items():
            values[f"eval/{name}"] = value
        for name, tracker in list(self._open.items()):
            try:
                tracker.log(values, step=step.step)
            except _failures(name) as error:
                self._say(f"{name} is left out from step {step.step} on: {first_line(error)}")
                del self._open[name]

    def close(self) -> None:
        """Finish every tracker."""
        for name, tracker in self._open.items():
            try:
                tracker.finish()
            except _failures(name) as error:
                self._say(f"{name} could not be finished: {first_line(error)}")
        self._open.clear()


def _check_installed(name: str) -> None:
    from accelerate.utils import is_tensorboard_available, is_wandb_available

    here = {"tensorboard": is_tensorboard_available, "wandb": is_wandb_available}
    if not here[name]():
        raise ConfigError(
            f"training.report_to names {name}, which is not installed",
            hint=f"pip install 'tunesmith[{name}]', or leave it out",
        )


def _failures(name: str) -> tuple[type[Exception], ...]:
    """What a tracker raises that is down; wandb's own errors share no base but Exception."""
    usual = (OSError, RuntimeError, ValueError)
    if name != "wandb":
        return usual
    from wandb.errors import Error

    return (*usual, Error)


def _start(name: str, run: str, directory: Path, settings: Mapping[str, Any]) -> Any:
    from accelerate import PartialState
    from accelerate.tracking import TensorBoardTracker, WandBTracker

    PartialState()  # accelerate's trackers ask it which process they are in
    directory.mkdir(parents=True, exist_ok=True)
    tracker = (
        TensorBoardTracker(run_name=run, logging_dir=str(directory))
        if name == "tensorboard"
        else WandBTracker(run_name="tunesmith", name=run, dir=str(directory))
    )
    tracker.start()
    plain = (bool, int, float, str)
    tracker.store_init_configuration(
        {key: v if isinstance(v, plain) else str(v) for key, v in settings.items()}
    )
    return tracker
