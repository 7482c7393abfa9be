"""What the processes beside the first do: they help it train, and nothing else (parallel.py)."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from tunesmith.errors import TunesmithError, first_line
from tunesmith.models.adapters import with_earlier
from tunesmith.models.load import load
from tunesmith.train.computing import Computation
from tunesmith.train.job import TrainingJob
from tunesmith.train.method import get_method
from tunesmith.train.parallel import ANSWER, Begin, LostError, Step, Team, gather, together
from tunesmith.train.signals import StopSignals


def launch(program: Callable[[], None], *, answer: timedelta = ANSWER) -> None:
    """Run `program` in process 0 while the others, which torchrun has started, help it train.

    `answer` is how long process 0 waits for a helper before it goes on alone.
    """
    team = gather(answer=answer)
    if team.rank == 0:
        with together(team):
            program()
    else:
        _help(team)


def _help(team: Team) -> None:
    """A helper's life: one training after another, until process 0 is done or gone."""
    for number in (signal.SIGINT, signal.SIGTERM):  # whether to stop is for process 0 to say
        signal.signal(number, signal.SIG_IGN)
    try:
        order = team.receive()
        while isinstance(order, Begin):
            order = _train_along(team, order)
    except (LostError, RuntimeError, TunesmithError) as error:
        raise SystemExit(f"helping process {team.rank} stopped: {first_line(error)}") from error
    dist.destroy_process_group()


def _train_along(team: Team, begin: Begin) -> Begin | Step | None:
    """Help with one training; the first order that belongs to another one."""
    folders = [Path(folder) for folder in begin.base.adapters]
    loaded = with_earlier(load(begin.base, four_bit=begin.four_bit), folders)
    method = get_method(begin.method)
    model = method.attach(loaded.model, begin.settings)
    job = TrainingJob(begin.name, [begin.example], [], begin.settings, seed=0, directory=Path())
    compute = Computation(loaded, model, method, job, StopSignals())
    compute.team = team
    with compute.ready():
        while isinstance(order := team.receive(), Step):
            compute.help(order, team)
    return order
