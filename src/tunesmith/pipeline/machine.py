"""What this machine can do, in lines for people: `tunesmith doctor`."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

HUB = "https://huggingface.co"
PATIENCE = 3.0  # seconds until a hub that does not answer counts as out of reach
GIB = 2**30


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: what was found, and what it means."""

    name: str
    value: str
    note: str = ""


def examine_machine(home: Path) -> list[Check]:
    """Look at cores, memory, accelerator, number formats, Graphviz, disk and the hub."""
    from tunesmith.models.hardware import find_hardware
    from tunesmith.tasks.dot import judge

    found = find_hardware()
    accelerator = (
        Check("GPU", "none", "small models train on the processor; a GPU is wanted from 1B on")
        if found.device == "cpu"
        else Check("GPU", f"{found.device_name}, {found.device_memory / GIB:.0f} GiB")
    )
    judged = str(judge())
    return [
        Check("cores", str(found.cores)),
        Check("memory", f"{found.memory / GIB:.1f} GiB"),
        accelerator,
        Check(
            "bfloat16",
            "fast" if found.bf16_fast else "slow",
            "" if found.bf16_fast else "no units for it here: float32 is used",
        ),
        Check("4-bit", "yes" if found.four_bit else "no", found.four_bit_reason),
        Check(
            "Graphviz",
            judged if shutil.which("dot") else "not installed",
            "" if shutil.which("dot") else "the grammar judges DOT instead; install graphviz",
        ),
        _hub(),
        _disk(home),
        *(Check(name, _version(name)) for name in ("torch", "transformers", "peft")),
    ]


def _hub() -> Check:
    where = os.environ.get("HF_ENDPOINT", HUB)
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return Check("hub", "offline", "HF_HUB_OFFLINE is set")
    parts = urlsplit(where)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=PATIENCE).close()
    except OSError as error:
        return Check("hub", "out of reach", f"{where}: {error}; local models and data work")
    return Check("hub", "reachable", where)


def _disk(home: Path) -> Check:
    place = home
    while not place.exists():
        place = place.parent
    return Check("disk", f"{shutil.disk_usage(place).free / GIB:.0f} GiB free", str(home))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
