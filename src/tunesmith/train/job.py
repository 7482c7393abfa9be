"""What one training is asked to do, and which examples each of its steps sees.

The order is a function of the seed and of nothing else: a step that is done again, by this process
or by another one, sees the same examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.config import ModelSettings, TrainingSettings
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded
from tunesmith.records import LayerReport, TrainingStep
from tunesmith.train.batches import effective_batches


def _numbered(index: int) -> str:
    return f"example {index}"


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """All that one training is asked to do.

    `name` is the variant's name and `directory` where checkpoints and the adapter go. `on_step`
    gets every optimizer step, `on_layers` what the method sees in the layers, `say` lines for the
    person watching. `score` is asked wherever the validation loss is taken: given the model as it
    stands, it answers with scores by name.
    `describe` names an example of `train` by its index, for errors that speak of a batch. `base` is
    what other processes load to share the steps; None: this one trains alone. `advice` says what
    would help where the memory is not enough; "" for what helps any training.
    """

    name: str
    train: Sequence[Encoded]
    validation: Sequence[Encoded]
    settings: TrainingSettings
    seed: int
    directory: Path
    on_step: Callable[[TrainingStep], None] = lambda _: None
    on_layers: Callable[[Sequence[LayerReport]], None] = lambda _: None
    say: Callable[[str], None] = lambda _: None
    score: Callable[[Loaded], Mapping[str, float]] | None = None
    order: Sequence[Sequence[int]] | None = None  # the steps' examples, where the caller decides
    describe: Callable[[int], str] = _numbered
    base: ModelSettings | None = None
    advice: Callable[[], str] = lambda: ""


def batch_size(settings: TrainingSettings) -> int:
    """Examples of an optimizer step."""
    return settings.per_device_train_batch_size * settings.gradient_accumulation_steps


def count_steps(examples: int, settings: TrainingSettings) -> int:
    """Optimizer steps of a whole training."""
    per_epoch = math.ceil(examples / batch_size(settings))
    planned = math.ceil(per_epoch * settings.num_train_epochs)
    return min(planned, settings.max_steps) if settings.max_steps else planned


def total_steps(job: TrainingJob) -> int:
    """Optimizer steps of this job."""
    if job.order is not None:
        return len(job.order)
    return count_steps(len(job.train), job.settings)


def steps_per_epoch(job: TrainingJob) -> int:
    """Optimizer steps of one pass over the training part; the last may hold fewer examples."""
    return math.ceil(len(job.train) / batch_size(job.settings))


def steps_of(job: TrainingJob, total: int) -> Iterator[list[int]]:
    """Indices of the examples of each optimizer step, from the first to the last."""
    if job.order is not None:
        yield from (list(indices) for indices in job.order)
        return
    size = batch_size(job.settings)
    epoch, done = 0, 0
    while done < total:
        for indices in effective_batches(len(job.train), size, seed=job.seed, epoch=epoch):
            if done < total:
                yield indices
                done += 1
        epoch += 1


def validates_at(job: TrainingJob, number: int, total: int) -> bool:
    """Whether the validation loss is taken behind this step: at the end in any case."""
    strategy, every = job.settings.eval_strategy, job.settings.eval_steps
    return (
        number == total
        or (strategy == "epoch" and number % steps_per_epoch(job) == 0)
        or (strategy == "steps" and every is not None and number % every == 0)
    )
