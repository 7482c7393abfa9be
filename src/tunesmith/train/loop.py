"""The training loop: one for every method.

    for each optimizer step:
        the effective batch of this step        (from the seed alone)
        for each micro-batch of it:             (cut by memory; cannot change the mathematics)
            loss = sum of nll over its answer tokens / answer tokens of the effective batch
            backward
        method.precondition, clip, optimizer, schedule, method.after
        report, validate, checkpoint

Ours and not transformers' Trainer for its resume (exact at any step: the data's order is a function
of the seed), for packing that keeps examples apart, for a method's place between backward and the
step, and for its start-up time; see docs/decisions/002-own-training-loop.md for what was measured.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import set_seed

from tunesmith.config import TrainingSettings
from tunesmith.errors import Interrupted, TrainingError
from tunesmith.models.adapters import TRAINED, take_off
from tunesmith.models.attention import can_pack, is_deterministic, packed_attention_on
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded
from tunesmith.records import Adapter, TrainingStep
from tunesmith.train import checkpoint as checkpoints
from tunesmith.train.batches import Batch, BatchBuilder, effective_batches
from tunesmith.train.checks import check_trainable
from tunesmith.train.fused import fused_adapters
from tunesmith.train.loss import answer_loss, answer_nll
from tunesmith.train.method import Method
from tunesmith.train.optimizer import build_optimizer, build_scheduler
from tunesmith.train.signals import stop_signals
from tunesmith.train.workers import side_by_side, workers


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """All that one training is asked to do.

    `name` is the variant's name and `directory` where checkpoints and the adapter go. `on_step`
    gets every optimizer step, `say` lines for the person watching. `score` is asked wherever the
    validation loss is taken: given the model as it stands, it answers with scores by name.
    """

    name: str
    train: Sequence[Encoded]
    validation: Sequence[Encoded]
    settings: TrainingSettings
    seed: int
    directory: Path
    on_step: Callable[[TrainingStep], None] = lambda _: None
    say: Callable[[str], None] = lambda _: None
    score: Callable[[Loaded], Mapping[str, float]] | None = None
    order: Sequence[Sequence[int]] | None = None  # the steps' examples, where the caller decides


@dataclass
class _Progress:
    """What a run has done so far; travels in the checkpoint."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    loss: float = math.nan
    peak_memory: int = field(default=0)


def count_steps(examples: int, settings: TrainingSettings) -> int:
    """Optimizer steps of a whole training."""
    size = settings.per_device_train_batch_size * settings.gradient_accumulation_steps
    planned = math.ceil(math.ceil(examples / size) * settings.num_train_epochs)
    return min(planned, settings.max_steps) if settings.max_steps else planned


def steps_per_epoch(job: TrainingJob) -> int:
    """Optimizer steps of one pass over the training part; the last may hold fewer examples."""
    size = job.settings.per_device_train_batch_size * job.settings.gradient_accumulation_steps
    return math.ceil(len(job.train) / size)


def steps_of(job: TrainingJob, total: int) -> Iterator[list[int]]:
    """Indices of the examples of each optimizer step, from the first to the last."""
    if job.order is not None:
        yield from (list(indices) for indices in job.order)
        return
    size = job.settings.per_device_train_batch_size * job.settings.gradient_accumulation_steps
    epoch, done = 0, 0
    while done < total:
        for indices in effective_batches(len(job.train), size, seed=job.seed, epoch=epoch):
            if done < total:
                yield indices
                done += 1
        epoch += 1


def train(loaded: Loaded, method: Method, job: TrainingJob) -> Adapter:
    """Train one adapter and write it as a plain PEFT directory into `job.directory / "adapter"`.

    Goes on from the newest whole checkpoint in `job.directory`, if there is one. Raises
    TrainingError where the loss is not finite, Interrupted on SIGINT or SIGTERM (with a checkpoint
    written), DataError where there is nothing to train on, StoreError where the disk takes no more.
    However it ends, the base is left as it was: another training may stand on it.
    """
    check_trainable(loaded, job.train, job.name)
    total = len(job.order) if job.order is not None else count_steps(len(job.train), job.settings)
    set_seed(job.seed)
    model = method.attach(loaded.model, job.settings)
    try:
        trainable = [p for p in model.parameters() if p.requires_grad]
        optimizer, note = build_optimizer(trainable, job.settings, loaded.device)
        if note:
            job.say(note)
        scheduler = build_scheduler(optimizer, job.settings, total)
        run = _Run(loaded, model, method, job, optimizer, scheduler, total)
        with run.ready(), stop_signals() as stopped:
            run.resume()
            run.steps(stopped)
        return run.finish(sum(p.numel() for p in trainable))
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"{job.name}: the memory of {loaded.device} is not enough",
            hint="lower training.per_device_train_batch_size and raise "
            "gradient_accumulation_steps by as much (the result is the same), or set "
            "gradient_checkpointing: true or model.load_in_4bit: true",
        ) from error
    finally:
        take_off(model)


class _Run:
    """The moving parts of one training."""

    def __init__(
        self,
        loaded: Loaded,
        model: Any,
        method: Method,
        job: TrainingJob,
        optimizer: Optimizer,
        scheduler: LRScheduler,
        total: int,
    ) -> None:
        self.loaded, self.model, self.method, self.job = loaded, model, method, job
        self.optimizer, self.scheduler, self.total = optimizer, scheduler, total
        self.settings = job.settings
        self.device = loaded.device
        self.trainable = [p for p in model.parameters() if p.requires_grad]
        self.progress = _Progress()
        packed = self.settings.packing is not False and can_pack(model.get_base_model())
        if self.settings.packing is True and not packed:
            job.say(f"{loaded.name} cannot keep packed examples apart; padding instead")
        self.packed = packed
        self.attention = model.get_base_model().config._attn_implementation
        plain = is_deterministic(model)  # with dropout, threads would race for the random numbers
        size = self.settings.per_device_train_batch_size
        self.at_once = side_by_side(self.device, size) if plain else 1
        self.builder = BatchBuilder(
            rows=size,
            longest=max(len(e.ids) for e in job.train),
            packed=packed,
            shared=plain,
            parts=self.at_once,
            pad_id=loaded.renderer.pad_id,
        )

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Training mode, packed attention and workers for the length of the block."""
        base = self.model.get_base_model()
        if self.settings.gradient_checkpointing is True:
            _checkpointing(base, "enable")({"use_reentrant": False})
        self.model.train()
        attention = packed_attention_on(base) if self.packed else nullcontext()
        with attention, fused_adapters(self.model), workers(self.at_once) as self.map:
            try:
                yield
            finally:
                self.model.eval()
                if self.settings.gradient_checkpointing is True:
                    _checkpointing(base, "disable")()

    def resume(self) -> None:
        """Go on from the newest whole checkpoint, if there is one."""
        found = checkpoints.newest(self.job.directory, self.job.say)
        if found is None:
            return
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(self.model, dict(found.adapter))
        self.method.load_state(found.method)
        self.optimizer.load_state_dict(dict(found.optimizer))
        self.scheduler.load_state_dict(dict(found.scheduler))
        checkpoints.set_random_state(found.rng)
        self.progress = _Progress(
            step=found.step,
            tokens=int(found.progress["tokens"]),
            seconds=found.progress["seconds"],
            loss=found.progress["loss"],
            peak_memory=int(found.progress["peak_memory"]),
        )
        self.job.say(f"{self.job.name}: resumed at step {found.step} of {self.total}")

    def steps(self, stopped: Callable[[], bool]) -> None:
        """Every optimizer step that is still to do."""
        settings, progress = self.settings, self.progress
        per_epoch = steps_per_epoch(self.job)
        for number, indices in enumerate(steps_of(self.job, self.total), start=1):
            if number <= progress.step:
                continue
            began = time.perf_counter()
            loss, norm, tokens, answers = self.step([self.job.train[i] for i in indices], number)
            rate = float(self.scheduler.get_last_lr()[0])
            self.scheduler.step()
            progress.step, progress.loss = number, loss
            progress.tokens += tokens
            progress.seconds += time.perf_counter() - began
            progress.peak_memory = max(progress.peak_memory, self.memory())
            self.job.on_step(
                TrainingStep(
                    step=number,
                    epoch=number / per_epoch,
                    loss=loss,
                    learning_rate=rate,
                    grad_norm=norm,
                    tokens=tokens,
                    answer_tokens=answers,
                    seconds=time.perf_counter() - began,
                    memory_bytes=self.memory(),
                    validation_loss=self.validate(number),
                    validation_scores=self.score(number),
                )
            )
            if stopped():
                self.save()
                raise Interrupted(
                    f"{self.job.name}: stopped at step {number} of {self.total}; checkpoint kept",
                    hint="run the same command again to go on from there",
                )
            if settings.save_steps and number % settings.save_steps == 0 and number < self.total:
                self.save()

    def step(self, examples: list[Encoded], number: int) -> tuple[float, float, int, int]:
        """One optimizer step: (loss per answer token, gradient norm, tokens, answer tokens)."""
        answers = sum(e.answer_tokens for e in examples)
        total = torch.zeros((), device=self.device)
        batches = list(self.builder.micro_batches(examples))
        for nll, gradients in self.map(lambda batch: self.backward(batch, answers), batches):
            total += nll
            for parameter, gradient in zip(self.trainable, gradients, strict=True):
                if gradient is not None:
                    before = parameter.grad
                    parameter.grad = gradient if before is None else before.add_(gradient)
        tokens = sum(batch.tokens for batch in batches)
        loss = float(total) / answers
        if not math.isfinite(loss):
            raise self.diverged("loss", loss, number)
        self.method.precondition(number)
        limit = self.settings.max_grad_norm or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(self.trainable, limit))
        if not math.isfinite(norm):
            # One step with such a gradient would spoil the adapter and every checkpoint after it.
            raise self.diverged("gradient's norm", norm, number)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.method.after(number)
        return loss, norm, tokens, answers

    def backward(self, batch: Batch, answers: int) -> tuple[Tensor, Sequence[Tensor | None]]:
        """One micro-batch: its summed nll, and what it adds to the trainable gradients."""
        with self.precision():
            nll = answer_nll(
                self.model,
                batch.to(self.device),
                label_smoothing=self.settings.label_smoothing_factor,
            )
        gradients = torch.autograd.grad(nll / answers, self.trainable, allow_unused=True)
        return nll.detach(), gradients

    def precision(self) -> AbstractContextManager[object]:
        """Mixed precision for a forward pass; it belongs to the thread that enters it."""
        if self.loaded.dtype not in (torch.bfloat16, torch.float16):
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.loaded.dtype)

    def diverged(self, what: str, value: float, number: int) -> TrainingError:
        """The error for a figure that is infinite or no number."""
        return TrainingError(
            f"{self.job.name}: the {what} is {value} at step {number}",
            hint="lower training.learning_rate; checkpoints up to here are kept",
        )

    def validates_at(self, number: int) -> bool:
        """Whether the validation loss is taken behind this step: at the end in any case."""
        strategy, every = self.settings.eval_strategy, self.settings.eval_steps
        return (
            number == self.total
            or (strategy == "epoch" and number % steps_per_epoch(self.job) == 0)
            or (strategy == "steps" and every is not None and number % every == 0)
        )

    def validate(self, number: int) -> float | None:
        """Loss per answer token on the validation part, where this step asks for it."""
        if not self.job.validation or not self.validates_at(number):
            return None
        self.model.eval()
        whole = [
            batch
            for start in range(0, len(self.job.validation), 64)
            for batch in self.builder.micro_batches(self.job.validation[start : start + 64])
        ]
        with self.precision():
            loss = answer_loss(self.model, whole, self.device)
        self.model.train()
        return loss

    def score(self, number: int) -> Mapping[str, float] | None:
        """What the answers of the model as it stands are worth, where this step asks for it.

        Packed attention knows no padding and no cache: answering takes the model's own.
        """
        if self.job.score is None or not self.validates_at(number):
            return None
        base = self.model.get_base_model()
        training = base.config._attn_implementation
        self.model.eval()
        base.set_attn_implementation(self.attention)
        try:
            return self.job.score(replace(self.loaded, model=self.model))
        finally:
            base.set_attn_implementation(training)
            self.model.train()

    def save(self) -> None:
        """Write a checkpoint of this moment."""
        from peft import get_peft_model_state_dict

        progress = self.progress
        checkpoints.save(
            self.job.directory,
            checkpoints.Checkpoint(
                step=progress.step,
                adapter=get_peft_model_state_dict(self.model, save_embedding_layers=False),
                method=self.method.state(),
                optimizer=self.optimizer.state_dict(),
                scheduler=self.scheduler.state_dict(),
                rng=checkpoints.random_state(),
                progress={
                    "tokens": progress.tokens,
                    "seconds": progress.seconds,
                    "loss": progress.loss,
                    "peak_memory": progress.peak_memory,
                },
            ),
            keep=self.settings.save_total_limit or 2,
        )

    def memory(self) -> int:
        """Bytes: the peak on the GPU, or what this process holds on the host."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return int(psutil.Process(os.getpid()).memory_info().rss)

    def finish(self, parameters: int) -> Adapter:
        """Write the adapter and say what it cost."""
        directory = self.job.directory / "adapter"
        weights = directory / "adapter_model.safetensors"
        # Embeddings are never trained here, and PEFT's "auto" would ask the hub about them.
        with checkpoints.writing(directory):
            self.model.save_pretrained(
                str(directory), save_embedding_layers=False, selected_adapters=[TRAINED]
            )
            self.loaded.renderer.tokenizer.save_pretrained(str(directory))
        return Adapter(
            name=self.job.name,
            method=self.method.name,
            directory=directory,
            base=self.loaded.name,
            trainable_parameters=parameters,
            bytes=weights.stat().st_size,
            seconds=self.progress.seconds,
            peak_memory_bytes=self.progress.peak_memory,
            tokens=self.progress.tokens,
            steps=self.progress.step,
            final_loss=self.progress.loss,
        )


def _checkpointing(base: Any, verb: str) -> Callable[..., None]:
    """transformers' switch for gradient checkpointing, under today's name where it has it: the
    older one warns."""
    today = f"activation_checkpointing_{verb}"
    found: Callable[..., None] = getattr(
        base, today if hasattr(base, today) else f"gradient_checkpointing_{verb}"
    )
    return found
