"""MLflow and trackio: files of their own kind, and servers that refuse or never answer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

PROGRAM = """
import sys, time
from pathlib import Path
from tunesmith.records import TrainingStep
from tunesmith.train.trackers import Trackers

name, folder, patience = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
begin = time.perf_counter()
say = lambda line: print("said:", line, file=sys.stderr)
trackers = Trackers([name], run="run", directory=folder, settings={"lora_r": 4, "none": None},
                    say=say, patience=patience)
steps = time.perf_counter()
for number in (1, 2, 3):
    trackers.log(TrainingStep(step=number, epoch=0.5, loss=3.0 / number, learning_rate=1e-3,
                              grad_norm=0.5, tokens=100, answer_tokens=10, seconds=0.25,
                              memory_bytes=1, validation_loss=2.0 if number == 3 else None))
logged = time.perf_counter() - steps
trackers.close()
print("logged", logged, "all", time.perf_counter() - begin)
"""


def report(name: str, folder: Path, patience: float = 60.0, **variables: str) -> tuple[str, ...]:
    """What a process that reports three steps says, what it prints, and the rest of its stderr."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "TRACKIO_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, name, str(folder), str(patience)],
        env=clean | {"HF_HUB_OFFLINE": "1"} | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    said = "\n".join(line.removeprefix("said: ") for line in lines if line.startswith("said: "))
    return said, done.stdout, "\n".join(line for line in lines if not line.startswith("said: "))


def seconds(printed: str) -> tuple[float, float]:
    """Of the steps alone, and in all; nothing else is printed."""
    _, steps, _, whole = printed.split()
    return float(steps), float(whole)


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that takes connections and never says anything."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def no_server() -> str:
    """An address that refuses connections."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def read(program: str, folder: Path, **variables: str) -> str:
    """What a program prints; mlflow leaves connections open, which pytest would blame on others."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


READ_MLFLOW = """
import mlflow
client = mlflow.MlflowClient()
run, = client.search_runs([client.get_experiment_by_name("tunesmith").experiment_id])
history = client.get_metric_history(run.info.run_id, "train/loss")
print(run.info.run_name, run.info.status, run.data.params, [(m.step, m.value) for m in history],
      run.data.metrics["eval/loss"])
"""
READ_TRACKIO = """
from trackio.sqlite_storage import SQLiteStorage
print([(log["step"], log["train/loss"]) for log in SQLiteStorage.get_logs("tunesmith", "run")])
"""


@pytest.mark.slow
def test_mlflow_keeps_every_step(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    place = f"sqlite:///{tmp_path / 'mlflow.db'}"
    said, printed, _ = report("mlflow", tmp_path, MLFLOW_TRACKING_URI=place)
    assert said == ""
    seconds(printed)
    assert read(READ_MLFLOW, tmp_path, MLFLOW_TRACKING_URI=place) == (
        "run FINISHED {'lora_r': '4', 'none': 'None'} [(1, 3.0), (2, 1.5), (3, 1.0)] 2.0"
    )


@pytest.mark.slow
def test_trackio_keeps_every_step(tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    place = str(tmp_path / "kept")
    said, printed, _ = report("trackio", tmp_path, TRACKIO_DIR=place)
    assert said == ""
    seconds(printed)
    assert read(READ_TRACKIO, tmp_path, TRACKIO_DIR=place) == "[(1, 3.0), (2, 1.5), (3, 1.0)]"


@pytest.mark.slow
def test_mlflow_server_that_refuses_is_said_and_left_out(tmp_path: Path, no_server: str) -> None:
    pytest.importorskip("mlflow")
    said, printed, _ = report("mlflow", tmp_path, MLFLOW_TRACKING_URI=no_server)
    assert said.startswith("mlflow is left out: API request to ")
    assert "\n" not in said
    assert seconds(printed)[1] < 30


@pytest.mark.slow
def test_mlflow_server_that_hangs_holds_nobody_up(tmp_path: Path, silent_server: str) -> None:
    pytest.importorskip("mlflow")
    said, printed, _ = report("mlflow", tmp_path, 3.0, MLFLOW_TRACKING_URI=silent_server)
    assert said == "mlflow is left out: no answer in 3 s"  # nor to the start, nor later
    assert seconds(printed)[1] < 10


@pytest.mark.slow
@pytest.mark.parametrize("server", ["silent_server", "no_server"])
def test_trackio_server_that_is_down_holds_nobody_up(
    tmp_path: Path, server: str, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("trackio")
    address = request.getfixturevalue(server)
    begin = time.perf_counter()
    said, printed, _ = report(
        "trackio",
        tmp_path,
        10.0,
        TRACKIO_SERVER_URL=address,
        TRACKIO_WRITE_TOKEN="none",
        TRACKIO_DIR=str(tmp_path / "kept"),
    )
    assert said
    assert seconds(printed)[0] < 1
    assert time.perf_counter() - begin < 45
