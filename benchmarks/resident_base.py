"""Small runs on a base that stays in memory, against loading it for each, and a process for each.

    python benchmarks/resident_base.py [--json] [--runs 20] [--processes 3] [--layers 0]

Each run is a recipe from its files to its report: one topic of short questions, two steps of LoRA,
six test answers of base and adapter, another seed every time. The base is the embedded nano, or
with `--layers N` a random Llama of width 768 and 22,000 tokens (130 million parameters with 12
layers). Runs in one process take turns: on the resident base, and on one that is loaded anew. A
fresh process pays for Python's imports besides.
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
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # docs/pitfalls.md

TOKENS, WIDTH = 22_000, 768


def main() -> None:
    """Measure the three, and print a line and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--layers", type=int, default=0, help="of a random base; 0: nano")
    parser.add_argument("--save", type=Path, help="write the JSON object into this file, too")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # the child's part
    arguments = parser.parse_args()
    if arguments.one:
        run(Path(arguments.one[0]), Path(arguments.one[1]), seed=1)
        return
    with tempfile.TemporaryDirectory() as folder:
        recipe = write_recipe(Path(folder), arguments.layers)
        result = compare(recipe, arguments.runs, arguments.processes)
        result["layers"] = arguments.layers
    if not arguments.json:
        print(line(result), file=sys.stderr)
    short = json.loads(json.dumps(result), parse_float=lambda digits: float(f"{float(digits):.4g}"))
    if arguments.save:
        arguments.save.write_text(json.dumps(short, indent=2) + "\n")
    print(json.dumps(short))


def write_recipe(folder: Path, layers: int) -> Path:
    """A recipe with its rows and its base; returns its place."""
    rows = [{"question": f"{i}: which colour?", "answer": f"red {i % 3}"} for i in range(24)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if layers:
        write_base(folder / "base", layers, [" ".join(row.values()) for row in rows])
    base = f"{folder}/base" if layers else "nano"
    file = folder / "small.yaml"
    file.write_text(
        "name: small\ntask: question_answer\ndata:\n"
        f"  sources: {{rows: {{path: {folder}/rows.jsonl}}}}\n  test: 0.25\n"
        f"model: {{name: {base}, dtype: float32}}\n"
        "training: {max_steps: 2, lora_r: 4, lora_alpha: 8, max_length: 128, eval_strategy: 'no'}\n"
        "evaluation: {max_new_tokens: 4, replicates: 200, cheap_baselines: false}\n"
    )
    return file


def write_base(folder: Path, layers: int, texts: list[str]) -> None:
    """A random Llama of width 768 and its tokenizer."""
    from speed_data import write_tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    write_tokenizer(folder, texts)
    shape = LlamaConfig(
        vocab_size=TOKENS,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=12,
        num_key_value_heads=12,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(shape).save_pretrained(folder)


def run(recipe: Path, home: Path, *, seed: int) -> float:
    """One run; its seconds."""
    from tunesmith.config import load_recipe
    from tunesmith.pipeline import run_recipe

    began = time.perf_counter()
    run_recipe(load_recipe(recipe, sets=[f"seed={seed}"]), home=home)
    return time.perf_counter() - began


def compare(recipe: Path, runs: int, processes: int) -> dict[str, Any]:
    """Runs on the resident base and on a base of their own, taking turns; then whole processes."""
    from tunesmith.models.resident import RESIDENT

    homes = {name: recipe.parent / name for name in ("resident", "loaded", "process")}
    run(recipe, recipe.parent / "warm", seed=0)  # imports, the hash of the weights
    resident, loaded = [], []
    for seed in range(1, runs + 1):
        resident.append(run(recipe, homes["resident"], seed=seed))
        RESIDENT.release()
        loaded.append(run(recipe, homes["loaded"], seed=seed))
    fresh = []
    for number in range(processes):
        began = time.perf_counter()
        home = homes["process"] / str(number)
        command = [sys.executable, "-W", "ignore", __file__, "--one", str(recipe), str(home)]
        subprocess.run(command, check=True, capture_output=True)
        fresh.append(time.perf_counter() - began)
    against = [b / a for a, b in zip(resident, loaded, strict=True)]
    usual = statistics.median(resident)
    return {
        "ratio": statistics.median(against),
        "ratio_spread": [min(against), max(against)],
        "ratio_process": statistics.median(fresh) / usual,
        "ratio_process_spread": [min(fresh) / usual, max(fresh) / usual],
        "resident_seconds": usual,
        "loaded_seconds": statistics.median(loaded),
        "process_seconds": statistics.median(fresh),
        "runs": runs,
        "processes": processes,
        "load_average": os.getloadavg(),
        "machine": platform.processor() or platform.machine(),
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("tunesmith", "torch", "transformers", "peft")
        },
    }


def line(result: dict[str, Any]) -> str:
    """The figures for people."""
    return (
        f"a run on the resident base {result['resident_seconds']:.2f} s, loading each time "
        f"{result['loaded_seconds']:.2f} s ({result['ratio']:.2f} times, "
        f"{result['ratio_spread'][0]:.2f} to {result['ratio_spread'][1]:.2f}), a process each "
        f"{result['process_seconds']:.2f} s ({result['ratio_process']:.1f} times)"
    )


if __name__ == "__main__":
    main()
