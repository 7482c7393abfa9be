"""LLaMA-Factory's command line on the rows of `train_speed.py`, where it is installed.

It brings older releases of transformers along, so it wants an environment of its own; put its `bin`
on PATH. Its time is what it says itself (`train_runtime`: the training without its start-up).
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speed_sides import ALPHA, BATCH, LEARNING_RATE, RANK, SEED

from tunesmith.records import Example

COMMAND = "llamafactory-cli"


def measure(base: Path, examples: Sequence[Example], repeats: int) -> dict[str, Any] | str:
    """Examples a second and the spread; a line that says why, where it could not be measured."""
    command = shutil.which(COMMAND)
    if command is None:
        return f"left out: {COMMAND} is not on PATH"
    seconds, whole = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "train.json").write_text(json.dumps(settings(base, examples, folder)))
            began = time.perf_counter()
            done = subprocess.run(
                [command, "train", str(folder / "train.json")],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=False,
                text=True,
            )
            whole.append(time.perf_counter() - began)
            if done.returncode:
                print(done.stderr[-2000:], file=sys.stderr)
                return f"left out: {COMMAND} ended with {done.returncode}"
            told = json.loads((folder / "out" / "train_results.json").read_text())
            seconds.append(float(told["train_runtime"]))
    rates = [len(examples) / s for s in seconds]
    return {
        "examples_per_second": statistics.median(rates),
        "spread": [min(rates), max(rates)],
        "startup_seconds": statistics.median(w - s for w, s in zip(whole, seconds, strict=True)),
    }


def settings(base: Path, examples: Sequence[Example], folder: Path) -> dict[str, Any]:
    """Its settings for the training that the other sides do; writes the rows into `folder`."""
    rows = [
        {"messages": [{"role": m.role, "content": m.content} for m in e.messages]}
        | {"target": e.target}
        for e in examples
    ]
    for row in rows:
        row["messages"].append({"role": "assistant", "content": row.pop("target")})
    (folder / "rows.json").write_text(json.dumps(rows))
    tags = {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    }
    about = {
        "file_name": "rows.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": tags,
    }
    (folder / "dataset_info.json").write_text(json.dumps({"rows": about}))
    return {
        "model_name_or_path": str(base),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": RANK,
        "lora_alpha": ALPHA,
        "lora_target": "all",
        "dataset_dir": str(folder),
        "dataset": "rows",
        "template": "chatml",
        "cutoff_len": 2048,
        "output_dir": str(folder / "out"),
        "overwrite_output_dir": True,
        "save_strategy": "no",
        "report_to": "none",
        "per_device_train_batch_size": BATCH,
        "gradient_accumulation_steps": 1,
        "learning_rate": LEARNING_RATE,
        "num_train_epochs": 1.0,
        "seed": SEED,
    }
