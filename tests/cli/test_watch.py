"""A run as it is watched: stages with their own durations, and a wish to stop that is answered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tunesmith.cli.watch import Watch, duration


@pytest.fixture(autouse=True)
def own_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (696, "11 min 36 s"), (7520, "2 h 5 min")],
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_each_stage_ends_with_its_own_duration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = iter([0.0, 5.0, 45.0, 45.0, 245.0, 250.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(at, 250.0))
    watch = Watch()
    watch.stage("data")
    watch.stage("plan")
    watch.__exit__(None, None, None)
    assert capsys.readouterr().err.splitlines() == [
        "data", "  data took 40 s", "plan", "  plan took 3 min 20 s", "done in 4 min 10 s",
    ]  # fmt: skip


def test_a_wish_to_stop_is_answered_while_the_step_still_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    signal.signal(signal.SIGINT, lambda *_: None)  # as training does: it stops after its step
    said = ""
    with Watch() as watch:
        watch.stage("lora")
        os.kill(os.getpid(), signal.SIGINT)
        deadline = time.monotonic() + 30
        while "stopping after this micro-batch" not in said and time.monotonic() < deadline:
            said += capsys.readouterr().err
            time.sleep(0.01)
    assert "stopping after this micro-batch" in said
    assert signal.set_wakeup_fd(-1) == -1, "nobody listens any more"


def test_a_second_ctrl_c_while_it_leaves_shows_no_traceback() -> None:
    code = (
        "import atexit, os, signal, time\n"
        "from tunesmith.cli.output import friendly_errors\n"
        "atexit.register(lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(30)))\n"
        "with friendly_errors():\n    os.kill(os.getpid(), signal.SIGINT); time.sleep(30)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", f"import typer\ntry:\n  exec({code!r})\nexcept typer.Exit: pass"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGINT
    assert "stopped" in ended.stderr
    assert "Traceback" not in ended.stderr
