"""What GRIT adds to a LoRA step: time and memory, in one process, the two taking turns.

    python benchmarks/grit_step.py [--json] [--blocks 8] [--only 16x128] [--save FILE]

A random Llama of 6 layers and width 256 in the precision that this machine multiplies, LoRA of
rank 16 on all seven projections, the same examples on both sides, GRIT with its defaults: it looks
at its factors in every twentieth step. A block is 20 steps of each side, one of the one and one of
the other in turns, behind 20 steps whose ratio stands apart (looks are denser there). `ratio` is
the median over the blocks of 16 x 128 tokens. `16x128 shared`: the first half of every example is
the same; a step that looks computes it for each, the others once. Each side's peak memory is that
of its first steps, with a look among them, above what was there before: the weights do not count.
`--gpu-8b`: the 8B shape, in bfloat16 and NF4.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from memory_model import ANSWER_SHARE, SEED, Configuration, make_model
from speed_sides import peak_memory, settle
from torch import nn

from tunesmith.config import TrainingSettings
from tunesmith.models.hardware import cpu_has_fast_bf16, find_hardware
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded
from tunesmith.records import LayerReport
from tunesmith.train.computing import Computation
from tunesmith.train.job import TrainingJob
from tunesmith.train.method import get_method
from tunesmith.train.optimizer import build_scheduler
from tunesmith.train.signals import StopSignals

LENGTH, BLOCK, RANK, MEMORY_STEPS = 128, 20, 16, 6
SHARED = "16x128 shared"
TARGETS = {SHARED: 1.05, "16x128": 1.05, "4x128": 1.08, "8B": 1.03}


def main() -> None:
    """Measure every size, and print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    parser.add_argument("--blocks", type=int, default=8, help="blocks of 20 steps of each side")
    parser.add_argument("--only", choices=["16x128", "4x128", SHARED], help="this size alone")
    parser.add_argument("--gpu-8b", action="store_true", help="the 8B shape, on a GPU")
    parser.add_argument("--save", type=Path, help="write the JSON object into this file, too")
    arguments = parser.parse_args()
    hardware = find_hardware()
    fast = hardware.device == "cuda" or cpu_has_fast_bf16()
    dtype = "bfloat16" if fast else "float32"
    sizes: dict[str, Any] = {}
    if arguments.gpu_8b:
        for four_bit in (False, True):
            name = "8B " + ("nf4" if four_bit else "bf16")
            shape = Configuration("8B", four_bit, False, 512)
            make = partial(make_model, shape, dtype, hardware)
            sizes[name] = compare(make, rows=8, length=512, blocks=arguments.blocks)
    else:
        make = partial(make_model, Configuration("6M", False, False, LENGTH), dtype, hardware)
        for name, rows, shared in (("16x128", 16, 0), ("4x128", 4, 0), (SHARED, 16, 64)):
            if arguments.only in (None, name):
                sizes[name] = compare(
                    make, rows=rows, shared=shared, length=LENGTH, blocks=arguments.blocks
                )
    first = next(iter(sizes.values()))
    result = {"ratio": first["ratio"], "precision": dtype, "sizes": sizes, **_versions()}
    short = json.loads(json.dumps(result), parse_float=lambda digits: float(f"{float(digits):.5g}"))
    if not arguments.json:
        print(table(sizes), file=sys.stderr)
    if arguments.save:
        arguments.save.write_text(json.dumps(short, indent=2) + "\n")
    print(json.dumps(short))


class Side:
    """One method in the middle of a training: a step at a time."""

    def __init__(self, base: Loaded, name: str, examples: Sequence[Encoded], folder: Path) -> None:
        self.settings = TrainingSettings(
            per_device_train_batch_size=len(examples),
            lora_r=RANK,
            warmup_steps=0,
            loss_spike_factor=0,
            gradient_checkpointing=False,
        )
        self.method, self.examples, self.number = get_method(name), examples, 0
        self.model = self.method.attach(base.model, self.settings)
        self.optimizer, _ = self.method.optimizer(self.model, self.settings, base.device, 1000)
        self.scheduler = build_scheduler(self.optimizer, self.settings, 1000)
        job = TrainingJob(name, examples, (), self.settings, SEED, folder)
        self.compute = Computation(base, self.model, self.method, job, StopSignals())
        self.between, self.seen = 0.0, list[LayerReport]()

    def step(self) -> float:
        """Seconds of one optimizer step, as the loop takes it."""
        self.number += 1
        began = time.perf_counter()
        self.compute.gradients(self.examples, self.number)
        settle()
        middle = time.perf_counter()
        self.method.precondition(self.number, self._clip)
        settle()
        self.between += time.perf_counter() - middle
        self.optimizer.step()
        self.method.after(self.number)
        self.optimizer.zero_grad(set_to_none=True)
        self.scheduler.step()
        self.seen += self.method.reports()
        settle()
        return time.perf_counter() - began

    def _clip(self) -> float:
        return float(nn.utils.clip_grad_norm_(self.compute.trainable, 1.0))


def compare(
    make: Callable[[], Loaded], *, rows: int, length: int, blocks: int, shared: int = 0
) -> dict[str, Any]:
    """Both sides on examples of `length` tokens, `rows` a step, of which the first `shared` are the
    same in all, each side on a base of its own."""
    with ExitStack() as stack:
        sides: dict[str, Side] = {}
        peaks: dict[str, int] = {}
        for name in ("lora", "grit"):
            torch.manual_seed(SEED)
            base = make()
            generator = torch.Generator().manual_seed(SEED)
            words = base.model.config.vocab_size
            ids = torch.randint(3, words, (rows, length), generator=generator)
            ids[:, :shared] = ids[0, :shared]
            answers = int(ANSWER_SHARE * length)
            examples = [Encoded(tuple(row), length - answers) for row in ids.tolist()]
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            there = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
            with peak_memory() as peak:
                side = sides[name] = Side(base, name, examples, folder)
                stack.enter_context(side.compute.ready())
                for _ in range(MEMORY_STEPS):
                    side.step()
            peaks[name] = peak[0] - there
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for side in sides.values():
            side.between, side.seen = 0.0, []
        for number in range(MEMORY_STEPS, BLOCK * (blocks + 1)):
            turn = list(sides) if number % 2 == 0 else list(sides)[::-1]
            for name in turn:
                taken[name].append(sides[name].step())
    return _summary(sides, taken, peaks, blocks)


def _summary(
    sides: dict[str, Side], taken: dict[str, list[float]], peaks: dict[str, int], blocks: int
) -> dict[str, Any]:
    """Ratios by block; milliseconds a step; where GRIT's own time goes."""
    early = {name: sum(found[: BLOCK - MEMORY_STEPS]) for name, found in taken.items()}
    late = {name: found[BLOCK - MEMORY_STEPS :] for name, found in taken.items()}
    by_block = {
        name: [sum(found[i * BLOCK : (i + 1) * BLOCK]) / BLOCK for i in range(blocks)]
        for name, found in late.items()
    }
    ratios = [g / r for g, r in zip(by_block["grit"], by_block["lora"], strict=True)]
    steps = len(taken["grit"])
    seen = {report.step: report.seconds for report in sides["grit"].seen}
    return {
        "ratio": statistics.median(ratios),
        "spread": [min(ratios), max(ratios)],
        "ratio_first_steps": early["grit"] / early["lora"],
        "lora_ms": 1e3 * statistics.median(by_block["lora"]),
        "grit_ms": 1e3 * statistics.median(by_block["grit"]),
        "memory_ratio": peaks["grit"] / peaks["lora"],
        "lora_peak_bytes": peaks["lora"],
        "grit_peak_bytes": peaks["grit"],
        "own_ms_a_step": {
            "all_by_its_own_clock": 1e3 * sum(seen.values()) / steps,
            "between_backward_and_step": 1e3
            * (sides["grit"].between - sides["lora"].between)
            / steps,
        },
    }


def table(sizes: dict[str, Any]) -> str:
    """The figures, for a person."""
    lines = ["size            GRIT/LoRA (spread)     LoRA ms   GRIT ms   memory   target"]
    for name, found in sizes.items():
        low, high = found["spread"]
        target = next(value for size, value in TARGETS.items() if name.startswith(size))
        lines.append(
            f"{name:<14} {found['ratio']:6.3f} ({low:.3f} to {high:.3f}) {found['lora_ms']:9.1f} "
            f"{found['grit_ms']:9.1f} {found['memory_ratio']:8.3f} {target:8.2f}"
        )
    return "\n".join(lines)


def _versions() -> dict[str, str]:
    names = ("tunesmith", "torch", "transformers", "peft")
    found = {name: importlib.metadata.version(name) for name in names}
    return found | {"python": platform.python_version(), "machine": platform.machine()}


if __name__ == "__main__":
    main()
