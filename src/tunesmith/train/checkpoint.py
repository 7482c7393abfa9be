"""Checkpoints that are whole or not there, and that resume exactly.

A checkpoint is a directory `checkpoint-STEP`: adapter and method state as safetensors, the
optimizer's, scheduler's and random generators' state, and a `checksums.json` written last. It is
written beside and renamed into place. The newest one whose checksums hold is resumed; a damaged
one is passed over and said so.
"""

from __future__ import annotations

import hashlib
import json
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

from tunesmith.errors import StoreError

PREFIX = "checkpoint-"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that a run needs to go on as if it had not stopped."""

    step: int
    adapter: Mapping[str, Tensor]
    method: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    rng: Mapping[str, Any]
    progress: Mapping[str, float]


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


def save(directory: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write `checkpoint-STEP` into `directory`, whole or not at all; keep the `keep` newest.

    Raises StoreError where it cannot be written; the checkpoints before it are untouched then.
    """
    final = directory / f"{PREFIX}{checkpoint.step}"
    partial = directory / f".{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with writing(final):
            _write(partial, checkpoint)
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for old in _checkpoints(directory)[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return final


@contextmanager
def writing(what: Path) -> Iterator[None]:
    """Say in one StoreError, whichever library was writing, that the disk would not take `what`."""
    try:
        yield
    # safetensors and torch wrap the system's error in classes of their own.
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise StoreError(
            f"cannot write {what}: {reason}",
            hint="free some space, or name a writable --home; what was written before is kept",
        ) from error


def _write(partial: Path, checkpoint: Checkpoint) -> None:
    partial.mkdir(parents=True)
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
    sums = {path.name: _sha256(path) for path in sorted(partial.iterdir())}
    (partial / "checksums.json").write_text(json.dumps(sums, indent=1), "utf-8")


def newest(directory: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint, or None; each damaged one that is passed over is said."""
    for path in _checkpoints(directory):
        if not _whole(path):
            say(f"{path.name} is damaged (its checksums do not hold); trying the one before it")
            continue
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
    return None


def _checkpoints(directory: Path) -> list[Path]:
    """Checkpoint directories, newest first."""
    found = [p for p in directory.glob(f"{PREFIX}*") if p.name[len(PREFIX) :].isdigit()]
    return sorted(found, key=lambda p: -int(p.name[len(PREFIX) :]))


def _whole(path: Path) -> bool:
    try:
        sums: dict[str, str] = json.loads((path / "checksums.json").read_text("utf-8"))
        return bool(sums) and all(_sha256(path / name) == sum_ for name, sum_ in sums.items())
    except (OSError, ValueError, AttributeError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
