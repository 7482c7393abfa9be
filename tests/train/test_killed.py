"""Killed at any moment, resumed each time: the same losses and the same adapter, to the bit.

Real processes and real SIGKILLs. Starting Python and importing torch takes seconds, so one process
imports everything, loads the base, and forks for every life.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tunesmith.config import TrainingSettings

KILLS = 20
STEPS = 48
NURSERY = """
import json, os, sys
from dataclasses import asdict
from pathlib import Path
import accelerate.utils.memory, peft, torch, transformers.modeling_utils
from tiny_models import load_base, questions
from tunesmith.config import TrainingSettings
from tunesmith.errors import TunesmithError
from tunesmith.store.files import open_log
from tunesmith.train.job import TrainingJob
from tunesmith.train.loop import train
from tunesmith.train.method import get_method

loaded = load_base(Path(sys.argv[1]))
encoded = loaded.renderer.examples(questions(24))
settings = TrainingSettings.model_validate_json(sys.argv[2])

def live(directory):
    directory.mkdir(exist_ok=True)
    def score(model):  # draws at random, as a sampler would
        return {"drawn": float(torch.rand(()))}
    with open_log(directory / "steps.jsonl") as log:
        def on_step(step):
            log.write(json.dumps(asdict(step)) + "\\n")
            log.flush()
        job = TrainingJob(
            "lora", encoded, encoded[:12], settings, 1, directory, on_step=on_step,
            say=lambda line: print(line, flush=True), score=score,
        )
        train(loaded, get_method("lora"), job)

for line in sys.stdin:
    life = os.fork()
    if life == 0:
        code = 1
        try:
            print("born", os.getpid(), flush=True)
            live(Path(line.strip()))
            code = 0
        except TunesmithError as error:
            print(error.message, flush=True)
            code = error.exit_code
        finally:
            sys.stdout.flush()
            os._exit(code)
    print("dead", os.waitstatus_to_exitcode(os.waitpid(life, 0)[1]), flush=True)
"""


@dataclass
class Life:
    """One process, from its birth to its end."""

    code: int
    said: list[str] = field(default_factory=list)


class Nursery:
    """The process that forks a training for each line it is given."""

    def __init__(self, base: Path, settings: TrainingSettings) -> None:
        tests = Path(__file__).resolve().parent.parent
        paths = [str(tests), str(tests.parent / "src"), os.environ.get("PYTHONPATH", "")]
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY, str(base), settings.model_dump_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(paths),
                "OMP_NUM_THREADS": "1",  # and no threads of others: they would not outlive a fork
                "TOKENIZERS_PARALLELISM": "false",
            },
        )

    def bear(self, directory: Path) -> int:
        """Begin a training in `directory`; its process."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{directory}\n")
        self.process.stdin.flush()
        word, pid = self.hear().split()
        assert word == "born"
        return int(pid)

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def await_end(self) -> Life:
        said: list[str] = []
        while not (line := self.hear()).startswith("dead"):
            said.append(line)
        return Life(int(line.split()[1]), said)


@pytest.fixture
def nursery(base_folder: Path, settings: TrainingSettings) -> Iterator[Nursery]:
    """Every kind of state matters: dropout, momentum, a schedule, clipping, the best step."""
    every = {
        "lora_dropout": 0.1,
        "max_grad_norm": 0.5,
        "num_train_epochs": STEPS / 6,
        "save_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 3,
        "load_best_model_at_end": True,
        "lr_scheduler_type": "cosine",
    }
    found = Nursery(base_folder, settings.model_copy(update=every))
    yield found
    found.process.kill()
    found.process.communicate()


def outcome(directory: Path) -> tuple[dict[int, object], dict[str, object]]:
    """Steps by number, without what differs between two runs of anything; the adapter's bytes."""
    steps = {}
    for line in (directory / "steps.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        del row["seconds"], row["memory_bytes"]
        assert steps.setdefault(row["step"], row) == row  # done again, it was the same again
    adapter = load_file(directory / "adapter" / "adapter_model.safetensors")
    return steps, {name: tensor.numpy().tobytes() for name, tensor in adapter.items()}


def half_written(directory: Path, pid: int) -> bool:
    return any(directory.glob(f".checkpoint-*.{pid}.new"))


@dataclass
class Counts:
    """What the kills hit."""

    rounds: int = 1
    kills: int = 0
    while_writing: int = 0
    resumed: int = 0
    begun_anew: int = 0
    last_steps: list[int] = field(default_factory=list)  # the newest checkpoint behind each kill


def newest(directory: Path) -> int:
    """The step of the newest checkpoint; 0: there is none."""
    return max((int(path.name[11:]) for path in directory.glob("checkpoint-*")), default=0)


def kill_once(
    nursery: Nursery, directory: Path, ahead: int, delay: float, aimed: bool, counts: Counts
) -> bool:
    """One life that ends by SIGKILL `delay` seconds behind its checkpoint number `ahead` (0: behind
    its birth), or as soon thereafter as it writes the next; whether it came to its end before."""
    began = newest(directory)
    pid = nursery.bear(directory)
    while began and "resumed at step" not in nursery.hear():
        pass
    late = time.monotonic() + 60

    def await_that(sign: Callable[[], bool]) -> None:
        while not sign() and not (directory / "adapter").is_dir():
            assert time.monotonic() < late
            time.sleep(0.0002)

    await_that(lambda: newest(directory) >= began + ahead)
    time.sleep(delay)
    if aimed:
        await_that(lambda: half_written(directory, pid))
    with suppress(ProcessLookupError):  # it may have come to its end
        os.kill(pid, signal.SIGKILL)
    life = nursery.await_end()
    if life.code == 0:
        return True
    assert life.code == -signal.SIGKILL, life.said
    assert not any("damaged" in line for line in life.said)
    counts.kills += 1
    counts.while_writing += half_written(directory, pid)
    counts.resumed += began > 0
    counts.begun_anew += began == 0
    counts.last_steps.append(newest(directory))
    return False


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_twenty_kills_change_neither_a_loss_nor_the_adapter(
    nursery: Nursery, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    nursery.bear(tmp_path / "whole")
    began = time.monotonic()
    assert nursery.await_end().code == 0
    length = time.monotonic() - began
    expected = outcome(tmp_path / "whole")
    assert sorted(expected[0]) == list(range(1, STEPS + 1))
    draw, counts = random.Random(20), Counts()
    while counts.kills < KILLS:
        place = tmp_path / f"cut-{counts.rounds}"
        # How far a life comes is told by its checkpoints: a clock would measure the machine.
        ahead, delay = draw.randint(0, 6), draw.uniform(0, 2 * length / STEPS)
        if kill_once(nursery, place, ahead, delay, counts.kills % 2 == 1, counts):
            assert outcome(place) == expected
            counts.rounds += 1
    place = tmp_path / f"cut-{counts.rounds}"
    nursery.bear(place)
    assert nursery.await_end().code == 0
    print(counts)
    record_property("counts", str(counts))
    assert outcome(place) == expected
    assert not any(place.glob(".checkpoint-*"))
    assert counts.while_writing >= 3
    assert len(set(counts.last_steps)) >= 5
