"""Micro-batches side by side: the same result, in order, and errors come through."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from tiny_models import load_base
from tunesmith.config import TrainingSettings
from tunesmith.models.hardware import cores
from tunesmith.models.render import Encoded
from tunesmith.records import TrainingStep
from tunesmith.train.loop import TrainingJob, train
from tunesmith.train.method import get_method
from tunesmith.train.workers import side_by_side, workers


def test_results_come_in_the_order_of_the_jobs_and_from_several_threads() -> None:
    second_began = threading.Event()

    def slow_first(job: int) -> tuple[int, str]:
        if job == 0:
            assert second_began.wait(30)  # only a second thread can set it
        else:
            second_began.set()
        return job, threading.current_thread().name

    with workers(2) as both:
        done = list(both(slow_first, range(6)))
    assert [job for job, _ in done] == list(range(6))
    assert len({name for _, name in done}) == 2


def test_a_workers_error_is_the_callers() -> None:
    with workers(2) as both, pytest.raises(ZeroDivisionError):
        list(both(lambda job: 1 // job, [1, 0]))


def test_the_main_thread_keeps_its_cores() -> None:
    before = torch.get_num_threads()
    with workers(2) as both:
        shares = list(both(lambda _: torch.get_num_threads(), range(4)))
    assert set(shares) == {max(1, cores() // 2)}
    assert torch.get_num_threads() == before


def test_one_at_a_time_where_more_would_not_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert side_by_side(cpu, 64) == cores()
    assert side_by_side(cpu, 1) == 1
    assert side_by_side(torch.device("cuda"), 64) == 1
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert side_by_side(cpu, 64) == 1


@pytest.mark.parametrize("packing", [True, False])
def test_a_training_is_the_same_with_one_worker_and_with_one_for_each_core(
    base_folder: Path,
    tmp_path: Path,
    encoded: list[Encoded],
    settings: TrainingSettings,
    monkeypatch: pytest.MonkeyPatch,
    packing: bool,
) -> None:
    losses: dict[str, list[float]] = {}
    for policy in ("active", "passive"):  # spinning threads rule workers out
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
        steps: list[TrainingStep] = []
        job = TrainingJob(
            "lora",
            encoded,
            encoded[:4],
            settings.model_copy(update={"packing": packing}),
            1,
            tmp_path / policy,
            on_step=steps.append,
        )
        train(load_base(base_folder), get_method("lora"), job)
        losses[policy] = [step.loss for step in steps]
    assert len(losses["active"]) == 6
    assert losses["passive"] == pytest.approx(losses["active"], rel=1e-5)
