"""Adaptive mode: hyperparameters from the size of the data, one function each.

What the recipe, a profile or `--set` says stands over all of it. The cut into micro-batches is a
matter of memory and cannot change the mathematics: the effective batch is 8 whatever fits.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.plan.facts import Facts, steps_of
from tunesmith.plan.memory import estimate_memory
from tunesmith.records import Choice

if TYPE_CHECKING:
    from tunesmith.config import TrainingSettings

EFFECTIVE_BATCH = 8
WARMUP_SHARE, WARMUP_MOST = 0.1, 50
QLORA = "arXiv 2305.14314"


@dataclass(frozen=True, slots=True)
class Size:
    """A row of the table: for fewer than `below` examples."""

    name: str
    below: float
    rank: int
    alpha: int
    epochs: int
    rows: int
    accumulation: int
    length: int

    @property
    def source(self) -> str:
        """How the table is cited."""
        return f"size table, {self.name}"


TABLE = (
    Size("under 100 examples", 100, 8, 16, 10, 2, 4, 512),
    Size("100 to 499 examples", 500, 16, 32, 5, 2, 4, 640),
    Size("500 examples and more", math.inf, 32, 64, 3, 4, 2, 768),
)


def size_of(examples: int) -> Size:
    """The row of the table for so many training examples."""
    return next(size for size in TABLE if examples < size.below)


def decide(
    settings: TrainingSettings, facts: Facts, stated: Collection[str], *, bound: int | None = None
) -> tuple[TrainingSettings, tuple[Choice, ...]]:
    """The settings with everything filled in that is not `stated`, and the choices that did it.

    `bound` is the max_length by which the data stage has already set rows aside.
    """
    chosen: list[Choice] = []

    def take(*choices: Choice) -> None:
        nonlocal settings
        new = [c for c in choices if c.name not in stated]
        settings = settings.model_copy(update={c.name: c.value for c in new})
        chosen.extend(new)

    take(rank(facts))
    take(alpha(settings, facts, stated))
    take(epochs(facts), learning_rate(facts), schedule(), dropout())
    take(length(facts, bound))
    take(*cut(settings, facts, stated))
    take(warmup(settings, facts))
    return settings, tuple(chosen)


def rank(facts: Facts) -> Choice:
    """Rank of the adapter: more examples can fill more directions."""
    size = size_of(facts.data.examples)
    why = f"{facts.data.examples} examples: a higher rank would learn them by heart"
    if size is TABLE[-1]:
        why = f"{facts.data.examples} examples can fill a higher rank"
    return Choice("lora_r", size.rank, why, size.source)


def alpha(settings: TrainingSettings, facts: Facts, stated: Collection[str]) -> Choice:
    """Twice the rank, whichever that is: the scale alpha / r stays 2 in every row of the table."""
    size = size_of(facts.data.examples)
    if "lora_r" in stated:
        why = "twice the rank that was asked for: scale alpha / r = 2"
        return Choice("lora_alpha", 2 * settings.lora_r, why, size.source)
    return Choice("lora_alpha", size.alpha, "twice the rank: scale alpha / r = 2", size.source)


def epochs(facts: Facts) -> Choice:
    """Passes over the data: the fewer the examples, the more passes make enough steps."""
    size = size_of(facts.data.examples)
    why = f"{facts.data.examples} examples: {size.epochs} passes make enough steps"
    return Choice("num_train_epochs", float(size.epochs), why, size.source)


def learning_rate(facts: Facts) -> Choice:
    """QLoRA's, which it found to carry over between data sets and, up to 13B, between sizes."""
    large = facts.model.parameters > 20e9
    why = "half that of smaller models, over 20B" if large else "for models up to 13B"
    return Choice("learning_rate", 1e-4 if large else 2e-4, why, f"{QLORA}, table 9")


def schedule() -> Choice:
    """Cosine decay."""
    return Choice("lr_scheduler_type", "cosine", "decays smoothly to zero", "arXiv 1608.03983")


def dropout() -> Choice:
    """None: with it, examples that share their start would not share its mask."""
    why = "none: what examples share at their start is then computed once"
    return Choice("lora_dropout", 0.0, why, "docs/decisions/008")


def warmup(settings: TrainingSettings, facts: Facts) -> Choice:
    """min(0.1 n, 50) with n the optimizer steps, at least one: it is steps that warm-up counts.

    With n the examples, 500 of them would warm up for 50 of their 189 steps.
    """
    total = steps_of(settings, facts.data.examples)
    value = min(math.ceil(WARMUP_SHARE * total), WARMUP_MOST)
    why = f"min(0.1 n, 50) of n = {total} optimizer steps"
    return Choice("warmup_steps", float(max(1, value)), why, "size table, warm-up")


def length(facts: Facts, bound: int | None) -> Choice:
    """Longest example, in tokens: what the data stage allowed, or what these lengths ask for."""
    data, size = facts.data, size_of(facts.data.examples)
    if bound is None:
        return length_for(data.length_p99, data.examples, facts.model.context)
    why = f"the table's {size.length}; 99 in 100 examples have at most {data.length_p99} tokens"
    if bound != size.length:  # decided by all rows that were read, before caps, replay and parts
        why = (
            f"rows over {bound} tokens were set aside as the data was read: the table's length for "
            "all of them, raised to their 99th percentile, within the model's context"
        )
    return Choice("max_length", bound, why, size.source)


def length_for(p99: int, examples: int, context: int) -> Choice:
    """The table's length, raised to the 99th percentile, within the model's context."""
    size = size_of(examples)
    value = min(max(size.length, p99), context)
    why = f"the table's {size.length}; 99 in 100 examples have at most {p99} tokens"
    if value > size.length:
        why = f"the table's {size.length}, raised: 99 in 100 examples have at most {p99} tokens"
    if value < p99:
        why = f"the model's context; below the 99th percentile of the data ({p99} tokens)"
    return Choice("max_length", value, why, size.source)


def percentile99(lengths: Sequence[int]) -> int:
    """The length that 99 in 100 do not pass."""
    ordered = sorted(lengths)
    return ordered[min(len(ordered) - 1, math.ceil(0.99 * len(ordered)) - 1)] if ordered else 0


def cut(settings: TrainingSettings, facts: Facts, stated: Collection[str]) -> tuple[Choice, Choice]:
    """Micro-batch and accumulation: the table's, halved until the memory is enough.

    Checkpointing comes after: it costs a third of the speed, a smaller micro-batch little.
    """
    rows_said = "per_device_train_batch_size" in stated
    times_said = "gradient_accumulation_steps" in stated
    size = size_of(facts.data.examples)
    rows = settings.per_device_train_batch_size if rows_said else size.rows
    if times_said and not rows_said:
        rows = max(1, EFFECTIVE_BATCH // settings.gradient_accumulation_steps)
    why = f"the table's {rows} x {max(1, EFFECTIVE_BATCH // rows)}"
    if not rows_said and not times_said:
        fitting = _fitting(settings, facts, rows)
        if fitting < rows:
            why = f"the table's {rows} does not fit {facts.hardware.device_memory / 2**30:.1f} GiB"
        rows = fitting
    times = settings.gradient_accumulation_steps if times_said else max(1, EFFECTIVE_BATCH // rows)
    return (
        Choice("per_device_train_batch_size", rows, why, size.source),
        Choice(
            "gradient_accumulation_steps",
            times,
            f"{rows * times} examples an optimizer step, whatever fits",
            size.source,
        ),
    )


def _fitting(settings: TrainingSettings, facts: Facts, most: int) -> int:
    """The largest micro-batch that fits; without checkpointing if any does, where that is open."""
    asked = settings.gradient_checkpointing
    for checkpointing in (False, True) if asked == "auto" else (bool(asked),):
        rows = most
        while rows >= 1:
            trial = settings.model_copy(
                update={
                    "per_device_train_batch_size": rows,
                    "gradient_accumulation_steps": max(1, EFFECTIVE_BATCH // rows),
                }
            )
            needed = estimate_memory(trial, facts, checkpointing=checkpointing).total
            if needed < facts.hardware.device_memory:
                return rows
            rows //= 2
    return 1
