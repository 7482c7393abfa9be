"""Computing an effective batch in the memory that is there; a failed try leaves nothing behind.

What it is cut into is no matter of mathematics (train/batches.py); where memory does not suffice,
it is cut smaller and done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from tunesmith.errors import TrainingError, first_line
from tunesmith.models.attention import can_pack, is_deterministic, packed_attention_on
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded
from tunesmith.train import checkpoint as checkpoints
from tunesmith.train.batches import Batch, BatchBuilder, Lookup
from tunesmith.train.fused import fused_adapters
from tunesmith.train.job import TrainingJob, batch_size, steps_per_epoch, total_steps
from tunesmith.train.loss import answer_logits, answer_loss, answer_nll
from tunesmith.train.memory import Cut, clear, is_out_of_memory
from tunesmith.train.method import Method
from tunesmith.train.parallel import SEEDS, Begin, LostError, Step, Team, leave, team, unsharded
from tunesmith.train.signals import StoppedError, StopSignals
from tunesmith.train.trunk import Setting, frozen_layers
from tunesmith.train.workers import side_by_side, workers

Done = TypeVar("Done")
LESS_MEMORY = (
    "set model.load_in_4bit: true, or lower training.max_length or training.lora_r; "
    "`tunesmith plan RECIPE` says what needs how much"
)


class Computation:
    """A model with its adapter on it, ready to give losses and gradients of examples.

    `cut` is how effective batches are computed just now; `use` changes it.
    """

    def __init__(
        self, loaded: Loaded, model: Any, method: Method, job: TrainingJob, stop: StopSignals
    ) -> None:
        self.loaded, self.model, self.job, self.stop = loaded, model, job, stop
        self.method = method
        self.device = loaded.device
        self.trainable = [p for p in model.parameters() if p.requires_grad]
        settings = job.settings
        self.cut = Cut(
            settings.per_device_train_batch_size, settings.gradient_checkpointing is True
        )
        base = model.get_base_model()
        self.packed = settings.packing is not False and can_pack(base)
        if settings.packing is True and not self.packed:
            job.say(f"{loaded.name} cannot keep packed examples apart; padding instead")
        self.attention = base.config._attn_implementation
        self.plain = is_deterministic(model)
        self.longest = max(len(e.ids) for e in job.train)
        self.pool = ExitStack()  # of the workers
        self.kept: Lookup | None = None  # of the layers below the adapters
        self.team: Team | None = None

    def share(self) -> None:
        """Let other processes compute their share of each step, where there are any."""
        self.team = team() if self.job.base is not None else None
        if self.team is None or self.job.base is None:
            return
        settings, four_bit = self.job.settings, self.loaded.quantised
        example = self.job.train[0]
        name = self.method.name
        begin = Begin(self.job.name, self.job.base, four_bit, name, settings, example)
        try:
            self.team.send(begin)
        except LostError as error:
            self._alone(error)
            return
        self.job.say(f"{self.job.name}: {self.team.size} processes share each step{unsharded()}")

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Training mode, packed attention and workers for the length of the block."""
        base = self.model.get_base_model()
        self.model.train()
        attention = packed_attention_on(base) if self.packed else nullcontext()
        fused = fused_adapters(self.model, self.method.listener)
        with attention, fused, self.pool, self._trunk() as self.kept:
            self.use(self.cut)
            try:
                yield
            finally:
                self.model.eval()
                if self.cut.checkpointing:
                    _checkpointing(base, "disable")()

    def _trunk(self) -> AbstractContextManager[Lookup | None]:
        """The layers below the adapters, computed once where examples are seen more than once."""
        job = self.job
        once = total_steps(job) <= steps_per_epoch(job)
        if once or self.team is not None or not (self.packed and self.plain):
            return nullcontext()  # several processes compute them each time
        setting = Setting(
            device=self.device,
            precision=self._precision,
            loss=lambda batch: answer_nll(self.model, batch),
            together=self.cut.rows,
            stoppable=self.stop.at_once,
            say=lambda line: job.say(f"{job.name}: {line}"),
        )
        examples = (*job.train, *job.validation)
        return frozen_layers(self.model, examples, job.directory, setting)

    def use(self, cut: Cut) -> None:
        """Cut effective batches so from here on."""
        self.cut = cut
        self.pool.close()  # waits for micro-batches that are still being computed
        # With dropout, threads would race for the random numbers.
        at_once = side_by_side(self.device, cut.rows) if self.plain else 1
        self.map = self.pool.enter_context(workers(at_once))
        self.builder = BatchBuilder(
            rows=cut.rows,
            longest=self.longest,
            packed=self.packed,
            shared=self.plain,
            parts=at_once * (self.team.size if self.team is not None else 1),
            pad_id=self.loaded.renderer.pad_id,
            hidden=self.kept,
        )
        if cut.checkpointing:
            _checkpointing(self.model.get_base_model(), "enable")({"use_reentrant": False})

    def fitting(self, work: Callable[[], Done], number: int) -> Done:
        """What `work` of step `number` gives, done again with smaller cuts until memory suffices.

        Nothing is kept of a try that failed, or that somebody stopped: no gradients, and the random
        numbers are those that it began with. TrainingError where no smaller cut is left.
        """
        while True:
            state = None if self.plain else checkpoints.random_state()
            try:
                return work()
            except StoppedError:
                self._undo(state)
                raise
            except LostError as error:
                self._alone(error)
                self.use(self.cut)
                self._undo(state)
                continue
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = first_line(error)  # and no more: its traceback holds the activations
            smaller = self.cut.smaller()
            if smaller is None:
                raise too_large(self.job, self.device, f"{reason} (at step {number})")
            self.use(smaller)
            self._undo(state)
            clear()
            self.job.say(
                f"{self.job.name}: not enough memory at step {number} ({reason}); {smaller} from "
                f"here on, the effective batch stays {batch_size(self.job.settings)}"
            )

    def _undo(self, state: Mapping[str, Any] | None) -> None:
        for parameter in self.trainable:
            parameter.grad = None
        if state is not None:
            checkpoints.set_random_state(state)

    def gradients(self, examples: Sequence[Encoded], number: int) -> tuple[float, int]:
        """Fill the gradients of step `number`'s batch: (loss per answer token, tokens)."""
        answers = sum(e.answer_tokens for e in examples)
        apart = self.method.begin(number, answers)
        batches = list(self.builder.micro_batches(examples, apart=apart))
        if self.team is None:
            total = self._own_gradients(batches, answers)
        else:
            seed = None if self.plain else int(torch.randint(SEEDS, ()))
            step = Step(number, batches, answers, self.cut.checkpointing, seed)
            self.team.send(step)
            total = self._together(self.team, step)
        return float(total) / answers, sum(batch.tokens for batch in batches)

    def help(self, step: Step, team: Team) -> None:
        """Compute this process's share of a step that process 0 has begun."""
        if step.checkpointing != self.cut.checkpointing:
            self.use(replace(self.cut, checkpointing=step.checkpointing))
        if step.seed is not None:
            torch.manual_seed(step.seed + team.rank)
        self.method.begin(step.number, step.answers)
        with suppress(RuntimeError, MemoryError):  # process 0 has heard of it, and decides
            self._together(team, step)
        self._undo(None)

    def _together(self, team: Team, step: Step) -> Tensor:
        statistics = self.method.statistics()
        return team.add_up(self.trainable, statistics, step, self._own_gradients)

    def _alone(self, error: LostError) -> None:
        """Go on without the others."""
        self.job.say(f"{self.job.name}: goes on in this process alone: {error}")
        if self.team is not None:
            leave(self.team)
        self.team = None

    def _own_gradients(self, batches: Sequence[Batch], answers: int) -> Tensor:
        """Fill the gradients of micro-batches; their summed nll."""
        total = torch.zeros((), device=self.device)
        work = self.map(lambda batch: self._backward(batch, answers), batches)
        for nll, gradients, seen in work:
            self.stop.check()
            total += nll
            for parameter, gradient in zip(self.trainable, gradients, strict=True):
                if gradient is not None:
                    before = parameter.grad
                    parameter.grad = gradient if before is None else before.add_(gradient)
            for whole, part in zip(self.method.statistics(), seen, strict=True):
                whole.add_(part)
        return total

    def _backward(
        self, batch: Batch, answers: int
    ) -> tuple[Tensor, Sequence[Tensor | None], Sequence[Tensor]]:
        """One micro-batch: its summed nll, and what it adds to the trainable gradients and to the
        method's statistics."""
        smoothing = self.job.settings.label_smoothing_factor
        batch = batch.to(self.device)
        drawn = self._drawn(batch)
        with self.method.observe() as seen:
            nll, gradients = self._pass(drawn or batch, answers, smoothing)
        if drawn is not None:
            nll, gradients = self._pass(batch, answers, smoothing)
        return nll.detach(), gradients, seen

    def _pass(
        self, batch: Batch, answers: int, smoothing: float
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        with self._precision():
            nll = answer_nll(self.model, batch, label_smoothing=smoothing)
        return nll, torch.autograd.grad(nll / answers, self.trainable, allow_unused=True)

    def _drawn(self, batch: Batch) -> Batch | None:
        """The batch with the targets that the method wants its statistics of, if not the labels."""
        if not self.method.draws():
            return None
        with torch.no_grad(), self._precision():
            logits = answer_logits(self.model, batch).float()
        # A stream of its own: threads would race for the common one.
        own = torch.Generator().manual_seed(int(batch.input_ids.sum()) % SEEDS)
        targets = torch.multinomial(logits.softmax(-1).cpu(), 1, generator=own)[:, 0]
        return replace(batch, targets=targets.to(self.device))

    def _precision(self) -> AbstractContextManager[object]:
        """Mixed precision for a forward pass; it belongs to the thread that enters it."""
        if self.loaded.dtype not in (torch.bfloat16, torch.float16):
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.loaded.dtype)

    def validation(self, number: int) -> tuple[float | None, Mapping[str, float] | None]:
        """Loss per answer token on the validation part, and the scores that the job asks for.

        Whatever is drawn at random on the way, training goes on with its own random numbers. A
        signal ends it at once, by StoppedError.
        """
        try:
            with checkpoints.same_random_state(), self.stop.at_once():
                loss = self.validation_loss(number)
                return loss, self._scores()
        except KeyboardInterrupt:
            self.stop.check()
            raise

    def validation_loss(self, number: int) -> float | None:
        """Loss per answer token on the validation part; None where there is none."""
        return self.fitting(self._validation_loss, number) if self.job.validation else None

    def _validation_loss(self) -> float:
        examples = self.job.validation
        self.model.eval()
        try:
            whole = [
                batch
                for start in range(0, len(examples), 64)
                for batch in self.builder.micro_batches(examples[start : start + 64])
            ]
            with self._precision():
                return answer_loss(self.model, whole, self.device)
        finally:
            self.model.train()

    def _scores(self) -> Mapping[str, float] | None:
        """What the answers of the model as it stands are worth, where the job asks for it.

        Packed attention knows no padding and no cache: answering takes the model's own.
        """
        if self.job.score is None:
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


def too_large(job: TrainingJob, device: torch.device, reason: str) -> TrainingError:
    """The error for a training that does not fit, with what to change, and what is left."""
    kept = checkpoints.kept(job.directory)
    last = f"; as it is, it goes on from checkpoint-{kept[0]}" if kept else ""
    return TrainingError(
        f"{job.name}: the memory of {device} is not enough: {reason}",
        hint=(job.advice() or LESS_MEMORY) + last,
    )


def _checkpointing(base: Any, verb: str) -> Callable[..., None]:
    """transformers' switch for gradient checkpointing, under today's name where it has it: the
    older one warns."""
    today = f"activation_checkpointing_{verb}"
    found: Callable[..., None] = getattr(
        base, today if hasattr(base, today) else f"gradient_checkpointing_{verb}"
    )
    return found
