"""The speed benchmarks' parts on a CPU: what is compared is the same training on every side."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def tiny() -> str:
    """A shape of the GPU benchmark that a CPU trains in a moment."""
    from memory_model import SHAPES

    SHAPES["tiny"] = SHAPES["22M"] | {"hidden_size": 96, "intermediate_size": 128}
    SHAPES["tiny"] |= {"num_hidden_layers": 2, "vocab_size": 512}
    return "tiny"


@pytest.mark.parametrize("first", [True, False])
def test_made_rows_are_as_long_as_the_real_ones(first: bool) -> None:
    from train_speed_gpu import made_rows

    rows = made_rows(400, 128256, instructions_first=first)
    lengths = [len(row.ids) for row in rows]
    assert mean(lengths) == pytest.approx(342, abs=1.01)
    assert max(lengths) == 753
    assert sum(r.answer_tokens for r in rows) / sum(lengths) == pytest.approx(0.14, abs=0.01)
    shared = 210 if first else 101
    assert len({row.ids[:shared] for row in rows}) == 1
    assert len({row.ids[: shared + 3] for row in rows}) > 300
    assert all(row.ids[-1] == 1 for row in rows)
    assert rows == made_rows(400, 128256, instructions_first=first)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bfloat16", "nf4"])
def test_all_sides_of_the_gpu_benchmark_train_the_same(tiny: str, kind: str) -> None:
    from train_speed_gpu import compare, table

    from tunesmith.models.hardware import find_hardware

    found = compare(tiny, kind, find_hardware(), 16, 1)
    sides: dict[str, Any] = {n: s for n, s in found.items() if isinstance(s, dict)}
    assert sides.keys() >= {"tunesmith", "instructions_first", "trl", "trl_no_checkpointing"}
    assert [name for name, side in sides.items() if not side["equal"]] == []
    assert sides["tunesmith"]["final_loss"] == pytest.approx(sides["trl"]["final_loss"], rel=1e-3)
    assert found["ratio"] > 0
    assert "times TRL's defaults" in table(kind, found)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "train_speed_gpu.py")],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("no NVIDIA GPU here")


def test_llama_factory_is_left_out_by_name_and_gets_the_same_training(tmp_path: Path) -> None:
    import llama_factory

    from tiny_models import questions

    said = llama_factory.measure(tmp_path, questions(2), 1)
    assert said == "left out: llamafactory-cli is not on PATH"
    asked = llama_factory.settings(tmp_path / "base", questions(2), tmp_path)
    assert (asked["lora_rank"], asked["per_device_train_batch_size"]) == (16, 8)
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [m["role"] for m in rows[0]["messages"]] == ["system", "user", "assistant"]
