"""The training loop against a plain TRL SFTTrainer: examples and tokens a second, memory, loss.

    python benchmarks/train_speed.py [--json] [--rows 480] [--repeats 3] [--save FILE]

OrgAccess rows (TUNESMITH_SHARED_DATA, or ../shared/data beside the checkout), one epoch, a random
Llama of 6 layers and width 256, LoRA of rank 16 on all linear layers, batches of 8, in one process,
the sides taking turns. Tokens are those of the rows: padding does not count, a shared one does.

`trl`: SFTTrainer with its defaults (padding, gradient checkpointing, loss on the completion) in the
precision that this machine multiplies: its default bfloat16 where there are units for it, float32
where there are none. `trl_no_checkpointing`: the same without checkpointing, which is what an
expert would set here. `trl_packed`: without checkpointing, with its own packing (bfd, position ids
that restart), packs of as many tokens as 8 rows have, one a step. `trl_bfloat16`: its true default
on a machine without bfloat16 units, a few steps only; it is no fair opponent there, and no ratio
has it. `instructions_first`: ours on the same rows with the task's option of that name.
LLaMA-Factory takes part where its command line is installed (benchmarks/llama_factory.py).

`upper_lora` is another method, adapters on the upper three of the six layers, and has no ratio with
TRL: three epochs with the layers below computed once, and `upper_lora_whole` one epoch, in which
nothing can be kept.

Before the clock every side's loss and gradients of 8 rows are held against plain transformers, one
row at a time; a side of ours or of TRL's padding that fails ends the benchmark. The final loss is
taken over all rows with the finished adapter, by one and the same function. Start-up stands apart:
the import in a fresh process, and loading with building the trainer.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # for every side; docs/pitfalls.md

import llama_factory
import torch
from speed_data import make_base, read_rows
from speed_sides import BATCH, Measured, Ours, Trl, alone, gate

from tunesmith.config import ModelSettings
from tunesmith.models.hardware import cpu_has_fast_bf16
from tunesmith.models.load import DTYPES, load
from tunesmith.records import Example
from tunesmith.train.lora import Lora
from tunesmith.train.upper import UpperLora

FEW_STEPS = 4  # of an arm that is shown, not timed in earnest
IMPORTS = {
    "tunesmith": "import tunesmith.train.loop, tunesmith.train.lora",
    "trl": "from trl import SFTConfig, SFTTrainer; from peft import LoraConfig",
}


def main() -> None:
    """Measure every side, and print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    parser.add_argument("--rows", type=int, default=480)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", action="append", help="this side (may be repeated)")
    parser.add_argument("--save", type=Path, help="write the JSON object into this file, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        examples = read_rows(arguments.rows)
        make_base(base, examples)
        turned = read_rows(arguments.rows, instructions_first=True)
        result = compare(base, examples, turned, arguments.repeats, arguments.only)
    if not arguments.json:
        print(table(result), file=sys.stderr)
    short = json.loads(json.dumps(result), parse_float=lambda digits: float(f"{float(digits):.5g}"))
    if arguments.save:
        arguments.save.write_text(json.dumps(short, indent=2) + "\n")
    print(json.dumps(short))


def compare(
    base: Path,
    examples: Sequence[Example],
    turned: Sequence[Example],
    repeats: int,
    only: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Every side `repeats` times, taking turns; medians, spread, and the ratios."""
    fast_bf16 = torch.cuda.is_available() or cpu_has_fast_bf16()
    precision = "bfloat16" if fast_bf16 else "float32"
    settings = ModelSettings(name=str(base), dtype=precision)
    renderer = load(settings, four_bit=False).renderer
    encoded, first = renderer.examples(examples), renderer.examples(turned)
    expert = {"bf16": fast_bf16, "gradient_checkpointing": False}
    sides = {
        "tunesmith": (Ours(settings), encoded),
        "trl": (Trl(settings, bf16=fast_bf16), encoded),
        "trl_no_checkpointing": (Trl(settings, **expert), encoded),
        "trl_packed": (Trl(settings, packed=True, **expert), encoded),
        "instructions_first": (Ours(settings), first),
        "upper_lora": (Ours(settings, UpperLora, num_train_epochs=3), encoded),
        "upper_lora_whole": (Ours(settings, UpperLora), encoded),
    }
    sides = {name: side for name, side in sides.items() if only is None or name in only}
    gates = {}
    for name, (side, rows) in sides.items():
        method = side.method if isinstance(side, Ours) else Lora
        found = gate(side, alone(settings, rows[:BATCH], method), rows[:BATCH])
        holds = found.holds(DTYPES[precision])
        gates[name] = {"loss": found.loss, "gradients": found.gradients, "equal": holds}
        if not holds and name != "trl_packed":
            sys.exit(f"{name} gives other gradients than one row at a time: {found}")
    measured: dict[str, list[Measured]] = {name: [] for name in sides}
    for turn in range(repeats):
        for name, (side, rows) in sides.items():
            last = side.measure(rows)
            measured[name].append(last)
            print(
                f"{turn + 1}/{repeats} {name}: {last.rate:.2f} examples/s, loss {last.loss:.4f}",
                file=sys.stderr,
            )
    result: dict[str, Any] = {name: _summary(found) for name, found in measured.items()}
    if not fast_bf16 and only is None:
        shown = Trl(settings, bf16=True).measure(encoded, max_steps=FEW_STEPS)
        result["trl_bfloat16"] = {"tokens_per_second": shown.token_rate, "steps": FEW_STEPS}
    result["llama_factory"] = llama_factory.measure(base, examples, repeats)
    return {
        **_ratio("ratio", measured, "tunesmith", "trl"),
        **_ratio("ratio_no_checkpointing", measured, "tunesmith", "trl_no_checkpointing"),
        **_ratio("ratio_packed", measured, "tunesmith", "trl_packed"),
        **_ratio("ratio_instructions_first", measured, "instructions_first", "trl"),
        **_ratio("ratio_upper_kept", measured, "upper_lora", "upper_lora_whole"),
        **_loss_difference(measured),
        "gate": gates,
        "import_seconds": {name: _import_seconds(line) for name, line in IMPORTS.items()},
        **result,
        "rows": len(examples),
        "tokens_a_row": sum(len(e.ids) for e in encoded) / len(encoded),
        "answer_share": sum(e.answer_tokens for e in encoded) / sum(len(e.ids) for e in encoded),
        "precision": precision,
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg(),
        "machine": platform.processor() or platform.machine(),
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("tunesmith", "torch", "transformers", "trl", "peft", "accelerate")
        },
    }


def _ratio(name: str, measured: dict[str, list[Measured]], one: str, two: str) -> dict[str, Any]:
    """Examples a second of one side against another's, turn by turn: median and spread."""
    if not {one, two} <= measured.keys():
        return {}
    found = [a.rate / b.rate for a, b in zip(measured[one], measured[two], strict=True)]
    return {name: statistics.median(found), f"{name}_spread": [min(found), max(found)]}


def _loss_difference(measured: dict[str, list[Measured]]) -> dict[str, Any]:
    if not {"tunesmith", "trl"} <= measured.keys():
        return {}
    loss, other = measured["tunesmith"][-1].loss, measured["trl"][-1].loss
    return {"loss_difference_percent": 100 * (loss / other - 1)}


def _summary(measured: Sequence[Measured]) -> dict[str, Any]:
    rates = [m.rate for m in measured]
    return {
        "examples_per_second": statistics.median(rates),
        "spread": [min(rates), max(rates)],
        "tokens_per_second": statistics.median(m.token_rate for m in measured),
        "peak_mib": statistics.median(m.peak_bytes for m in measured) / 2**20,
        "startup_seconds": statistics.median(m.startup for m in measured),
        "final_loss": measured[-1].loss,
    }


def _import_seconds(line: str) -> float:
    """What an import takes in a fresh process: the median of three."""
    code = f"import time; t = time.perf_counter(); {line}; print(time.perf_counter() - t)"
    return statistics.median(
        float(
            subprocess.run(
                [sys.executable, "-W", "ignore", "-c", code],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                check=True,
                text=True,
            ).stdout.split()[-1]
        )
        for _ in range(3)
    )


def table(result: dict[str, Any]) -> str:
    """The figures in a table for people."""
    lines = [
        f"{'':22}{'examples/s':>11}{'spread':>18}{'tokens/s':>10}{'peak MiB':>10}"
        f"{'start s':>9}{'loss':>9}"
    ]
    for name in result["gate"]:
        side = result[name]
        low, high = side["spread"]
        lines.append(
            f"{name:22}{side['examples_per_second']:>11.2f}{f'{low:.2f} to {high:.2f}':>18}"
            f"{side['tokens_per_second']:>10,.0f}{side['peak_mib']:>10,.0f}"
            f"{side['startup_seconds']:>9.2f}{side['final_loss']:>9.4f}"
        )
    if "trl_bfloat16" in result:
        side = result["trl_bfloat16"]
        lines.append(f"trl_bfloat16: {side['tokens_per_second']:,.0f} tokens/s ({FEW_STEPS} steps)")
    if isinstance(result["llama_factory"], str):
        lines.append(f"llama_factory: {result['llama_factory']}")
    lines += [
        f"{name}: loss and gradients NOT those of single rows ({found['gradients']:.1e})"
        for name, found in result["gate"].items()
        if not found["equal"]
    ]
    for name, against in (
        ("ratio", "TRL's defaults"),
        ("ratio_no_checkpointing", "TRL without checkpointing"),
        ("ratio_packed", "TRL packed"),
        ("ratio_instructions_first", "TRL's defaults, with the instructions first"),
        ("ratio_upper_kept", "upper_lora's first epoch, with the frozen layers kept"),
    ):
        if name not in result:
            continue
        low, high = result[f"{name}_spread"]
        lines.append(f"{result[name]:.2f} times {against} ({low:.2f} to {high:.2f})")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
