"""An 8B model on one NVIDIA GPU: the training loop against TRL, and the plan's memory against both.

    python benchmarks/train_speed_gpu.py [--json] [--rows 240] [--repeats 3] [--save FILE]

The shape of Llama 3.1 8B with random weights made on the device, in bfloat16 and in NF4, LoRA of
rank 16 on all linear layers, batches of 8, one epoch. The rows are made: as long as OrgAccess is in
Llama 3's tokens (342 on average, 753 at most, 14 % of them answer), 101 tokens the same in all rows
at their start and 109 before the answer. `instructions_first` has all 210 at the start.

`tunesmith`: packed, shared starts computed once, on flex_attention where its trial agrees on this
machine (`kernel` says). `trl`: SFTTrainer with its defaults; `trl_no_checkpointing` without
checkpointing. Before the clock each side's loss and gradients are held against plain transformers,
one row at a time. Peak memory is what PyTorch allocated, the base in it; the plan's estimate is
without CUDA's own. To beat: 12,500 tokens a second (NeMo Automodel, bfloat16, one H100), and twice
TRL's defaults.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import importlib.util
import json
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from memory_model import SHAPES, Configuration, make_model, planned
from speed_sides import BATCH, Measured, Ours, Trl, alone, gate, settings_of

from tunesmith.models.attention import fits_one_kernel
from tunesmith.models.hardware import find_hardware
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded
from tunesmith.pipeline.planning import data_facts
from tunesmith.plan.memory import estimate_memory
from tunesmith.records import Hardware

SEED, END = 42, 1
BEFORE, BEHIND = 101, 109  # tokens that are the same in every row, on either side of what varies
MEAN, LONGEST, ANSWER_SHARE = 342, 753, 0.14
WARM_UP = 2 * BATCH  # rows trained before the clock: kernels are compiled
NF4, BF16 = "nf4", "bfloat16"


def main() -> None:
    """Measure every side in both formats; a table on stderr, one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    parser.add_argument("--rows", type=int, default=240)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--format", choices=(BF16, NF4), help="only this one")
    parser.add_argument("--save", type=Path, help="write the JSON object into this file, too")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no NVIDIA GPU here: `make bench-gpu` wants one; `make bench` is for CPUs")
    hardware = find_hardware()
    result: dict[str, Any] = {
        "device": hardware.device_name,
        "device_memory": hardware.device_memory,
        "rows": arguments.rows,
        "repeats": arguments.repeats,
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("tunesmith", "torch", "transformers", "trl", "peft", "bitsandbytes")
            if importlib.util.find_spec(name)
        },
    }
    for kind in (arguments.format,) if arguments.format else (BF16, NF4):
        result[kind] = compare("8B", kind, hardware, arguments.rows, arguments.repeats)
        if not arguments.json:
            print(table(kind, result[kind]), file=sys.stderr, flush=True)
        gc.collect()
        torch.cuda.empty_cache()
    result["ratio"] = result[arguments.format or BF16].get("ratio")
    short = json.loads(json.dumps(result), parse_float=lambda digits: float(f"{float(digits):.5g}"))
    if arguments.save:
        arguments.save.write_text(json.dumps(short, indent=2) + "\n")
    print(json.dumps(short))
    if not all(side["equal"] for kind in (BF16, NF4) for side in _sides(result.get(kind, {}))):
        sys.exit(
            "a side gives other gradients than one row at a time: its speed counts for nothing"
        )


def made_rows(count: int, vocabulary: int, *, instructions_first: bool = False) -> list[Encoded]:
    """Rows of random tokens with the lengths, the shared parts and the answers of OrgAccess.

    Their mean is within a token of 342, the longest has 753; the same on every call.
    """
    draw = random.Random(SEED)

    def tokens(length: int) -> list[int]:
        return [draw.randrange(3, vocabulary) for _ in range(length)]

    same, after = tokens(BEFORE), tokens(BEHIND)
    shortest = BEFORE + BEHIND + 20
    lengths = [shortest + draw.gammavariate(2.0, (MEAN - shortest) / 2) for _ in range(count)]
    lengths = [min(round(length), LONGEST) for length in lengths]
    lengths[0] = LONGEST
    while (over := sum(lengths) - MEAN * count) > count or over < -count:
        chosen = draw.randrange(1, count)
        lengths[chosen] = min(max(lengths[chosen] - (1 if over > 0 else -1), shortest), LONGEST - 1)
    rows = []
    for length in lengths:
        answer = max(2, round(ANSWER_SHARE * length))
        varying = tokens(max(length - BEFORE - BEHIND - answer, 1))
        prompt = same + after + varying if instructions_first else same + varying + after
        answer = length - len(prompt)
        rows.append(Encoded((*prompt, *tokens(answer - 1), END), len(prompt)))
    return rows


def compare(shape: str, kind: str, hardware: Hardware, rows: int, repeats: int) -> dict[str, Any]:
    """Every side `repeats` times on one base, taking turns."""
    cuda = hardware.device == "cuda"
    dtype = BF16 if cuda else "float32"
    configuration = Configuration(shape, kind == NF4, False, LONGEST, rows=BATCH)
    torch.manual_seed(SEED)
    base: Loaded = make_model(configuration, dtype, hardware)
    vocabulary = SHAPES[shape]["vocab_size"]
    plain = made_rows(rows, vocabulary)
    turned = made_rows(rows, vocabulary, instructions_first=True)
    sides: dict[str, tuple[Ours | Trl, list[Encoded]]] = {
        "tunesmith": (Ours(base), plain),
        "instructions_first": (Ours(base), turned),
    }
    if importlib.util.find_spec("trl"):
        sides["trl"] = (Trl(base, bf16=cuda), plain)
        expert = Trl(base, bf16=cuda, gradient_checkpointing=False)
        sides["trl_no_checkpointing"] = (expert, plain)
    found: dict[str, Any] = {"kernel": kernel(base, hardware)}
    gates = {}
    for name, (side, each) in sides.items():
        gates[name] = gate(side, alone(base, each[:BATCH]), each[:BATCH])
    measured: dict[str, list[Measured]] = {name: [] for name in sides}
    for turn in range(repeats + 1):
        for name, (side, each) in list(sides.items()):
            try:
                last = side.measure(each if turn else each[:WARM_UP])
            except torch.OutOfMemoryError:
                found[name] = "out of memory"
                del sides[name], measured[name]
                continue
            if turn:
                measured[name].append(last)
                print(f"{turn}/{repeats} {name}: {last.token_rate:,.0f} tokens/s", file=sys.stderr)
    for name, times in measured.items():
        each = sides[name][1]
        rounded = kind == NF4 and name.startswith("trl")  # its adapters are bfloat16 there
        found[name] = {
            **_summary(times),
            "gate_loss": gates[name].loss,
            "gate_gradients": gates[name].gradients,
            "equal": gates[name].holds(torch.bfloat16 if rounded else base.dtype),
        }
        if name != "trl":  # the plan's figure is for its own loop, without checkpointing
            found[name]["estimated_bytes"] = estimated(configuration, hardware, dtype, each)
    if "trl" in measured:
        pairs = zip(measured["tunesmith"], measured["trl"], strict=True)
        ratios = [ours.rate / theirs.rate for ours, theirs in pairs]
        found |= {"ratio": statistics.median(ratios), "ratio_spread": [min(ratios), max(ratios)]}
    return found


def kernel(base: Loaded, hardware: Hardware) -> str:
    """Which attention packed rows get in this base."""
    config = base.base.config.get_text_config()
    heads, keys = config.num_attention_heads, config.num_key_value_heads
    width = config.hidden_size // heads
    query = torch.empty(1, heads, 1, width, dtype=base.dtype, device=base.device)
    fits = hardware.device == "cuda" and fits_one_kernel(query, query[:, :keys])
    return "flex_attention" if fits else "scaled_dot_product_attention by segments"


def estimated(
    configuration: Configuration, hardware: Hardware, dtype: str, rows: Sequence[Encoded]
) -> int:
    """The plan's estimate for these rows, in bytes, without what CUDA itself takes."""
    _, facts, _ = planned(configuration, hardware, dtype)
    told = estimate_memory(
        settings_of(), replace(facts, data=data_facts(rows)), checkpointing=False
    )
    return told.total - told.runtime - getattr(told, "heap", 0)


def _summary(measured: Sequence[Measured]) -> dict[str, Any]:
    rates = [m.token_rate for m in measured]
    return {
        "tokens_per_second": statistics.median(rates),
        "spread": [min(rates), max(rates)],
        "examples_per_second": statistics.median(m.rate for m in measured),
        "peak_bytes": max(m.peak_bytes for m in measured),
        "final_loss": measured[-1].loss,
    }


def _sides(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [side for side in found.values() if isinstance(side, dict)]


def table(kind: str, found: dict[str, Any]) -> str:
    """The figures of one format for people."""
    lines = [
        f"{kind}, {found['kernel']}",
        f"{'':22}{'tokens/s':>10}{'spread':>20}{'examples/s':>12}{'peak GiB':>10}{'plan':>8}",
    ]
    for name, side in found.items():
        if side == "out of memory":
            lines.append(f"{name:22}{side}")
        elif isinstance(side, dict):
            low, high = side["spread"]
            said = side.get("estimated_bytes")
            plan = "" if said is None else f"{said / 2**30:.1f}"
            lines.append(
                f"{name:22}{side['tokens_per_second']:>10,.0f}{f'{low:,.0f} to {high:,.0f}':>20}"
                f"{side['examples_per_second']:>12.1f}{side['peak_bytes'] / 2**30:>10.1f}{plan:>8}"
                + ("" if side["equal"] else "  GRADIENTS DIFFER")
            )
    if "ratio" in found:
        low, high = found["ratio_spread"]
        lines.append(f"{found['ratio']:.2f} times TRL's defaults ({low:.2f} to {high:.2f})")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
