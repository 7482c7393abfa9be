"""Checkpoints that are whole or not there, and that resume exactly.

A checkpoint is a directory `checkpoint-STEP`: adapter and method state as safetensors, the
optimizer's, scheduler's and random generators' state, and a `checksums.json` written last. It is
written beside, flushed to the disk, and renamed into place. The newest one whose checksums hold is
resumed; one that is damaged, or of another format, is passed over and said so.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tunesmith.errors import StoreError, first_line
from tunesmith.store.artefacts import hash_file
from tunesmith.store.whole import whole_folder

PREFIX = "checkpoint-"
FORMAT = 2  # of what a checkpoint holds; raise it whenever that changes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that a run needs to go on as if it had not stopped."""

    step: int
    adapter: Mapping[str, Tensor]
    method: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    rng: Mapping[str, Any]
    progress: Mapping[str, Any]  # train.progress.Progress, as plain values


def random_state() -> dict[str, Any]:
    """State of every random generator that training could draw from."""
    version, keys, position, has_gauss, gauss = np.random.get_state()
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (version, torch.from_numpy(np.asarray(keys)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Put back what `random_state` gave."""
    version, keys, position, has_gauss, gauss = state["numpy"]
    random.setstate(state["python"])
    np.random.set_state((version, keys.numpy(), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def same_random_state() -> Iterator[None]:
    """Whatever the block draws, the random generators go on behind it as if it had not been."""
    state = random_state()
    try:
        yield
    finally:
        set_random_state(state)


def save(directory: Path, checkpoint: Checkpoint, *, keep: int, best: int | None = None) -> Path:
    """Write `checkpoint-STEP` into `directory`, whole or not at all.

    Of all checkpoints the `keep` newest stay, `best` (a step) always among them, as transformers
    does it. Raises StoreError where it cannot be written; those before it are untouched then.
    """
    final = directory / f"{PREFIX}{checkpoint.step}"
    with writing(final), whole_folder(final) as partial:
        _write(partial, checkpoint)
    always = {checkpoint.step, best} - {None}
    ranked = sorted(_checkpoints(directory), key=lambda path: _step(path) not in always)
    for old in ranked[max(keep, len(always)) :]:
        shutil.rmtree(old, ignore_errors=True)
    return final


@contextmanager
def writing(what: Path) -> Iterator[None]:
    """Say in one StoreError, whichever library was writing, that the disk would not take `what`."""
    try:
        yield
    # safetensors and torch wrap the system's error in classes of their own.
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise StoreError(
            f"cannot write {what}: {reason}",
            hint="free some space, or name a writable --home; what was written before is kept",
        ) from error


def _write(partial: Path, checkpoint: Checkpoint) -> None:
    save_file(dict(checkpoint.adapter), partial / "adapter.safetensors")
    save_file(dict(checkpoint.method), partial / "method.safetensors")
    torch.save(
        {
            "step": checkpoint.step,
            "optimizer": checkpoint.optimizer,
            "scheduler": checkpoint.scheduler,
            "rng": checkpoint.rng,
            "progress": dict(checkpoint.progress),
        },
        partial / "state.pt",
    )
    files = sorted(partial.iterdir())
    facts = {
        "format": FORMAT,
        "versions": _versions(),
        "files": {p.name: hash_file(p) for p in files},
    }
    (partial / "checksums.json").write_text(json.dumps(facts, indent=1), "utf-8")
    for path in (*files, partial / "checksums.json"):
        with path.open("rb") as file:
            os.fsync(file.fileno())


def newest(directory: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest usable checkpoint, or None; each that is passed over is said, and why.

    What a kill left half-written is removed: whoever resumes is alone in `directory`.
    """
    for left in directory.glob(f".{PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
    for path in _checkpoints(directory):
        found = read(path, say)
        if found is not None:
            return found
    return None


def read(path: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The checkpoint in a folder; None, with a line why, where it is damaged or of another format.

    One written by another version of torch or PEFT is used, and said: what follows is then not
    promised to be equal to the bit.
    """
    try:
        facts: dict[str, Any] = json.loads((path / "checksums.json").read_text("utf-8"))
        written, sums = facts.get("format", 1), facts.get("files", {})
        if written != FORMAT:
            say(f"{path.name} is of format {written}, and {FORMAT} is read here; it is passed over")
            return None
        if not sums or any(hash_file(path / name) != sum_ for name, sum_ in sums.items()):
            raise ValueError
    except (OSError, ValueError, AttributeError):
        say(f"{path.name} is damaged (its checksums do not hold); it is passed over")
        return None
    for name, version in facts["versions"].items():
        if _versions().get(name) != version:
            say(
                f"{path.name} was written with {name} {version}, here is {_versions().get(name)}: "
                "the run goes on, but is not promised to end equal to the bit"
            )
    # The state holds tensors and plain values alone: nothing in it can run code.
    state = torch.load(path / "state.pt", weights_only=True)
    return Checkpoint(
        step=int(state["step"]),
        adapter=load_file(path / "adapter.safetensors"),
        method=load_file(path / "method.safetensors"),
        optimizer=state["optimizer"],
        scheduler=state["scheduler"],
        rng=state["rng"],
        progress=state["progress"],
    )


def kept(directory: Path) -> list[int]:
    """Steps of the checkpoints in a folder, the newest first."""
    return [_step(path) for path in _checkpoints(directory)]


def _versions() -> dict[str, str]:
    """The libraries whose state a checkpoint holds."""
    return {name: importlib.metadata.version(name) for name in ("torch", "peft")}


def _checkpoints(directory: Path) -> list[Path]:
    """Checkpoint directories, newest first."""
    found = [p for p in directory.glob(f"{PREFIX}*") if p.name[len(PREFIX) :].isdigit()]
    return sorted(found, key=_step, reverse=True)


def _step(path: Path) -> int:
    return int(path.name[len(PREFIX) :])
