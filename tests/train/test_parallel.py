"""Several processes give what one gives; one that is lost stops nobody. Real ones, by torchrun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tunesmith.config import TrainingSettings

PROGRAM = """
import json, os, signal, sys, time
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from tiny_models import load_base, questions
from tunesmith.config import ModelSettings, TrainingSettings
from tunesmith.errors import TunesmithError
from tunesmith.train.job import TrainingJob
from tunesmith.train.loop import train
from tunesmith.train.method import get_method
from tunesmith.train.helping import launch

base, folder, settings, harm = sys.argv[1:]
helpers = Path(folder) / "helpers"

def program():
    loaded = load_base(Path(base))
    encoded = loaded.renderer.examples(questions(24))
    steps = []
    def on_step(step):
        steps.append(asdict(step))
        if harm and step.step == 2:
            os.kill(int(helpers.read_text()), getattr(signal, harm))
        if harm == "SIGKILL":  # torchrun looks ten times a second
            time.sleep(1)
    def say(line):
        print("said:", line, flush=True)
    for name in ("one", "two"):
        directory = Path(folder) / name
        directory.mkdir(exist_ok=True)
        job = TrainingJob(
            name, encoded, encoded[:12], TrainingSettings.model_validate_json(settings), 1,
            directory, on_step=on_step, say=say,
            base=ModelSettings(name=base, dtype="float32"),
        )
        try:
            train(loaded, get_method("lora"), job)
        except TunesmithError as error:
            say(error.message)
            raise SystemExit(error.exit_code)
    (Path(folder) / "steps.json").write_text(json.dumps(steps))

if "RANK" not in os.environ:
    program()
else:
    if os.environ["RANK"] == "1":
        helpers.write_text(str(os.getpid()))
    launch(program, answer=timedelta(seconds=20))
"""


def start(
    folder: Path, arguments: Sequence[str], *, processes: int = 2
) -> subprocess.CompletedProcess[str]:
    """A program in so many processes, as a user starts it."""
    torchrun = [
        *("-m", "torch.distributed.run", "--nproc-per-node", str(processes)),
        *("--master-addr", "127.0.0.1", "--master-port", "0", "--rdzv-backend", "c10d"),
        *("--rdzv-endpoint", "127.0.0.1:0"),
    ]
    tests = Path(__file__).parents[1]
    return subprocess.run(
        [sys.executable, *(torchrun if processes > 1 else []), *arguments],
        env=os.environ | {"PYTHONPATH": str(tests), "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def training(
    folder: Path, base: Path, settings: TrainingSettings, *, processes: int, harm: str = ""
) -> tuple[list[dict[str, Any]], list[dict[str, torch.Tensor]], subprocess.CompletedProcess[str]]:
    """Two trainings in one life: their steps, their adapters, and the process."""
    folder.mkdir()
    (folder / "program.py").write_text(PROGRAM)
    arguments = ["program.py", str(base), str(folder), settings.model_dump_json(), harm]
    done = start(folder, arguments, processes=processes)
    steps = folder / "steps.json"
    if not steps.is_file():
        return [], [], done
    adapters = [
        load_file(folder / name / "adapter" / "adapter_model.safetensors")
        for name in ("one", "two")
    ]
    return json.loads(steps.read_text()), adapters, done


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What process 0 said to whoever watches."""
    lines = done.stdout.splitlines()
    return [line.removeprefix("said: ") for line in lines if line.startswith("said: ")]


def assert_same(some: Sequence[Any], others: Sequence[Any]) -> None:
    """The same losses, gradients' norms and adapters, to rounding."""
    for key in ("loss", "grad_norm", "validation_loss", "tokens", "answer_tokens"):
        mine, yours = ([step[key] or 0.0 for step in steps[0]] for steps in (some, others))
        assert mine == pytest.approx(yours, rel=1e-5), key
    for one, two in zip(some[1], others[1], strict=True):
        for name, tensor in one.items():
            torch.testing.assert_close(tensor, two[name], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("packing", [True, False])
def test_two_processes_give_what_one_gives(
    tmp_path: Path, base_folder: Path, settings: TrainingSettings, packing: bool
) -> None:
    settings = settings.model_copy(update={"packing": packing, "gradient_accumulation_steps": 2})
    alone = training(tmp_path / "alone", base_folder, settings, processes=1)
    shared = training(tmp_path / "shared", base_folder, settings, processes=2)
    assert alone[2].returncode == 0, alone[2].stderr
    assert shared[2].returncode == 0, shared[2].stderr
    assert said(shared[2]) == [f"{name}: 2 processes share each step" for name in ("one", "two")]
    assert len(alone[0]) == 6  # two trainings of three steps
    assert_same(alone, shared)


@pytest.mark.slow
def test_a_process_that_hangs_is_done_without(
    tmp_path: Path, base_folder: Path, settings: TrainingSettings
) -> None:
    alone = training(tmp_path / "alone", base_folder, settings, processes=1)
    shared = training(tmp_path / "shared", base_folder, settings, processes=2, harm="SIGSTOP")
    lines = said(shared[2])
    assert lines[0] == "one: 2 processes share each step"
    assert lines[1].startswith("one: goes on in this process alone: ")
    assert_same(alone, shared)
    assert "a helping process was lost on the way" in shared[2].stderr
    assert shared[2].returncode == 1


@pytest.mark.slow
def test_a_process_that_is_killed_ends_all_with_a_checkpoint(
    tmp_path: Path, base_folder: Path, settings: TrainingSettings
) -> None:
    _, _, done = training(tmp_path / "shared", base_folder, settings, processes=2, harm="SIGKILL")
    lines = said(done)
    assert lines[0] == "one: 2 processes share each step"
    assert "stopped at step " in lines[-1]  # torchrun sends SIGTERM to the one that is left
    assert lines[-1].endswith("; checkpoint kept")
    assert list((tmp_path / "shared").glob("*/checkpoint-*"))


@pytest.mark.slow
def test_dropout_is_drawn_apart_and_the_same_again(
    tmp_path: Path, base_folder: Path, settings: TrainingSettings
) -> None:
    settings = settings.model_copy(update={"lora_dropout": 0.3})
    once = training(tmp_path / "once", base_folder, settings, processes=2)
    again = training(tmp_path / "again", base_folder, settings, processes=2)
    assert once[2].returncode == again[2].returncode == 0, once[2].stderr
    assert [s["loss"] for s in once[0]] == [s["loss"] for s in again[0]]


@pytest.mark.slow
def test_the_command_runs_under_accelerate_and_says_what_is_not_sharded(tmp_path: Path) -> None:
    config = Path(__file__).parents[2] / "examples" / "accelerate" / "fsdp2.yaml"
    sets = (
        *("methods.qlora=null", "data.sources.machines.rows=40", "data.sources.unseen.rows=12"),
        *("training.max_steps=2", "evaluation.max_new_tokens=8", "evaluation.replicates=200"),
    )
    launch = [*("-m", "accelerate.commands.launch", "--config_file", str(config))]
    launch += ["--num_processes", "2", "--main_process_port", "0", "-m", "tunesmith", "run"]
    told = [f"--set={value}" for value in sets] + ["--json", "--home", str(tmp_path / "home")]
    done = start(tmp_path, [*launch, "anecdot", *told], processes=1)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("2 processes share each step, and each holds the whole base") == 1
    assert "lora" in json.loads(done.stdout)["variants"]
    assert len(list((tmp_path / "home" / "runs").iterdir())) == 1
