"""The plan of one variant's training: every value with its reason, and what it will need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tunesmith.plan import adaptive
from tunesmith.plan.cost import cost_of, training_time
from tunesmith.plan.facts import Facts, batch_size, steps_of
from tunesmith.plan.gpus import Gpu
from tunesmith.plan.memory import GIB, Memory, estimate_memory
from tunesmith.plan.reasons import below_p99, meaning, reasons, source_of
from tunesmith.records import Choice, Plan

if TYPE_CHECKING:
    from tunesmith.config import TrainingSettings


@dataclass(frozen=True, slots=True)
class Machine:
    """A GPU of the table that the training fits: bytes, seconds and USD on it."""

    gpu: str
    memory_bytes: int
    seconds: float
    cost_usd: float
    price: str


@dataclass(frozen=True, slots=True)
class Advice:
    """One change that needs less memory, and what the training would then need and take."""

    change: str
    memory_bytes: int
    fits: bool
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """A plan with what it rests on.

    `device`: the machine it is for, by name, with `device_memory` in bytes; `gpu`: its row of the
    table. `time`: how the seconds were found. `left`: what can still be changed where a training
    finds too little memory with one example at a time and checkpointing, whatever was reckoned.
    """

    plan: Plan
    memory: Memory
    device: str
    device_memory: int
    gpu: Gpu | None
    time: str
    cheapest: Machine | None
    advice: tuple[Advice, ...]
    warnings: tuple[str, ...]
    left: tuple[Advice, ...] = ()


def forecast(
    settings: TrainingSettings,
    facts: Facts,
    origins: Mapping[str, str],
    *,
    table: Sequence[Gpu] = (),
    bound: int | None = None,
) -> Forecast:
    """The plan, its memory by purpose, the cheapest GPU of `table` that fits, and advice.

    `origins` says where each field of `settings` came from; fields not named there are defaults.
    `bound`: the max_length by which the data stage set rows aside, where it decided one.
    """
    decided, chosen = _decided(settings, facts, origins, bound)
    checkpointing, why = _checkpointing(decided, facts)
    memory = estimate_memory(decided, facts, checkpointing=checkpointing)
    time = training_time(decided, facts, checkpointing=checkpointing)
    fits = memory.total < facts.hardware.device_memory
    by_name = {choice.name: choice for choice in chosen}
    said = reasons(decided, facts) | ({"gradient_checkpointing": why} if why else {})
    values = decided.model_dump() | {"gradient_checkpointing": checkpointing}
    plan = Plan(
        choices=tuple(
            by_name.get(name)
            or Choice(name, value, said.get(name) or meaning(name), source_of(name, origins))
            for name, value in values.items()
        ),
        steps=steps_of(decided, facts.data.examples),
        memory_bytes=memory.total,
        seconds=time.seconds,
        cost_usd=cost_of(time.seconds, facts),
        fits=fits,
    )
    return Forecast(
        plan=plan,
        memory=memory,
        device=facts.hardware.device_name,
        device_memory=facts.hardware.device_memory,
        gpu=facts.gpu,
        time=time.reason,
        cheapest=cheapest(settings, facts, origins, table=table, bound=bound),
        advice=() if fits else tuple(_advice(decided, facts, checkpointing=checkpointing)),
        left=tuple(_lighter(_one_at_a_time(decided), facts, checkpointing=True)),
        warnings=tuple(_warnings(decided, facts)),
    )


def cheapest(
    settings: TrainingSettings,
    facts: Facts,
    origins: Mapping[str, str],
    *,
    table: Sequence[Gpu],
    bound: int | None = None,
) -> Machine | None:
    """The GPU that the whole training fits and costs least on, the sooner done where two cost the
    same; None where it fits none. A card without a price is none that can be rented."""
    found: list[Machine] = []
    for gpu in table:
        there = replace(facts, hardware=gpu.hardware(), gpu=gpu)
        decided, _ = _decided(settings, there, origins, bound)
        checkpointing, _ = _checkpointing(decided, there)
        needed = estimate_memory(decided, there, checkpointing=checkpointing).total
        seconds = training_time(decided, there, checkpointing=checkpointing).seconds
        if needed < there.hardware.device_memory and seconds is not None and gpu.usd > 0:
            price = f"${gpu.usd:g} an hour" + (f" as of {gpu.read}" if gpu.read else "")
            found.append(Machine(gpu.name, needed, seconds, cost_of(seconds, there) or 0.0, price))
    return min(found, key=lambda m: (m.cost_usd, m.seconds), default=None)


def _decided(
    settings: TrainingSettings, facts: Facts, origins: Mapping[str, str], bound: int | None
) -> tuple[TrainingSettings, tuple[Choice, ...]]:
    """The settings as they will be trained with, and what adaptive mode chose of them."""
    if settings.mode == "fixed":
        return settings, ()
    stated = {name for name, origin in origins.items() if origin != "default"}
    return adaptive.decide(settings, facts, stated, bound=bound)


def _checkpointing(settings: TrainingSettings, facts: Facts) -> tuple[bool, str]:
    """Whether activations are computed again, and why: it costs a third of the speed."""
    if settings.gradient_checkpointing != "auto":
        return bool(settings.gradient_checkpointing), ""
    plain = estimate_memory(settings, facts, checkpointing=False).total
    gib, there = plain / GIB, facts.hardware.device_memory / GIB
    if plain < facts.hardware.device_memory:
        return False, f"about {gib:.1f} GiB are enough without it, {there:.1f} are there"
    return True, f"about {gib:.1f} GiB would be needed without it, {there:.1f} are there"


def _advice(settings: TrainingSettings, facts: Facts, *, checkpointing: bool) -> Iterator[Advice]:
    """What to change where it does not fit: each change over those before it, until it does."""
    for advice in _lighter(settings, facts, checkpointing=checkpointing):
        yield advice
        if advice.fits:
            return


def _lighter(settings: TrainingSettings, facts: Facts, *, checkpointing: bool) -> Iterator[Advice]:
    """Every change that needs less memory, each over those before it."""
    for change, update, packed in _changes(settings, facts, checkpointing=checkpointing):
        settings = settings.model_copy(update={k: v for k, v in update.items() if k != "longest"})
        if packed:
            facts = replace(facts, four_bit=True)
        if "longest" in update:
            facts = replace(facts, data=replace(facts.data, length_max=update["longest"]))
        checkpointing = checkpointing or bool(update.get("gradient_checkpointing"))
        needed = estimate_memory(settings, facts, checkpointing=checkpointing).total
        seconds = training_time(settings, facts, checkpointing=checkpointing).seconds
        yield Advice(change, needed, needed < facts.hardware.device_memory, seconds)


def _one_at_a_time(settings: TrainingSettings) -> TrainingSettings:
    return settings.model_copy(
        update={
            "per_device_train_batch_size": 1,
            "gradient_accumulation_steps": batch_size(settings),
        }
    )


def _changes(
    settings: TrainingSettings, facts: Facts, *, checkpointing: bool
) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """(what to write, what it changes, whether the base is packed in 4 bits), the cheapest in
    speed first; what changes the result comes last."""
    if settings.per_device_train_batch_size > 1:
        size = batch_size(settings)
        yield (
            f"per_device_train_batch_size: 1 with gradient_accumulation_steps: {size} (the result "
            "is the same)",
            {"per_device_train_batch_size": 1, "gradient_accumulation_steps": size},
            False,
        )
    if not checkpointing:
        yield (
            "gradient_checkpointing: true (the result is the same, a third slower)",
            {"gradient_checkpointing": True},
            False,
        )
    if not facts.four_bit and facts.hardware.four_bit:
        yield "model.load_in_4bit: true (QLoRA)", {}, True
    data = facts.data
    shorter = data.length_p99 if data.length_p99 < data.length_max else data.length_max // 2
    if shorter:
        yield (
            f"training.max_length: {shorter} (longer examples are set aside)",
            {"max_length": shorter, "longest": shorter},
            False,
        )


def _warnings(settings: TrainingSettings, facts: Facts) -> Iterator[str]:
    """What a person should know before the run."""
    data = facts.data
    if below_p99(facts):
        yield (
            f"max_length {settings.max_length} is below the 99th percentile of the data: "
            f"{facts.overlong} of {facts.bounded} examples are longer and were "
            "set aside; raise training.max_length to keep them"
        )
    if data.labels:
        rarest, count = min(data.labels.items(), key=lambda item: (item[1], item[0]))
        even = sum(data.labels.values()) / len(data.labels)
        if count < 0.5 * even:
            yield (
                f"label {rarest!r} has {count} of {sum(data.labels.values())} training examples: "
                "look at macro F1, not at accuracy alone"
            )
    if data.length_max > facts.model.context:
        yield (
            f"the longest example has {data.length_max} tokens, {facts.model.name} was made for "
            f"{facts.model.context}"
        )
