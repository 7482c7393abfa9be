"""A training that goes wrong: told from one that is merely noisy, stopped, and its batch named."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tiny_models import load_base
from tunesmith.config import TrainingSettings
from tunesmith.errors import TrainingError
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded
from tunesmith.records import TrainingStep
from tunesmith.train.divergence import FIRST, WINDOW, Losses, trouble
from tunesmith.train.job import TrainingJob, steps_of
from tunesmith.train.loop import train
from tunesmith.train.method import get_method


def losses(*values: float) -> Losses:
    found = Losses()
    for value in values:
        found = found.after(value)
    return found


def test_the_limit_is_over_the_median_and_over_all_that_the_start_saw() -> None:
    falling = losses(2.0, 1.9, 1.8, 1.5, 1.2, 1.0, 0.8, 0.6, 0.5)
    assert falling.limit(3.0) == pytest.approx(3 * 1.2)
    learnt = losses(2.0, 1.9, 1.8, 1.5, 1.2, *[0.01] * 30)
    assert learnt.limit(3.0) == pytest.approx(3.0)  # not 0.05: an unseen example may be that bad
    assert trouble(2.9, learnt, 3.0) == ""
    assert trouble(3.1, learnt, 3.0) == (
        "the loss is 3.1, 310 times the median of the steps before it"
    )
    assert trouble(1e9, learnt, 0) == ""  # switched off
    assert trouble(math.nan, learnt, 0) == "the loss is nan"
    assert trouble(math.inf, Losses(), 3.0) == "the loss is inf"
    assert trouble(1e9, losses(2.0, 2.0), 3.0) == ""  # too early to say


@given(st.lists(st.floats(0, 20), max_size=60), st.floats(1.5, 10))
def test_what_is_remembered_is_bounded_and_a_usual_loss_is_no_trouble(
    values: list[float], factor: float
) -> None:
    found = losses(*values)
    assert len(found.last) <= WINDOW
    assert found.first == tuple(values[:FIRST])
    if values:
        assert trouble(min(max(values[:FIRST]), 20), found, factor) == ""


def named(index: int) -> str:
    return f"id{index} (rows.jsonl:{index + 1})"


def test_a_batch_whose_loss_is_no_number_is_named_and_the_last_checkpoint_kept(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    saving = settings.model_copy(update={"save_steps": 2})
    steps: list[TrainingStep] = []
    many = [*encoded, *encoded]  # 12 steps of 4
    batch = list(steps_of(TrainingJob("lora", many, (), saving, 1, tmp_path), 12))[7]
    loaded = load_base(base_folder)
    unseen = min({*range(4, 200)} - {token for example in many for token in example.ids})
    with torch.no_grad():
        loaded.model.get_input_embeddings().weight[unseen] = math.nan
    spoilt = many[batch[1]]
    many[batch[1]] = Encoded((unseen, *spoilt.ids[1:]), spoilt.answer_start)
    job = TrainingJob("lora", many, (), saving, 1, tmp_path, on_step=steps.append, describe=named)
    with pytest.raises(TrainingError) as caught:
        train(loaded, get_method("lora"), job)
    names = ", ".join(named(i) for i in batch)
    assert caught.value.message == f"lora: the loss is nan at step 8, whose batch is {names}"
    assert caught.value.hint.endswith("checkpoint-6 is kept")
    assert [s.step for s in steps] == list(range(1, 8))
    assert all(math.isfinite(s.loss) for s in steps)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-4", "checkpoint-6"]


def least_likely(loaded: Loaded, example: Encoded) -> Encoded:
    """The prompt with the answer that the model expects least, token by token."""
    ids = list(example.ids[: example.answer_start])
    with torch.no_grad():
        for _ in range(6):
            logits = loaded.model(input_ids=torch.tensor([ids])).logits[0, -1]
            ids.append(int(logits.argmin()))
    return Encoded((*ids, example.ids[-1]), example.answer_start)


def test_a_batch_of_garbage_ends_the_run_unless_the_watch_is_switched_off(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    garbage = [least_likely(load_base(base_folder), e) for e in encoded[:4]]
    order = [[4 * step + i for i in range(4)] for step in (*range(6), *range(3), 6)]
    watched = settings.model_copy(update={"loss_spike_factor": 1.1, "learning_rate": 1e-4})
    steps: list[TrainingStep] = []
    job = TrainingJob(
        "lora",
        [*encoded, *garbage],
        (),
        watched,
        1,
        tmp_path,
        on_step=steps.append,
        order=order,
        describe=named,
    )
    with pytest.raises(TrainingError, match="times the median of the steps before it") as caught:
        train(load_base(base_folder), get_method("lora"), job)
    assert len(steps) == 9
    names = ", ".join(named(i) for i in range(24, 28))
    assert caught.value.message.endswith(f"at step 10, whose batch is {names}")
    calm = replace(job, settings=watched.model_copy(update={"loss_spike_factor": 0.0}))
    assert train(load_base(base_folder), get_method("lora"), calm).steps == 10


def test_a_long_batch_is_named_in_part(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    wide = settings.model_copy(update={"per_device_train_batch_size": 12})
    loaded = load_base(base_folder)
    with torch.no_grad():
        loaded.model.get_output_embeddings().weight.fill_(math.nan)
    job = TrainingJob("lora", encoded, (), wide, 1, tmp_path)
    with pytest.raises(TrainingError, match=r"at step 1, whose batch is example .* and 4 more$"):
        train(loaded, get_method("lora"), job)
