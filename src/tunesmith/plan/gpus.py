"""GPUs and what an hour of each costs: the package's table, and the user's own over it.

Figures are those of the makers' data sheets; prices are typical ones, each with its day and page
(`gpus.toml`). A file of the same form at HOME/gpus.toml is asked first.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from tunesmith.errors import ConfigError
from tunesmith.records import Hardware

FILE = "gpus.toml"
GIB = 2**30
NUMBERS = ("memory", "bf16", "fp32", "bandwidth", "usd")
KNOWN = frozenset((*NUMBERS, "read", "page", "names"))


@dataclass(frozen=True, slots=True)
class Gpu:
    """One card: memory in GiB, dense TFLOP/s, bandwidth in GB/s, USD for an hour."""

    name: str
    memory: float
    bf16: float
    fp32: float
    bandwidth: float
    usd: float
    read: str = ""  # the day of the price
    page: str = ""
    names: tuple[str, ...] = ()

    def hardware(self) -> Hardware:
        """The card as a plan sees a machine; of its host nothing is known."""
        return Hardware(
            device="cuda",
            device_name=self.name,
            device_memory=int(self.memory * GIB),
            cores=0,
            memory=0,
            bf16_fast=self.bf16 > 0,
            four_bit=True,
            four_bit_reason="",
        )


def load_gpus(home: Path | None = None) -> tuple[Gpu, ...]:
    """The package's GPUs, with what HOME/gpus.toml says of them and adds to them.

    ConfigError where that file cannot be read, or holds what is no GPU.
    """
    entries: dict[str, dict[str, Any]] = dict(
        tomllib.loads(files("tunesmith.plan").joinpath(FILE).read_text("utf-8"))["gpus"]
    )
    own = home / FILE if home is not None else None
    if own is not None and own.exists():
        for name, entry in _read(own).items():
            known = next((n for n in entries if _plain(n) == _plain(name)), name)
            entries[known] = entries.get(known, {}) | entry
    return tuple(_gpu(name, entry, own) for name, entry in entries.items())


def find_gpu(name: str, table: Sequence[Gpu]) -> Gpu:
    """The GPU of a name, in any spelling of case and spaces; ConfigError where none has it."""
    found = match_gpu(name, table)
    if found is not None:
        return found
    spelled = {_plain(n): gpu.name for gpu in table for n in (gpu.name, *gpu.names)}
    near = difflib.get_close_matches(_plain(name), spelled, n=1, cutoff=0.5)
    meant = f"did you mean {spelled[near[0]]}? " if near else ""
    raise ConfigError(
        f"--gpu {name}: no such GPU in the table",
        hint=f"{meant}known: {', '.join(gpu.name for gpu in table)}; add one in HOME/{FILE}: "
        '[gpus."NAME"] memory, bf16, fp32, bandwidth, usd (GiB, TFLOP/s, TFLOP/s, GB/s, USD/h)',
    )


def match_gpu(name: str, table: Sequence[Gpu]) -> Gpu | None:
    """The GPU that a person or a driver calls `name`; None where the table has none."""
    asked = _plain(name)
    return next((g for g in table if asked in map(_plain, (g.name, *g.names))), None)


def _plain(name: str) -> str:
    """A name without its maker, case, spaces and hyphens."""
    return re.sub(r"nvidia|geforce|tesla|[^a-z0-9]", "", name.lower())


def _read(path: Path) -> Mapping[str, dict[str, Any]]:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="or remove it") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}", hint="GPUs are described in TOML") from error
    entries = values.get("gpus")
    if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
        raise ConfigError(f"{path} is no table of GPUs", hint='[gpus."RTX 4090"] then usd = 0.35')
    return entries


def _gpu(name: str, entry: Mapping[str, Any], own: Path | None) -> Gpu:
    unknown = sorted(entry.keys() - KNOWN)
    missing = [key for key in NUMBERS if key not in entry]
    bad = [k for k in NUMBERS if k in entry and not _is_amount(entry[k], zero=k in {"bf16", "usd"})]
    if unknown or missing or bad:
        what = (
            f"unknown key {unknown[0]}"
            if unknown
            else f"{missing[0]} is missing"
            if missing
            else f"{bad[0]} must be a positive number (got {entry[bad[0]]!r})"
        )
        raise ConfigError(f"{own or FILE}: gpus.{name}: {what}", hint=f"keys: {', '.join(NUMBERS)}")
    return Gpu(
        name=name,
        **{key: float(entry[key]) for key in NUMBERS},
        read=str(entry.get("read", "")),
        page=str(entry.get("page", "")),
        names=tuple(map(str, entry.get("names", ()))),
    )


def _is_amount(value: Any, *, zero: bool) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and (0 if zero else 1e-9) <= value < float("inf")
