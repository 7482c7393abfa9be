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


def await_training(process: subprocess.Popen[str], home: Path) -> None:
    """Until the first step is in the log."""
    deadline = time.monotonic() + 240
    # Not "**", which looks into folders that are renamed while it does.
    while not any(log.stat().st_size for log in home.glob("artefacts/adapter-*/steps.jsonl")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_second_process_is_refused_by_name_and_a_polite_kill_is_heard(tmp_path: Path) -> None:
    long = ("--set", "training.num_train_epochs=2000")
    process = start(tmp_path, *long)
    try:
        await_training(process, tmp_path)
        second = start(tmp_path, *long, "--resume")
        try:
            out, err = second.communicate(timeout=240)
        finally:
            second.kill()
        assert second.returncode == 2, err
        assert out == ""
        assert f"is under way in process {process.pid}" in err
        assert process.poll() is None
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=240)
        assert time.monotonic() - asked < 10
        assert process.returncode == 130, err
        assert "checkpoint kept" in err
        assert list(tmp_path.glob("artefacts/adapter-*.partial/checkpoint-*/checksums.json"))
    finally:
        process.kill()


def test_interrupted_training_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    process = start(broken)
    await_training(process, broken)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert [e.status for e in list_runs(broken)] == [Status.INTERRUPTED]

    changed = start(broken, "--resume", "--set", "training.learning_rate=0.5")
    _, err = changed.communicate(timeout=240)
    assert changed.returncode == 2
    assert "any more: training.learning_rate was 0.0" in err
    assert ", is 0.5" in err
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
