"""The trainings of a study as tasks on a Ray cluster, their processors and GPUs named.

    this process ──cells──▶ workers ──▶ home folder, store: adapters, steps, answers
                 ◀─results─         the study's table is written by this process alone

Ray's worker processes serve several cells, so that each loads the base once. A cell whose worker
was lost is given out again, and goes on from its last checkpoint; Ray itself retries nothing.
https://docs.ray.io/en/latest/ray-core/tasks.html
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from tunesmith.errors import ConfigError, Interrupted, StoreError, TrainingError, first_line
from tunesmith.pipeline.cells import Cell
from tunesmith.records import StudyRun
from tunesmith.store.home import STORE_ENVIRONMENT
from tunesmith.store.provenance import code_hash

ATTEMPTS = 3  # for each cell
GRACE = 15.0  # seconds that a cancelled training has to write its checkpoint
LOOK = 2.0  # seconds between two looks at the cluster
REACH = 5.0  # seconds until a cluster that does not answer counts as out of reach
OBJECTS = 100_000_000  # bytes shared between processes: nothing but records goes through them
HIDDEN = "CUDA_VISIBLE_DEVICES"
CODE = ("train", "models", "evaluate", "tasks")

Node = Mapping[str, Any]  # as ray.nodes() has it


@dataclass(frozen=True, slots=True)
class Needs:
    """What one cell takes of its node."""

    cpus: float
    gpus: float

    def __str__(self) -> str:
        return f"{self.cpus:g} CPUs" + (f" and {self.gpus:g} GPUs" if self.gpus else "")

    def met_by(self, node: Node) -> bool:
        """Whether the node is there, and has as much when nothing else runs on it."""
        has = node["Resources"]
        enough = has.get("CPU", 0) >= self.cpus and has.get("GPU", 0) >= self.gpus
        return bool(node["Alive"]) and enough


@dataclass(frozen=True, slots=True)
class Place:
    """What every worker must find as the process that gave the cell out has it.

    `token` is a file in the home folder; `host` the address of the only host that may work, ""
    for any; `store` the URL in TUNESMITH_STORE, "" for the home folder.
    """

    home: Path
    token: str
    store: str
    host: str
    code: str
    gpu: bool

    def enter(self, here: str) -> None:
        """Settle at the address `here`; ConfigError where a result would go astray or differ."""
        if self.host and here != self.host:
            raise sharing_error(self.home, {self.host, here})
        if not (self.home / self.token).is_file():
            raise ConfigError(
                f"{here} does not see the folder {self.home} as this host does",
                hint="give --home a folder that all hosts of the cluster share",
            )
        if code_hash(*CODE) != self.code:
            raise ConfigError(
                f"{here} has another state of Tunesmith's code",
                hint="install the same version on every host of the cluster",
            )
        os.environ.pop(STORE_ENVIRONMENT, None)
        if self.store:
            os.environ[STORE_ENVIRONMENT] = self.store
        if not self.gpu:  # Ray leaves all of them visible to a task that named none
            os.environ[HIDDEN] = ""


def do(place: Place, work: Callable[[Cell], StudyRun], cell: Cell) -> StudyRun:
    """One cell, in a worker."""
    place.enter(_import_ray().util.get_node_ip_address())
    return work(cell)


def sharing_error(home: Path, hosts: set[str]) -> ConfigError:
    """SQLite's log lives in memory that only processes of one host share."""
    return ConfigError(
        f"the store in {home} is SQLite, which cannot be written from several hosts: "
        f"{', '.join(sorted(hosts))}",
        hint=f"set {STORE_ENVIRONMENT} to a server's URL, as postgresql+psycopg://user@host/name",
    )


def only_host(home: Path, store: str, nodes: Sequence[Node]) -> str:
    """The address that all cells must run at, "" where any will do; ConfigError where a SQLite
    store would have to be shared between hosts."""
    if store and not store.startswith("sqlite"):
        return ""
    hosts = {str(node["NodeManagerAddress"]) for node in nodes if node["Alive"]}
    if len(hosts) > 1:
        raise sharing_error(home, hosts)
    return "".join(hosts)


class OnRay:
    """Cells as tasks of the cluster at `address`, "" for one started on this machine.

    `cpus` and `gpus` are what each cell takes; `gpus` None: 1 where the cluster has any, else 0.
    `study` is the name under which a cell is recorded whose worker was lost `ATTEMPTS` times, `say`
    hears of each loss. For `patience` seconds the cluster may lack a node that is large enough.
    Raises ConfigError where Ray is missing, the cluster is out of reach or too small, or its hosts
    cannot share the store. `close` cancels what runs and lets go of the cluster.
    """

    name = "ray"

    def __init__(
        self,
        study: str,
        home: Path,
        *,
        address: str = "",
        cpus: float = 1,
        gpus: float | None = None,
        say: Callable[[str], None] = lambda _: None,
        patience: float = 60.0,
    ) -> None:
        self.study, self.say, self.patience = study, say, patience
        self._ray = _import_ray()
        self._given: dict[Any, tuple[Cell, int]] = {}
        self._own = not self._ray.is_initialized()
        if self._own:
            _connect(self._ray, address)
        token = home / f".ray-{uuid4().hex}"
        self._token = token
        try:
            nodes = self._ray.nodes()
            if gpus is None:
                gpus = float(any(node["Resources"].get("GPU", 0) >= 1 for node in nodes))
            self.needs = Needs(cpus, gpus)
            if not any(map(self.needs.met_by, nodes)):
                raise ConfigError(
                    f"no node of the cluster has {self.needs}, which each training was to have",
                    hint="ask for less with --cpus and --gpus, or add a larger node",
                )
            store = os.environ.get(STORE_ENVIRONMENT, "")
            host, code = only_host(home, store, nodes), code_hash(*CODE)
            self.place = Place(home, token.name, store, host, code, gpu=gpus > 0)
            home.mkdir(parents=True, exist_ok=True)
            token.touch()
        except BaseException:
            self.close()
            raise

    @property
    def cpus(self) -> float:
        """Of each cell, which are also its threads."""
        return self.needs.cpus

    def run(self, work: Callable[[Cell], StudyRun], cells: Sequence[Cell]) -> Iterator[StudyRun]:
        """As they end; what a cell raises goes through, but for the loss of its worker."""
        needs = {"num_cpus": self.needs.cpus, "num_gpus": self.needs.gpus}
        task = self._ray.remote(**needs, max_calls=0, max_retries=0)(do)
        for cell in cells:
            self._given[task.remote(self.place, work, cell)] = cell, 1
        able = time.monotonic()
        try:
            while self._given:
                ended, _ = self._ray.wait(list(self._given), timeout=LOOK)
                if ended or any(map(self.needs.met_by, self._ray.nodes())):
                    able = time.monotonic()
                elif time.monotonic() - able > self.patience:
                    raise TrainingError(
                        f"no node with {self.needs} is left in the cluster",
                        hint="add one; the same command goes on where this one was",
                    )
                for task_id in ended:
                    cell, attempt = self._given.pop(task_id)
                    result = self._result(task_id, cell, attempt)
                    if result is None:
                        again = task.remote(self.place, work, cell)
                        self._given[again] = cell, attempt + 1
                    else:
                        yield result
        finally:
            self._cancel()

    def _result(self, task_id: Any, cell: Cell, attempt: int) -> StudyRun | None:
        """What came of a cell; None where it is to be given out again."""
        errors = self._ray.exceptions
        try:
            result: StudyRun = self._ray.get(task_id)
            return result
        except errors.RayTaskError as error:
            # A worker that was told to leave (its node is drained), or whose disk is full, or who
            # met the last of a lost one that still holds a lock: another may do better.
            if not isinstance(error.cause, (Interrupted, StoreError)):
                raise error.cause from error
            if isinstance(error.cause, StoreError) and attempt == ATTEMPTS:
                raise error.cause from error
            why = first_line(error.cause)
        except errors.RayError as error:
            why = first_line(error).split(". ")[0].rstrip(".")  # then come ids and log files
        if attempt < ATTEMPTS:
            self.say(f"{cell}: its worker was lost ({why}); attempt {attempt + 1} of {ATTEMPTS}")
            time.sleep(LOOK)
            return None
        why = f"its worker was lost {ATTEMPTS} times, the last time: {why}"
        rate = cell.learning_rate
        return StudyRun(
            self.study, cell.task, cell.method, cell.seed, cell.trial, rate, cell.run, error=why
        )

    def _cancel(self) -> None:
        """Stop what runs: with a checkpoint where it hears in time, at once where not."""
        left, self._given = list(self._given), {}
        if not left:
            return
        for task_id in left:
            self._ray.cancel(task_id)
        _, deaf = self._ray.wait(left, num_returns=len(left), timeout=GRACE)
        for task_id in deaf:
            self._ray.cancel(task_id, force=True)

    def close(self) -> None:
        """Let go of the cluster; one that was started for this study ends."""
        try:
            self._cancel()
        finally:
            self._token.unlink(missing_ok=True)
            if self._own:
                self._ray.shutdown()


def _import_ray() -> Any:
    # What Ray reads when it is imported: no figures about its use are sent, and `uv run` does not
    # make it upload the working directory.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            f"--engine ray wants Ray, which cannot be imported: {first_line(error)}",
            hint="pip install 'tunesmith[ray]'",
        ) from error
    return ray


def _connect(ray: Any, address: str) -> None:
    """Join the cluster at `address`, or start one on this machine."""
    if "://" in address:
        raise ConfigError(
            f"the address {address} is that of a Ray client",
            hint="run this on a host of the cluster, with the HOST:PORT of its head node",
        )
    local = address in ("", "local")
    if not local and address != "auto":
        _check_reach(address)
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    started = {"include_dashboard": False, "object_store_memory": OBJECTS}
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address="local" if local else address, **quiet, **(started if local else {}))
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ConfigError(
            f"no Ray cluster: {first_line(error)}",
            hint="check --ray-address, or leave it out to start one on this machine",
        ) from error
    finally:
        if main:  # Ray puts its own handler there
            signal.signal(signal.SIGTERM, before)


def _check_reach(address: str) -> None:
    """Ask first: Ray itself tries for minutes, and then ends the process."""
    host, _, port = address.rpartition(":")
    try:
        with suppress(ValueError):
            socket.create_connection((host, int(port)), timeout=REACH).close()
            return
    except OSError as error:
        raise ConfigError(
            f"the Ray cluster at {address} is out of reach: {error.strerror or error}",
            hint="check --ray-address; `ray status` on its head node shows whether it is up",
        ) from error
    raise ConfigError(f"{address!r} is no HOST:PORT", hint="for instance --ray-address head:6379")
