"""Ctrl-C and a full disk, dealt to a real process: nothing half-written, and it goes on."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tunesmith.pipeline import list_runs
from tunesmith.store.nouns import Status

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline")]

ARGUMENTS = (
    "--set", "data.sources.machines.rows=40",
    "--set", "data.sources.unseen.rows=6",
    "--set", "training.num_train_epochs=5",
    "--set", "methods.qlora=null",
    "--set", "evaluation.max_new_tokens=16",
    "--set", "evaluation.replicates=200",
)  # fmt: skip


def start(home: Path, *more: str, before: str = "") -> subprocess.Popen[str]:
    """The run as a process of its own; `before` is shell that precedes it."""
    command = (sys.executable, "-m", "tunesmith", "run", "anecdot", "--json", *ARGUMENTS, *more)
    return subprocess.Popen(
        ["sh", "-c", f"{before}\nexec {shlex.join(command)}"],
        env=os.environ | {"TUNESMITH_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_interrupted_training_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    process = start(broken)
    deadline = time.monotonic() + 240
    while not list(broken.glob("artefacts/**/steps.jsonl")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert [e.status for e in list_runs(broken)] == [Status.INTERRUPTED]

    resumed = start(broken, "--resume")
    out, err = resumed.communicate(timeout=240)
    assert resumed.returncode == 0, err
    assert [e.status for e in list_runs(broken)] == [Status.DONE]
    straight = start(whole)
    told, err = straight.communicate(timeout=240)
    assert straight.returncode == 0, err
    assert json.loads(out)["variants"] == json.loads(told)["variants"]
    losses = [sorted(home.glob("artefacts/**/steps.jsonl")) for home in (broken, whole)]
    kept, plain = ([json.loads(x)["loss"] for x in f[0].read_text().splitlines()] for f in losses)
    assert kept == plain


def test_a_full_disk_is_said_and_survived(tmp_path: Path) -> None:
    # No file above 700 KiB (1,400 blocks of 512 bytes): the store fits, an adapter does not.
    process = start(tmp_path, before="ulimit -f 1400")
    out, err = process.communicate(timeout=240)
    assert process.returncode == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert "error:" in err
    assert "hint:" in err
    assert not list(tmp_path.glob("artefacts/adapter/*/manifest.json"))
    again = start(tmp_path)
    out, err = again.communicate(timeout=240)
    assert again.returncode == 0, err
    assert json.loads(out)["variants"]["lora"]["metrics"]["valid"]["n"] == 6
