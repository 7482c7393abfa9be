"""Several processes on one training, as `torchrun` and `accelerate launch` start them.

Process 0 runs the program. The others are helpers: in each step they get the adapter's weights and
their share of the micro-batches, and give back gradients, which are added up. They keep nothing
from one step to the next, so that process 0 alone has optimizer, checkpoints, random numbers, the
store and a voice, and can go on alone where a helper is lost. The base is frozen: only the adapter
and its gradients travel. See docs/decisions/011-processes.md.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tunesmith.config import ModelSettings, TrainingSettings
from tunesmith.errors import first_line
from tunesmith.models.render import Encoded
from tunesmith.train.batches import Batch
from tunesmith.train.memory import is_out_of_memory

ANSWER = timedelta(minutes=30)  # how long process 0 waits for the others
ORDERS = timedelta(days=30)  # how long they wait for it: it may be answering questions meanwhile
SEEDS = 2**62
Own = Callable[[Sequence[Batch], int], Tensor]
MEMORY = "not enough memory: "


class LostError(Exception):
    """Another process is gone, or does not answer."""


@dataclass(frozen=True, slots=True)
class Begin:
    """A training that helpers join: what they load, and put on it."""

    name: str
    base: ModelSettings
    four_bit: bool
    method: str
    settings: TrainingSettings
    example: Encoded


@dataclass(frozen=True, slots=True)
class Step:
    """The micro-batches of step `number`, whose effective batch has `answers` answer tokens; `seed`
    for what is drawn at random (dropout), None where nothing is."""

    number: int
    batches: Sequence[Batch]
    answers: int
    checkpointing: bool
    seed: int | None


class Team:
    """The processes of this training, seen from one of them."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def send(self, order: Begin | Step | None) -> None:
        """Process 0: tell the others what is next; None ends them. LostError where one is gone."""
        try:
            dist.broadcast_object_list([order])
        except RuntimeError as error:
            raise LostError(first_line(error)) from error

    def receive(self) -> Begin | Step | None:
        """The others: what process 0 wants next."""
        order: list[Any] = [None]
        dist.broadcast_object_list(order)
        found: Begin | Step | None = order[0]
        return found

    def add_up(
        self,
        trainable: Sequence[nn.Parameter],
        statistics: Sequence[Tensor],
        step: Step,
        own: Own,
    ) -> Tensor:
        """Compute one step together: `own(batches, answers)` fills the gradients and the method's
        statistics of this process's share and gives its nll; afterwards process 0 has the sums of
        all three.

        Raises what `own` raised, here or (as torch's own error for a lack of memory, else a
        RuntimeError) in another process, and LostError where another process is gone.
        """
        try:
            self._share_weights(trainable)
            nll, failed = torch.zeros(()), None
            try:
                nll = own(step.batches[self.rank :: self.size], step.answers)
            except Exception as error:  # noqa: BLE001 - told to the others, then raised
                failed = error
            said: list[str] = [""] * self.size
            dist.all_gather_object(said, "" if failed is None else _message(failed))
            if failed is None and not any(said):
                self._sum_gradients(trainable, nll)
                self._sum_statistics(statistics)
        except RuntimeError as error:
            raise LostError(first_line(error)) from error
        if failed is not None:
            raise failed
        for rank, message in enumerate(said):
            if message:
                kind = torch.OutOfMemoryError if message.startswith(MEMORY) else RuntimeError
                raise kind(f"process {rank}: {message}")
        return nll

    def _share_weights(self, trainable: Sequence[nn.Parameter]) -> None:
        with torch.no_grad():
            flat = nn.utils.parameters_to_vector(trainable).cpu()
            dist.broadcast(flat, src=0)
            if self.rank > 0:
                nn.utils.vector_to_parameters(flat.to(trainable[0].device), trainable)

    def _sum_gradients(self, trainable: Sequence[nn.Parameter], nll: Tensor) -> None:
        """A parameter that no example of process 0 reached has no gradient in any process."""
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in trainable]
        flat = torch.cat([part.flatten() for part in parts]).cpu()
        loss = nll.double().cpu()
        dist.reduce(flat, dst=0)
        dist.reduce(loss, dst=0)
        if self.rank == 0:
            nll.copy_(loss)
            summed = torch.split(flat, [part.numel() for part in parts])
            for parameter, part in zip(trainable, summed, strict=True):
                if parameter.grad is not None:
                    parameter.grad.copy_(part.view_as(parameter))

    def _sum_statistics(self, statistics: Sequence[Tensor]) -> None:
        for tensor in statistics:
            there = tensor.cpu()
            dist.reduce(there, dst=0)
            if self.rank == 0:
                tensor.copy_(there)


def _message(error: Exception) -> str:
    what = first_line(error) or type(error).__name__
    return f"{MEMORY}{what}" if is_out_of_memory(error) else f"{type(error).__name__}: {what}"


def unsharded() -> str:
    """What to say where a configuration wants the base divided among the processes; "" else."""
    wanted = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")
    if not any(os.environ.get(name, "false").lower() == "true" for name in wanted):
        return ""
    return ", and each holds the whole base: sharding it is not offered (docs/processes.md)"


class _Current:
    """The team of this process, while there is one."""

    team: Team | None = None


def team() -> Team | None:
    """The team that a training in this process may share its steps with; None: it is alone."""
    return _Current.team


def gather(*, answer: timedelta = ANSWER) -> Team:
    """Wait for every process that torchrun has started; its environment says how many.

    `answer` is how long process 0 waits for a helper before it goes on alone.
    """
    first = os.environ["RANK"] == "0"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    dist.init_process_group("gloo", timeout=answer if first else ORDERS)
    return Team()


@contextmanager
def together(team: Team) -> Iterator[None]:
    """Process 0: trainings in the block share their steps; behind it the others end.

    Where one hung, what the block did stands, but the exit code is 1: torchrun, which would wait
    for it for ever, then ends it.
    """
    _Current.team = team
    try:
        yield
    except SystemExit as end:
        if end.code or _Current.team is not None:
            raise
    finally:
        whole = _Current.team is not None
        if whole:
            leave(team)
        dist.destroy_process_group()
    if not whole:
        raise SystemExit("done, but a helping process was lost on the way")


def leave(team: Team) -> None:
    """Process 0: go on alone, and let the others end."""
    _Current.team = None
    try:
        team.send(None)
    except LostError as error:
        print(f"a helping process was gone already: {error}", file=sys.stderr)
