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
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import set_seed

from tunesmith.errors import Interrupted, TrainingError, first_line
from tunesmith.models.adapters import TRAINED, take_off
from tunesmith.models.load import Loaded
from tunesmith.records import Adapter, TrainingStep
from tunesmith.store.whole import whole_folder
from tunesmith.train import best
from tunesmith.train import checkpoint as checkpoints
from tunesmith.train.checks import check_trainable
from tunesmith.train.computing import Computation, too_large
from tunesmith.train.divergence import trouble
from tunesmith.train.job import (
    TrainingJob,
    count_steps,
    steps_of,
    steps_per_epoch,
    total_steps,
    validates_at,
)
from tunesmith.train.memory import forget_peak, is_out_of_memory, memory_used
from tunesmith.train.method import Method
from tunesmith.train.optimizer import build_scheduler
from tunesmith.train.progress import Progress
from tunesmith.train.signals import StoppedError, stop_signals

__all__ = ["TrainingJob", "count_steps", "steps_of", "train"]

SHOWN = 8  # examples of a batch that an error names


def train(loaded: Loaded, method: Method, job: TrainingJob) -> Adapter:
    """Train one adapter and write it as a plain PEFT directory into `job.directory / "adapter"`.

    Goes on from the newest whole checkpoint in `job.directory`, if there is one. Where memory does
    not suffice, micro-batches are made smaller. Raises TrainingError where that is not enough, or
    where the training diverges, Interrupted on SIGINT or SIGTERM (with a checkpoint written),
    DataError where there is nothing to train on, ConfigError for a best step that nothing can
    show, StoreError where the disk takes no more. However it ends, the base is left as it was:
    another training may stand on it.
    """
    check_trainable(loaded, job.train, job.name)
    best.check_best(job)
    total = total_steps(job)
    set_seed(job.seed)
    forget_peak(loaded.device)
    model = method.attach(loaded.model, job.settings)
    try:
        optimizer, note = method.optimizer(model, job.settings, loaded.device, total)
        if note:
            job.say(note)
        scheduler = build_scheduler(optimizer, job.settings, total)
        with stop_signals() as stop:
            compute = Computation(loaded, model, method, job, stop)
            compute.share()
            run = _Run(compute, optimizer, scheduler, total)
            with compute.ready():
                run.resume()
                run.steps()
                chosen = run.load_best()
                run.reshape(chosen)
        return run.finish(chosen)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise too_large(job, loaded.device, first_line(error)) from error
    finally:
        take_off(model)


class _Run:
    """The moving parts of one training."""

    def __init__(
        self, compute: Computation, optimizer: Optimizer, scheduler: LRScheduler, total: int
    ) -> None:
        self.compute, self.job, self.stop = compute, compute.job, compute.stop
        self.model: Any = compute.model
        self.method, self.optimizer, self.scheduler = compute.method, optimizer, scheduler
        self.settings, self.total = self.job.settings, total
        self.progress = Progress(compute.cut)
        self.trained = self.size()  # now: a method may change shapes on the way, or at the end

    def size(self) -> int:
        """Numbers that training may change."""
        return sum(p.numel() for p in self.compute.trainable)

    def resume(self) -> None:
        """Go on from the newest whole checkpoint, if there is one."""
        found = checkpoints.newest(self.job.directory, self.job.say)
        if found is None:
            return
        from peft import set_peft_model_state_dict

        self.method.load_state(found.method)  # first: it may give the adapter another shape
        set_peft_model_state_dict(self.model, dict(found.adapter), adapter_name=TRAINED)
        self.optimizer.load_state_dict(dict(found.optimizer))
        self.scheduler.load_state_dict(dict(found.scheduler))
        checkpoints.set_random_state(found.rng)
        self.progress = Progress.read(found.progress)
        self.compute.use(self.progress.cut)
        self.job.say(f"{self.job.name}: resumed at step {found.step} of {self.total}")

    def steps(self) -> None:
        """Every optimizer step that is still to do."""
        progress = self.progress
        try:
            if progress.pending is not None:
                self.report(TrainingStep(**progress.pending))
            for number, indices in enumerate(steps_of(self.job, self.total), start=1):
                if best.given_up(progress.best, self.settings):
                    return
                if number > progress.step:
                    self.report(self.step(indices, number))
        except StoppedError:
            self.save()
            raise Interrupted(
                f"{self.job.name}: stopped at step {progress.step} of {self.total}; "
                "checkpoint kept",
                hint="run the same command again to go on from there",
            ) from None

    def step(self, indices: list[int], number: int) -> TrainingStep:
        """One optimizer step: gradients of the whole effective batch, then the update."""
        progress, began = self.progress, time.perf_counter()
        examples = [self.job.train[i] for i in indices]
        loss, tokens = self.compute.fitting(
            lambda: self.compute.gradients(examples, number), number
        )
        wrong = trouble(loss, progress.losses, self.settings.loss_spike_factor)
        if wrong:
            raise self.diverged(wrong, number, indices)
        norm = self.update(number, indices)
        rate = float(self.scheduler.get_last_lr()[0])
        self.scheduler.step()
        seconds, memory = time.perf_counter() - began, memory_used(self.compute.device)
        progress.step, progress.loss, progress.losses = number, loss, progress.losses.after(loss)
        progress.tokens += tokens
        progress.seconds += seconds
        progress.peak_memory = max(progress.peak_memory, memory)
        return TrainingStep(
            step=number,
            epoch=number / steps_per_epoch(self.job),
            loss=loss,
            learning_rate=rate,
            grad_norm=norm,
            tokens=tokens,
            answer_tokens=sum(e.answer_tokens for e in examples),
            seconds=seconds,
            memory_bytes=memory,
        )

    def update(self, number: int, indices: Sequence[int]) -> float:
        """Precondition, clip, and take the step that the gradients say; their norm."""
        limit = self.settings.max_grad_norm or math.inf
        norm = self.method.precondition(
            number, lambda: float(nn.utils.clip_grad_norm_(self.compute.trainable, limit))
        )
        if not math.isfinite(norm):
            # One step with such a gradient would spoil the adapter and every checkpoint after it.
            raise self.diverged(f"the gradient's norm is {norm}", number, indices)
        try:
            self.optimizer.step()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            # No second try: a step that failed may be half taken.
            said = f"{first_line(error)} (in the optimizer's step {number})"
            raise too_large(self.job, self.compute.device, said) from error
        self.method.after(number)
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def diverged(self, wrong: str, number: int, indices: Sequence[int]) -> TrainingError:
        """The error for a training that has gone wrong: where, on what, and what is left."""
        names = ", ".join(self.job.describe(i) for i in indices[:SHOWN])
        more = f" and {len(indices) - SHOWN} more" if len(indices) > SHOWN else ""
        kept = checkpoints.kept(self.job.directory)
        last = f"; checkpoint-{kept[0]} is kept" if kept else ""
        return TrainingError(
            f"{self.job.name}: {wrong} at step {number}, whose batch is {names}{more}",
            hint=f"look at these examples, or lower training.learning_rate{last}",
        )

    def report(self, step: TrainingStep) -> None:
        """Validate where this step asks for it, tell whoever watches, save what must be kept."""
        progress, number = self.progress, step.step
        if found := self.method.reports():  # first: a signal in a validation would lose them
            self.job.on_layers(found)
        if validates_at(self.job, number, self.total):
            progress.pending = asdict(step)
            loss, scores = self.compute.validation(number)
            step = replace(step, validation_loss=loss, validation_scores=scores)
            progress.pending = None
        progress.reported = asdict(step)
        self.job.on_step(step)
        improved = self.improved(step)
        self.stop.check()
        every = self.settings.save_steps
        due = every is not None and number % every == 0
        if number < self.total and (due or (improved and self.settings.load_best_model_at_end)):
            self.save()

    def improved(self, step: TrainingStep) -> bool:
        """Whether this step's validation is the best so far, where anybody asks."""
        settings = self.settings
        metric = best.metric_name(settings)
        value = best.measured(step, metric) if best.watches(settings) else None
        if value is None:
            return False
        greater = best.greater_is_better(settings)
        found = best.judge(self.progress.best, value, step.step, greater=greater)
        self.progress.best = found
        if best.given_up(found, settings):
            self.job.say(
                f"{self.job.name}: stopped early at step {step.step} of {self.total}: {metric} was "
                f"best ({found.value:.4g}) at step {found.step}, and no better in {found.waited} "
                "validations since"
            )
        return found.step == step.step

    def save(self) -> None:
        """Write a checkpoint of this moment."""
        from peft import get_peft_model_state_dict

        progress = self.progress
        progress.cut = self.compute.cut
        top = progress.best if self.settings.load_best_model_at_end else None
        checkpoints.save(
            self.job.directory,
            checkpoints.Checkpoint(
                step=progress.step,
                adapter=get_peft_model_state_dict(
                    self.model, adapter_name=TRAINED, save_embedding_layers=False
                ),
                method=self.method.state(),
                optimizer=self.optimizer.state_dict(),
                scheduler=self.scheduler.state_dict(),
                rng=checkpoints.random_state(),
                progress=progress.plain(),
            ),
            keep=self.settings.save_total_limit,
            best=top.step if top is not None else None,
        )

    def load_best(self) -> Progress:
        """Put the best step's adapter on the model, where the recipe asks for it; its progress."""
        top, last, name = self.progress.best, self.progress.step, self.job.name
        if not self.settings.load_best_model_at_end or top is None:
            return self.progress
        chosen = self.progress
        if top.step != last:
            place = self.job.directory / f"{checkpoints.PREFIX}{top.step}"
            found = checkpoints.read(place, self.job.say)
            if found is None:
                self.job.say(
                    f"{name}: the best step, {top.step}, is lost with its checkpoint; the adapter "
                    f"is that of the last, {last}"
                )
                return self.progress
            from peft import set_peft_model_state_dict

            self.method.load_state(found.method)  # first, as in `resume`
            set_peft_model_state_dict(self.model, dict(found.adapter), adapter_name=TRAINED)
            chosen = Progress.read(found.progress)
        self.job.say(
            f"{name}: the adapter is that of step {top.step} of {last}, the best by "
            f"{best.metric_name(self.settings)} ({top.value:.4g})"
        )
        return chosen

    def reshape(self, chosen: Progress) -> None:
        """Let the method give the adapter its last form. Where that changed it, the report of its
        step is made again with a validation of the adapter as it will be written."""
        before, number = self.size(), chosen.step
        for line in self.method.finish(lambda: self.compute.validation_loss(number)):
            self.job.say(f"{self.job.name}: {line}")
        if self.size() == before or chosen.reported is None:
            return
        try:
            loss, scores = self.compute.validation(number)
        except StoppedError:
            raise Interrupted(
                f"{self.job.name}: stopped before its adapter was written",
                hint="run the same command again; it goes on from its last checkpoint",
            ) from None
        step = TrainingStep(**chosen.reported)
        self.job.on_step(replace(step, validation_loss=loss, validation_scores=scores))

    def finish(self, chosen: Progress) -> Adapter:
        """Write the adapter and say what it cost; `steps` and `final_loss` are the adapter's own,
        those of `chosen`."""
        directory, loaded = self.job.directory / "adapter", self.compute.loaded
        # Embeddings are never trained here, and PEFT's "auto" would ask the hub about them.
        with checkpoints.writing(directory), whole_folder(directory) as partial:
            self.model.save_pretrained(
                str(partial), save_embedding_layers=False, selected_adapters=[TRAINED]
            )
            loaded.renderer.tokenizer.save_pretrained(str(partial))
        return Adapter(
            name=self.job.name,
            method=self.method.name,
            directory=directory,
            base=loaded.name,
            trainable_parameters=self.trained,
            bytes=(directory / "adapter_model.safetensors").stat().st_size,
            seconds=self.progress.seconds,
            peak_memory_bytes=self.progress.peak_memory,
            tokens=self.progress.tokens,
            steps=chosen.step,
            final_loss=chosen.loss,
        )
