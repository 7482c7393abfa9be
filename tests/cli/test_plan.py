"""What `tunesmith plan` shows: needs first, then every setting of every method."""

from __future__ import annotations

import pytest

from tunesmith.cli.plan import show_plans
from tunesmith.records import Choice, Plan


def made(rank: int, steps: int) -> Plan:
    choices = (
        Choice("per_device_train_batch_size", 8, "examples of a micro-batch", "default"),
        Choice("lora_r", rank, "rank of the adapter", "recipe"),
        Choice("report_to", (), "trackers beside the store", "default"),
    )
    return Plan(choices, steps, 2**30, None, None, True)


def test_needs_come_first_and_every_method_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show_plans({"lora": made(16, 72), "qlora": made(8, 36)})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "lora 72 steps, about 1.00 GiB: fits"
    assert lines[1] == "qlora 36 steps, about 1.00 GiB: fits"
    told = " ".join(" ".join(lines).split())
    assert "per_device_train_batch_size 8 examples of a micro-batch default" in told
    assert "lora_r 16 (lora) rank of the adapter recipe" in told
    assert "lora_r 8 (qlora) rank of the adapter recipe" in told
    assert "report_to none" in told
