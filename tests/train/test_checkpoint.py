"""Interrupted trainings: stopped at any moment, gone on with, the same in the end to the bit."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tiny_models import load_base
from tunesmith.config import TrainingSettings
from tunesmith.errors import Interrupted, StoreError
from tunesmith.models.render import Encoded
from tunesmith.records import Adapter, TrainingStep
from tunesmith.train import checkpoint as checkpoints
from tunesmith.train.loop import TrainingJob, train
from tunesmith.train.method import get_method


class PowerCutError(Exception):
    """The machine is gone: nothing is saved that was not saved before."""


@pytest.fixture
def six_steps(settings: TrainingSettings) -> TrainingSettings:
    """Six steps with dropout and momentum, so that every kind of state matters."""
    return settings.model_copy(update={"lora_dropout": 0.1, "max_grad_norm": 0.5})


def start(
    base: Path,
    examples: list[Encoded],
    settings: TrainingSettings,
    directory: Path,
    on_step: Callable[[TrainingStep], None] = lambda _: None,
) -> tuple[Adapter, list[TrainingStep], list[str]]:
    """Train on a base loaded afresh, as a new process would."""
    steps: list[TrainingStep] = []
    said: list[str] = []

    def watch(step: TrainingStep) -> None:
        steps.append(step)
        on_step(step)

    job = TrainingJob(
        "variant", examples, examples[:3], settings, 1, directory, on_step=watch, say=said.append
    )
    torch.manual_seed(os.getpid())  # whatever state the generators are in must not matter
    return train(load_base(base), get_method("lora"), job), steps, said


def weights(adapter: Adapter) -> dict[str, Tensor]:
    return load_file(adapter.directory / "adapter_model.safetensors")


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def log(steps: list[TrainingStep]) -> list[TrainingStep]:
    """The steps without what differs between two runs of anything: time and memory."""
    return [replace(step, seconds=0.0, memory_bytes=0) for step in steps]


def signal_at(number: int, which: signal.Signals) -> Callable[[TrainingStep], None]:
    def on_step(step: TrainingStep) -> None:
        if step.step == number:
            os.kill(os.getpid(), which)

    return on_step


@pytest.mark.parametrize(
    ("at", "which"), [(1, signal.SIGINT), (4, signal.SIGTERM), (6, signal.SIGINT)]
)
def test_a_stopped_training_goes_on_to_the_same_adapter_and_the_same_log(
    base_folder: Path,
    tmp_path: Path,
    encoded: list[Encoded],
    six_steps: TrainingSettings,
    at: int,
    which: signal.Signals,
) -> None:
    expected, expected_steps, _ = start(base_folder, encoded, six_steps, tmp_path / "whole")
    before = signal.getsignal(which)

    first: list[TrainingStep] = []
    stop = signal_at(at, which)
    with pytest.raises(Interrupted, match=f"stopped at step {at} of 6; checkpoint kept"):
        start(
            base_folder,
            encoded,
            six_steps,
            tmp_path / "cut",
            lambda step: (first.append(step), stop(step))[1],
        )
    assert signal.getsignal(which) == before
    adapter, rest, said = start(base_folder, encoded, six_steps, tmp_path / "cut")

    assert said == [f"variant: resumed at step {at} of 6"]
    assert log(first + rest) == log(expected_steps)
    assert_equal(weights(adapter), weights(expected))
    assert (adapter.steps, adapter.tokens, adapter.final_loss) == (
        expected.steps,
        expected.tokens,
        expected.final_loss,
    )


def cut_the_power_at(number: int) -> Callable[[TrainingStep], None]:
    def on_step(step: TrainingStep) -> None:
        if step.step == number:
            raise PowerCutError

    return on_step


def test_a_training_that_died_goes_on_from_its_last_checkpoint(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], six_steps: TrainingSettings
) -> None:
    expected, _, _ = start(base_folder, encoded, six_steps, tmp_path / "whole")
    saving = six_steps.model_copy(update={"save_steps": 2})
    with pytest.raises(PowerCutError):
        start(base_folder, encoded, saving, tmp_path / "cut", cut_the_power_at(5))
    adapter, rest, said = start(base_folder, encoded, saving, tmp_path / "cut")
    assert said == ["variant: resumed at step 4 of 6"]
    assert [s.step for s in rest] == [5, 6]
    assert_equal(weights(adapter), weights(expected))


def flip_a_byte(checkpoint: Path, file: str) -> None:
    content = bytearray((checkpoint / file).read_bytes())
    content[-40] ^= 0xFF
    (checkpoint / file).write_bytes(content)


def truncate(checkpoint: Path, file: str) -> None:
    content = (checkpoint / file).read_bytes()
    (checkpoint / file).write_bytes(content[: len(content) // 2])


def empty(checkpoint: Path, _: str) -> None:
    for file in checkpoint.iterdir():
        file.unlink()


@pytest.mark.parametrize("file", ["adapter.safetensors", "state.pt", "checksums.json"])
@pytest.mark.parametrize("damage", [flip_a_byte, truncate, empty])
def test_a_damaged_checkpoint_is_passed_over_and_the_one_before_it_used(
    base_folder: Path,
    tmp_path: Path,
    encoded: list[Encoded],
    six_steps: TrainingSettings,
    file: str,
    damage: Callable[[Path, str], None],
) -> None:
    expected, _, _ = start(base_folder, encoded, six_steps, tmp_path / "whole")
    saving = six_steps.model_copy(update={"save_steps": 2})
    with pytest.raises(PowerCutError):
        start(base_folder, encoded, saving, tmp_path / "cut", cut_the_power_at(5))
    damage(tmp_path / "cut" / "checkpoint-4", file)
    adapter, _, said = start(base_folder, encoded, saving, tmp_path / "cut")
    assert said == [
        "checkpoint-4 is damaged (its checksums do not hold); it is passed over",
        "variant: resumed at step 2 of 6",
    ]
    assert_equal(weights(adapter), weights(expected))


def test_without_a_whole_checkpoint_training_begins_anew(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], six_steps: TrainingSettings
) -> None:
    expected, _, _ = start(base_folder, encoded, six_steps, tmp_path / "whole")
    with pytest.raises(Interrupted):
        start(base_folder, encoded, six_steps, tmp_path / "cut", signal_at(3, signal.SIGINT))
    (tmp_path / "cut" / "checkpoint-3" / "state.pt").unlink()
    adapter, rest, said = start(base_folder, encoded, six_steps, tmp_path / "cut")
    assert len(said) == 1
    assert said[0].startswith("checkpoint-3 is damaged")
    assert [s.step for s in rest] == [1, 2, 3, 4, 5, 6]
    assert_equal(weights(adapter), weights(expected))


def checkpoint_of(step: int) -> checkpoints.Checkpoint:
    return checkpoints.Checkpoint(
        step=step,
        adapter={"a": torch.full((3,), float(step))},
        method={},
        optimizer={"state": {}},
        scheduler={"last_epoch": step},
        rng=checkpoints.random_state(),
        progress={"tokens": 0, "seconds": 0.0, "loss": 0.5, "peak_memory": 0},
    )


def test_only_the_newest_checkpoints_are_kept_and_read_back(tmp_path: Path) -> None:
    for step in (8, 9, 10, 11):
        checkpoints.save(tmp_path, checkpoint_of(step), keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-11"]
    found = checkpoints.newest(tmp_path, print)
    assert found is not None
    assert (found.step, found.scheduler, found.progress["loss"]) == (11, {"last_epoch": 11}, 0.5)
    assert torch.equal(found.adapter["a"], torch.full((3,), 11.0))
    assert checkpoints.newest(tmp_path / "nowhere", print) is None


def test_the_best_checkpoint_outlives_newer_ones(tmp_path: Path) -> None:
    for step in range(1, 7):
        checkpoints.save(tmp_path, checkpoint_of(step), keep=3, best=min(step, 2))
    assert checkpoints.kept(tmp_path) == [6, 5, 2]
    checkpoints.save(tmp_path, checkpoint_of(7), keep=1, best=2)
    assert checkpoints.kept(tmp_path) == [7, 2]
    checkpoints.save(tmp_path, checkpoint_of(8), keep=1, best=8)
    assert checkpoints.kept(tmp_path) == [8]


def change(checkpoint: Path, **facts: object) -> None:
    """Write other facts into a checkpoint's table of contents."""
    table = checkpoint / "checksums.json"
    table.write_text(json.dumps(json.loads(table.read_text("utf-8")) | facts), "utf-8")


def test_a_checkpoint_of_another_format_is_passed_over_with_a_line(tmp_path: Path) -> None:
    said: list[str] = []
    for step in (1, 2, 3):
        checkpoints.save(tmp_path, checkpoint_of(step), keep=3)
    change(tmp_path / "checkpoint-3", format=99)
    # What earlier versions of Tunesmith wrote: checksums alone.
    (tmp_path / "checkpoint-2" / "checksums.json").write_text('{"state.pt": "00"}')
    found = checkpoints.newest(tmp_path, said.append)
    assert found is not None
    assert found.step == 1
    assert said == [
        f"checkpoint-3 is of format 99, and {checkpoints.FORMAT} is read here; it is passed over",
        f"checkpoint-2 is of format 1, and {checkpoints.FORMAT} is read here; it is passed over",
    ]


def test_a_checkpoint_of_another_torch_is_used_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    checkpoints.save(tmp_path, checkpoint_of(1), keep=3)
    change(tmp_path / "checkpoint-1", versions={"torch": "1.0", "peft": version("peft")})
    assert checkpoints.newest(tmp_path, said.append) is not None
    assert said == [
        f"checkpoint-1 was written with torch 1.0, here is {version('torch')}: the run goes on, "
        "but is not promised to end equal to the bit"
    ]


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, checkpoint_of(1), keep=3)
    (tmp_path / ".checkpoint-2.4711.new").mkdir()
    assert checkpoints.newest(tmp_path, print) is not None
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-1"]


def test_random_generators_go_on_where_they_were() -> None:
    import random

    import numpy as np

    def draw() -> tuple[float, float, float, float]:
        return random.random(), np.random.rand(), np.random.randn(), float(torch.rand(()))

    np.random.randn()  # leaves a second normal number behind, which is state too
    state = checkpoints.random_state()
    first = [draw() for _ in range(3)]
    checkpoints.set_random_state(state)
    assert [draw() for _ in range(3)] == first


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    blocked = tmp_path / "home"
    blocked.write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"cannot write .*checkpoint-3: Not a directory") as caught:
        checkpoints.save(blocked, checkpoint_of(3), keep=2)
    assert "--home" in caught.value.hint


@pytest.mark.parametrize("room", [0, 400, 3000])
def test_a_disk_without_room_is_one_clear_error_and_keeps_what_was_there(
    tmp_path: Path, room: int
) -> None:
    """A limit on the size of files stands for the full disk: write(2) fails in the same place."""
    checkpoints.save(tmp_path, checkpoint_of(2), keep=2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(StoreError, match=r"cannot write .*checkpoint-3") as caught:
            checkpoints.save(tmp_path, checkpoint_of(3), keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "free some space" in caught.value.hint
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-2"]
    found = checkpoints.newest(tmp_path, print)
    assert found is not None
    assert found.step == 2


CHILD = """
import sys
from pathlib import Path
from tiny_models import load_base, questions
from tunesmith.config import TrainingSettings
from tunesmith.errors import Interrupted
from tunesmith.train.loop import TrainingJob, train
from tunesmith.train.method import get_method

def on_step(step):
    print(step.step, flush=True)
    if step.step == 3:
        sys.stdin.readline()  # until the parent has sent its signal

loaded = load_base(Path(sys.argv[1]))
settings = TrainingSettings.model_validate_json(sys.argv[3])
encoded = loaded.renderer.examples(questions(24))
job = TrainingJob("variant", encoded, encoded[:3], settings, 1, Path(sys.argv[2]), on_step=on_step)
try:
    train(loaded, get_method("lora"), job)
except Interrupted as stopped:
    print(stopped.message)
    sys.exit(stopped.exit_code)
"""


def test_ctrl_c_in_another_process_leaves_a_checkpoint_that_this_one_goes_on_from(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], six_steps: TrainingSettings
) -> None:
    expected, _, _ = start(base_folder, encoded, six_steps, tmp_path / "whole")
    tests = Path(__file__).resolve().parent.parent
    paths = [str(tests), str(tests.parent / "src"), os.environ.get("PYTHONPATH", "")]
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            CHILD,
            str(base_folder),
            str(tmp_path / "cut"),
            six_steps.model_dump_json(),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == "3":
            break
    child.send_signal(signal.SIGINT)
    rest, _ = child.communicate("go on\n")
    assert child.returncode == 130
    assert rest.strip() == "variant: stopped at step 3 of 6; checkpoint kept"
    adapter, steps, _ = start(base_folder, encoded, six_steps, tmp_path / "cut")
    assert [s.step for s in steps] == [4, 5, 6]
    assert_equal(weights(adapter), weights(expected))


def test_a_disk_that_fills_up_at_the_end_is_said_and_the_work_is_still_there(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], six_steps: TrainingSettings
) -> None:
    expected, _, _ = start(base_folder, encoded, six_steps, tmp_path / "whole")
    saving = six_steps.model_copy(update={"save_steps": 2})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(step: TrainingStep) -> None:
        if step.step == 6:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))

    try:
        with pytest.raises(StoreError, match=r"cannot write .*adapter: ") as caught:
            start(base_folder, encoded, saving, tmp_path / "full", fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in caught.value.message
    adapter, rest, _ = start(base_folder, encoded, saving, tmp_path / "full")
    assert [s.step for s in rest] == [5, 6]
    assert_equal(weights(adapter), weights(expected))
