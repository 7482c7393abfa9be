"""The cells of a study on a Ray cluster: two nodes of one processor each, on this machine.

What needs no cluster is tested everywhere; the rest is skipped where Ray is not installed.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import ray_works
from small_studies import write_study
from tunesmith.config.study import load_study
from tunesmith.errors import ConfigError
from tunesmith.pipeline.cells import Cell
from tunesmith.pipeline.engines import Local, get_engine
from tunesmith.pipeline.ray_engine import ATTEMPTS, OnRay, only_host
from tunesmith.pipeline.studying import Studied, run_study
from tunesmith.records import StudyRun
from tunesmith.store.store import Store

LIMIT = 420  # seconds that any of these tests may take
STEPS = 60
NODE = {"num_cpus": 1, "object_store_memory": 100_000_000}
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="wants ray")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    """Nothing here may hang."""

    def late(*_: object) -> None:
        raise TimeoutError(f"still not done after {LIMIT} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head and another node; one thread for each cell, as the local engine is given here."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", str(Path(ray_works.__file__).parent), prepend=os.pathsep)
        made = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
        try:
            made.add_node(**NODE)
            made.wait_for_nodes(timeout=60)
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


Start = Callable[..., OnRay]


@pytest.fixture
def start(cluster: Any, tmp_path: Path) -> Iterator[Start]:
    """Starts engines on the cluster, and lets go of them."""
    started: list[OnRay] = []

    def begin(**wishes: Any) -> OnRay:
        started.append(OnRay("works", tmp_path, address=cluster.address, **wishes))
        return started[-1]

    try:
        yield begin
    finally:
        for engine in started:
            engine.close()
    assert not list(tmp_path.glob(".ray-*"))


def cells(count: int) -> list[Cell]:
    return [Cell("colours", "lora", seed, None, 0.01, "", "run") for seed in range(count)]


@needs_ray
def test_a_worker_does_many_cells_with_what_it_was_given(start: Start) -> None:
    said = [run.run for run in start().run(ray_works.who, cells(12))]
    assert len(said) == 12
    assert 1 <= len(set(said)) <= 2
    assert {line.split(" ", 1)[1] for line in said} == {"1 ''"}


@needs_ray
def test_a_cell_that_kills_its_workers_is_recorded_as_failed(start: Start) -> None:
    said: list[str] = []
    (lost,) = start(say=said.append).run(ray_works.die, cells(1))
    assert lost.study == "works"
    assert lost.error.startswith(f"its worker was lost {ATTEMPTS} times, the last time: ")
    assert (lost.method, lost.seed, lost.learning_rate, lost.run) == ("lora", 0, 0.01, "run")
    assert len(said) == ATTEMPTS - 1
    assert said[0].startswith("colours, lora, seed 0: its worker was lost (")
    assert said[0].endswith(f"; attempt 2 of {ATTEMPTS}")


@needs_ray
def test_what_a_cell_raises_comes_through_but_a_lock_is_waited_for(
    start: Start, tmp_path: Path
) -> None:
    engine = start()
    with pytest.raises(ConfigError, match="no such thing: lora") as caught:
        list(engine.run(ray_works.refuse, cells(2)))
    assert caught.value.hint == "try another"
    (came,) = engine.run(partial(ray_works.wait_once, tmp_path), cells(1))
    assert came.run


@needs_ray
def test_to_stop_cancels_what_runs_and_what_waits(start: Start, tmp_path: Path) -> None:
    engine = start()
    waiting = threading.Event()

    def interrupt() -> None:
        while len(list(tmp_path.glob("began-*"))) < 2 and not waiting.wait(0.05):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    watch = threading.Thread(target=interrupt)
    watch.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(engine.run(partial(ray_works.long, tmp_path), cells(4)))
    finally:
        waiting.set()
        watch.join()
    began = {file.name[-1] for file in tmp_path.glob("began-*")}
    assert {file.name[-1] for file in tmp_path.glob("stopped-*")} == began
    assert len(began) == 2


@needs_ray
def test_what_the_cluster_does_not_have(start: Start, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no node of the cluster has 64 CPUs"):
        start(cpus=64)
    with pytest.raises(ConfigError, match="has 1 CPUs and 1 GPUs, which each training"):
        start(gpus=1)
    engine = start()
    (tmp_path / engine.place.token).rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="does not see the folder"):
        list(engine.run(ray_works.who, cells(1)))
    (tmp_path / "elsewhere").rename(tmp_path / engine.place.token)
    engine.place = replace(engine.place, host="192.0.2.77")
    with pytest.raises(ConfigError, match=r"SQLite, which cannot be written from .*192\.0\.2\.77"):
        list(engine.run(ray_works.who, cells(1)))
    engine.place = replace(engine.place, host="", code="another")
    with pytest.raises(ConfigError, match="another state of Tunesmith's code"):
        list(engine.run(ray_works.who, cells(1)))


def node(address: str, alive: bool = True) -> dict[str, Any]:
    return {"NodeManagerAddress": address, "Alive": alive, "Resources": {"CPU": 4}}


def test_several_hosts_need_a_store_that_they_can_share(tmp_path: Path) -> None:
    one, two, gone = node("10.0.0.1"), node("10.0.0.2"), node("10.0.0.3", alive=False)
    assert only_host(tmp_path, "", [one, one, gone]) == "10.0.0.1"
    assert only_host(tmp_path, "postgresql+psycopg://h/x", [one, two]) == ""
    for store in ("", f"sqlite:///{tmp_path}/x.db"):
        with pytest.raises(ConfigError, match=r"several hosts: 10\.0\.0\.1, 10\.0\.0\.2") as caught:
            only_host(tmp_path, store, [one, two])
        assert "TUNESMITH_STORE" in caught.value.hint


@needs_ray
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ray://127.0.0.1:10001", "that of a Ray client"),
        ("127.0.0.1:1", "out of reach: Connection refused"),
        ("nonsense", "no HOST:PORT"),
    ],
)
def test_a_wrong_address_is_told_at_once(address: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        get_engine("ray", home=tmp_path, address=address)


def test_without_ray_the_install_line_is_told(tmp_path: Path) -> None:
    file = write_study(tmp_path)
    without = "import sys; sys.modules['ray'] = None; from tunesmith.cli import main; main()"
    told = subprocess.run(
        [sys.executable, "-c", without, "study", file, "--engine", "ray", "--home", tmp_path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 2
    assert "--engine ray wants Ray" in told.stderr
    assert "pip install 'tunesmith[ray]'" in told.stderr


def one_trial(folder: Path) -> Path:
    """Two methods, one task, one trial, two seeds; long enough to be killed in the middle."""
    file = write_study(folder)
    text = file.read_text().replace("trials: 2", "trials: 1")
    longer = f"max_steps: {STEPS}, num_train_epochs: {STEPS}, save_steps: 5"
    file.write_text(re.sub(r"max_steps: \d+", longer, text))
    return file


def processes(node: Any) -> list[psutil.Process]:
    """A node's processes, its workers among them."""
    (raylet,) = node.all_processes["raylet"]
    first = psutil.Process(raylet.process.pid)
    return [first, *first.children(recursive=True)]


def under_way(home: Path) -> dict[int, int]:
    """How many steps each training has written down, by the process that it runs in."""
    found = {}
    for log in home.glob("artefacts/adapter-*.partial/steps.jsonl"):
        owner = home / "artefacts" / ".locks" / f"{log.parent.stem}.pid"
        with suppress(OSError, ValueError):
            found[int(owner.read_text())] = len(log.read_text().splitlines())
    return found


def cut_power(node: Any, home: Path, over: threading.Event) -> int:
    """Kill a node's processes, all at once, in the middle of a training; its steps by then."""
    while not over.wait(0.01):
        there = {process.pid: process for process in processes(node)}
        if mine := [n for pid, n in under_way(home).items() if pid in there and 2 <= n < STEPS]:
            for process in there.values():
                process.kill()
            return mine[0]
    return 0


def plain(run: StudyRun) -> StudyRun:
    """Without what differs from run to run: the store's id, seconds, bytes of memory; and to 8
    digits what the base itself makes of general text, which this process measures: its sums have
    another order before a process's first training than after it."""
    before, after = run.general_perplexity or (0.0, 0.0)
    general = float(f"{before:.8g}"), after
    curve = tuple(replace(step, seconds=0.0, memory_bytes=0) for step in run.curve)
    return replace(
        run, run="", seconds=0.0, peak_memory_bytes=0, curve=curve, general_perplexity=general
    )


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As the workers: sums in another order would be other sums."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.fixture
def local(one_thread: None, tmp_path: Path) -> Studied:
    """The same study on the local engine."""
    (folder := tmp_path / "local").mkdir()
    return run_study(load_study(one_trial(folder)), home=folder, engine=Local())


@needs_ray
def test_a_node_that_is_killed_costs_nothing_but_time(
    cluster: Any, local: Studied, tmp_path: Path
) -> None:
    (home := tmp_path / "ray").mkdir()
    study, said = load_study(one_trial(home)), list[str]()
    engine = OnRay("small", home, address=cluster.address, say=said.append)
    (doomed,) = cluster.worker_nodes
    over = threading.Event()
    with ThreadPoolExecutor(1) as beside:
        killed = beside.submit(cut_power, doomed, home, over)
        try:
            found = run_study(study, home=home, engine=engine)
        finally:
            over.set()
            engine.close()
            cluster.remove_node(doomed, allow_graceful=False)
            cluster.add_node(**NODE)
    assert 2 <= killed.result() < STEPS
    assert len(said) == 1, said
    assert "its worker was lost (" in said[0]
    assert len(said[0]) < 160
    assert [plain(r) for r in found.trials] == [plain(r) for r in local.trials]
    assert [plain(r) for r in found.runs] == [plain(r) for r in local.runs]
    assert found.made == 6
    with Store.open(home) as store:
        assert len(store.stored_runs("small")) == 6
        runs = {run.recipe: run.id for run in store.runs()}
        assert len(runs) == len(store.runs()) == 3
        for method in ("lora", "rslora"):
            for run, variant in (("search", f"{method}-0"), ("seed 1", method), ("seed 2", method)):
                steps = store.training_steps(runs[f"small colours {run}"], variant)
                assert [step.step for step in steps] == [*range(1, STEPS + 1)]
        answers = store.answers(runs["small colours seed 1"], "lora")
        assert len({a.example_id for a in answers}) == len(answers) > 0


@needs_ray
def test_ctrl_c_on_a_cluster_of_its_own_and_on_with_the_local_engine(tmp_path: Path) -> None:
    file = write_study(tmp_path)
    command = [sys.executable, "-m", "tunesmith", "study", str(file), "--home", str(tmp_path)]
    with (tmp_path / "said").open("w") as said:
        study = subprocess.Popen(
            [*command, "--engine", "ray"], stdout=said, stderr=said, start_new_session=True
        )
    started: list[psutil.Process] = []
    try:
        late = time.monotonic() + 240
        while time.monotonic() < late and study.poll() is None:
            time.sleep(0.1)
            if (tmp_path / "tunesmith.db").exists():
                with Store.open(tmp_path) as store:
                    if store.stored_runs("small"):
                        break
        started = psutil.Process(study.pid).children(recursive=True)
        os.killpg(study.pid, signal.SIGINT)
        assert study.wait(timeout=90) == 130, (tmp_path / "said").read_text()
    finally:
        study.kill()
        study.wait()
        _, left = psutil.wait_procs(started, timeout=30)
        for process in left:
            process.kill()
    assert started
    assert not left
    assert "stopped; what was done so far is kept" in (tmp_path / "said").read_text()
    with Store.open(tmp_path) as store:
        before = store.stored_runs("small")
        assert {run.status for run in store.runs()} <= {"done", "interrupted"}
    assert 1 <= len(before) < 8
    found = run_study(load_study(file), home=tmp_path)
    assert found.made == 8 - len(before)
    assert not any(run.error for run in (*found.trials, *found.runs))
