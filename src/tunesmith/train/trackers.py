"""TensorBoard, W&B, MLflow and trackio, through accelerate's integrations; the store needs none.

Each tracker lives in a thread of its own, so that one whose host does not answer holds nobody up.
Where each keeps what it gets, its own environment variables say (WANDB_MODE, MLFLOW_TRACKING_URI,
TRACKIO_SERVER_URL, ...).
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

from tunesmith.errors import ConfigError, first_line
from tunesmith.records import TrainingStep

PATIENCE = 20.0  # seconds that a run waits for a tracker at its start, and again at its end
PROJECT = "tunesmith"
# MLflow's own, 120 s a request and 7 retries, take minutes to find that nobody is there.
MLFLOW = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}

Call = Callable[[Any], Any]


class Trackers:
    """The trackers that a recipe reports to.

    One that is not installed is refused (ConfigError). One that fails (no key, no network, a full
    disk), or is not done `patience` seconds after the last step, is said and left out: a tracker
    that is down must not stop a training, and no step waits for one.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        run: str,
        directory: Path,
        settings: Mapping[str, Any],
        say: Callable[[str], None],
        patience: float = PATIENCE,
    ) -> None:
        self._say, self._patience = say, patience
        for name in names:
            _check_installed(name)
        self._open = {name: _Tracker(name, run, directory, settings) for name in names}
        with _talking(say):
            for name, tracker in list(self._open.items()):
                tracker.started.wait(patience)  # a slow one may go on beside the training
                self._drop_failed(name)

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
            tracker.calls.put(lambda to: to.log(values, step=step.step))
            self._drop_failed(name)

    def close(self) -> None:
        """Finish every tracker."""
        with _talking(self._say):
            for name, tracker in list(self._open.items()):
                tracker.calls.put(None)
                tracker.thread.join(self._patience)
                self._drop_failed(name, waited=tracker.thread.is_alive())
        self._open.clear()

    def _drop_failed(self, name: str, *, waited: bool = False) -> None:
        tracker = self._open[name]
        trouble = tracker.trouble or (f"no answer in {self._patience:.0f} s" if waited else "")
        if trouble:
            self._say(f"{name} is left out{tracker.since}: {trouble}")
            del self._open[name]


class _Tracker:
    """One tracker, in a thread that makes its calls in their order; None is the last.

    A daemon: one that hangs does not keep the process from ending.
    """

    def __init__(self, name: str, run: str, directory: Path, settings: Mapping[str, Any]) -> None:
        self.calls: SimpleQueue[Call | None] = SimpleQueue()
        self.started = Event()
        self.trouble = ""
        self.since = ""

        def live() -> None:
            try:
                tracker = _start(name, run, directory, settings)
                self.since = " from here on"
                self.started.set()
                for call in iter(self.calls.get, None):
                    call(tracker)
                tracker.finish()
            except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
                self.trouble = first_line(error) or type(error).__name__
            finally:
                self.started.set()

        self.thread = Thread(target=live, name=name, daemon=True)
        self.thread.start()


@contextmanager
def _talking(say: Callable[[str], None]) -> Iterator[None]:
    """What trackers print goes where people read, not among results; their warnings are lines."""
    with redirect_stdout(sys.stderr), warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in heard:
        if issubclass(warning.category, UserWarning):
            say(first_line(warning.message))


def _check_installed(name: str) -> None:
    from accelerate.utils import imports

    if not getattr(imports, f"is_{name}_available")():
        raise ConfigError(
            f"training.report_to names {name}, which is not installed",
            hint=f"pip install 'tunesmith[{name}]', or leave it out",
        )


def _start(name: str, run: str, directory: Path, settings: Mapping[str, Any]) -> Any:
    from accelerate import PartialState, tracking

    PartialState()  # accelerate's trackers ask it which process they are in
    directory.mkdir(parents=True, exist_ok=True)
    tracker: Any
    if name == "tensorboard":
        tracker = tracking.TensorBoardTracker(run_name=run, logging_dir=str(directory))
    elif name == "wandb":
        tracker = tracking.WandBTracker(run_name=PROJECT, name=run, dir=str(directory))
    elif name == "mlflow":
        for variable, value in MLFLOW.items():
            os.environ.setdefault(variable, value)
        tracker = tracking.MLflowTracker(experiment_name=PROJECT, run_name=run)
    else:
        tracker = tracking.TrackioTracker(run_name=PROJECT, name=run, embed=False)
    tracker.start()
    plain = (bool, int, float, str)
    tracker.store_init_configuration(
        {key: v if isinstance(v, plain) else str(v) for key, v in settings.items()}
    )
    return tracker
