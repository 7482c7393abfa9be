"""The sides of the speed benchmarks: one training by Tunesmith's loop or by TRL, and what it took.

Before the clock each side gives loss and gradients of the same examples under the same adapter;
they are held against those of plain transformers, one example at a time (`gate`).
"""

from __future__ import annotations

import ctypes
import gc
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from tunesmith.config import ModelSettings, TrainingSettings
from tunesmith.models.adapters import bare, with_adapter
from tunesmith.models.load import Loaded, load
from tunesmith.models.render import Encoded
from tunesmith.train.computing import Computation
from tunesmith.train.job import TrainingJob
from tunesmith.train.loop import train
from tunesmith.train.lora import Lora
from tunesmith.train.signals import StopSignals

LEARNING_RATE, RANK, ALPHA, BATCH, SEED = 2e-4, 16, 32, 8, 42
Gradients = dict[str, Tensor]


@dataclass(frozen=True)
class Measured:
    """One training: seconds inside it and before it, tokens of its examples (padding not counted),
    peak memory above the start, loss over all examples behind it."""

    seconds: float
    startup: float
    examples: int
    tokens: int
    peak_bytes: int
    loss: float

    @property
    def rate(self) -> float:
        """Examples a second: the honest unit where starts are shared."""
        return self.examples / self.seconds

    @property
    def token_rate(self) -> float:
        """Tokens of the examples a second."""
        return self.tokens / self.seconds


def settings_of(**more: Any) -> TrainingSettings:
    """What every side trains with: batches of 8, LoRA of rank 16 everywhere, linear decay."""
    shared = {
        "learning_rate": LEARNING_RATE,
        "num_train_epochs": 1,
        "per_device_train_batch_size": BATCH,
        "lora_r": RANK,
        "lora_alpha": ALPHA,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0,
        "eval_strategy": "no",
        "loss_spike_factor": 0,
    }
    return TrainingSettings.model_validate(shared | more)


class Ours:
    """Tunesmith's loop; `training` are keys beside those that all sides share."""

    def __init__(self, base: Loaded | ModelSettings, method: Any = Lora, **training: Any) -> None:
        self.base, self.method = base, method
        self.settings = settings_of(**training)

    def measure(self, encoded: Sequence[Encoded]) -> Measured:
        """Train once."""
        with tempfile.TemporaryDirectory() as folder, peak_memory() as peak, ExitStack() as stack:
            began = time.perf_counter()
            loaded = stack.enter_context(_base(self.base))
            startup = time.perf_counter() - began
            began = time.perf_counter()
            train(loaded, self.method(), self._job(encoded, Path(folder)))
            seconds = time.perf_counter() - began
            loss = final_loss(with_adapter(loaded, Path(folder) / "adapter"), encoded)
        seen = [*encoded] * round(self.settings.num_train_epochs)
        return _measured(seconds, startup, seen, peak[0], loss)

    def gradients(self, examples: Sequence[Encoded]) -> tuple[float, Gradients]:
        """Loss and gradients of one effective batch."""
        with tempfile.TemporaryDirectory() as folder, _base(self.base) as loaded:
            method = self.method()
            model = method.attach(loaded.model, self.settings)
            scatter(model)
            job = self._job(examples, Path(folder))
            compute = Computation(loaded, model, method, job, StopSignals())
            with compute.ready():
                loss, _ = compute.gradients(examples, 1)
            return loss, _gradients(model)

    def _job(self, encoded: Sequence[Encoded], folder: Path) -> TrainingJob:
        return TrainingJob("lora", encoded, (), self.settings, SEED, folder)


class Trl:
    """TRL's SFTTrainer with its defaults but for `overrides`; `packed`: with its own packing, packs
    of as many tokens as `BATCH` examples have, one a step."""

    def __init__(
        self, base: Loaded | ModelSettings, *, packed: bool = False, **overrides: Any
    ) -> None:
        self.base, self.packed, self.overrides = base, packed, overrides

    def measure(self, encoded: Sequence[Encoded], *, max_steps: int = -1) -> Measured:
        """Train once; with `max_steps` so many steps, and no loss behind them."""
        with tempfile.TemporaryDirectory() as folder, peak_memory() as peak, ExitStack() as stack:
            began = time.perf_counter()
            loaded = stack.enter_context(_base(self.base))
            trainer = self._trainer(loaded, encoded, folder, max_steps=max_steps)
            startup = time.perf_counter() - began
            began = time.perf_counter()
            trainer.train()
            settle()
            seconds = time.perf_counter() - began
            seen, loss = encoded, float("nan")
            if max_steps < 0:
                loss = final_loss(replace(loaded, model=trainer.model), encoded)
            else:
                seen = encoded[: max_steps * BATCH]
        return _measured(seconds, startup, seen, peak[0], loss)

    def gradients(self, examples: Sequence[Encoded]) -> tuple[float, Gradients]:
        """Loss and gradients of these examples in one batch, as its trainer computes them."""
        with tempfile.TemporaryDirectory() as folder, _base(self.base) as loaded:
            trainer = self._trainer(loaded, examples, folder, whole=True)
            scatter(trainer.model)
            trainer.model.train()
            batch = trainer.data_collator(list(trainer.train_dataset))
            batch = trainer._prepare_inputs(batch)
            with trainer.compute_loss_context_manager():
                loss = trainer.compute_loss(trainer.model, batch)
            loss.backward()
            return loss.item(), _gradients(trainer.model)

    def _trainer(
        self,
        loaded: Loaded,
        encoded: Sequence[Encoded],
        folder: str,
        *,
        max_steps: int = -1,
        whole: bool = False,
    ) -> Any:
        from datasets import Dataset
        from peft import LoraConfig
        from trl import SFTConfig, SFTTrainer

        rows = [
            {
                "input_ids": list(e.ids),
                "completion_mask": [0] * e.answer_start + [1] * e.answer_tokens,
            }
            for e in encoded
        ]
        more = dict(self.overrides)
        if self.packed:
            tokens = sum(len(e.ids) for e in encoded)
            room = tokens if whole else BATCH * tokens // len(encoded)
            more |= {"packing": True, "max_length": room, "per_device_train_batch_size": 1}
        return SFTTrainer(
            model=loaded.model,
            args=SFTConfig(
                output_dir=folder,
                num_train_epochs=1,
                max_steps=max_steps,
                learning_rate=LEARNING_RATE,
                report_to="none",
                save_strategy="no",
                disable_tqdm=True,
                completion_only_loss=True,  # its default for prompt and completion as text
                use_cpu=not torch.cuda.is_available(),
                seed=SEED,
                **more,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=loaded.renderer.tokenizer,
            peft_config=LoraConfig(
                r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"
            ),
        )


def alone(
    base: Loaded | ModelSettings, examples: Sequence[Encoded], method: Any = Lora
) -> tuple[float, Gradients]:
    """Loss and gradients by plain transformers and PEFT, one example at a time: the oracle."""
    answers, total = sum(e.answer_tokens for e in examples), 0.0
    with _base(base) as loaded:
        model = method().attach(loaded.model, settings_of())
        scatter(model)
        model.train()
        half = loaded.dtype != torch.float32
        for example in examples:
            ids = torch.tensor([example.ids], device=loaded.device)
            with torch.autocast(loaded.device.type, torch.bfloat16, enabled=half):
                logits = model(input_ids=ids, use_cache=False).logits[0]
            nll = torch.nn.functional.cross_entropy(
                logits[example.answer_start - 1 : -1].float(),
                ids[0, example.answer_start :],
                reduction="sum",
            )
            (nll / answers).backward()
            total += nll.item()
        return total / answers, _gradients(model)


@dataclass(frozen=True)
class Gate:
    """How far a side's loss and gradients are from the oracle's, as shares of theirs."""

    loss: float
    gradients: float

    def holds(self, dtype: torch.dtype) -> bool:
        """Apart by rounding alone."""
        wide = dtype == torch.float32
        return abs(self.loss) <= (1e-5 if wide else 1e-2) and self.gradients <= (
            1e-4 if wide else 5e-2
        )


def gate(side: Ours | Trl, oracle: tuple[float, Gradients], examples: Sequence[Encoded]) -> Gate:
    """A side held against the oracle on the same examples."""
    loss, found = side.gradients(examples)
    expected = oracle[1]
    if found.keys() != expected.keys():
        sys.exit("the sides do not train the same tensors")
    apart = sum(float((found[n].float() - expected[n].float()).square().sum()) for n in expected)
    size = sum(float(expected[n].float().square().sum()) for n in expected)
    return Gate(loss / oracle[0] - 1, (apart / size) ** 0.5)


def scatter(model: Any) -> None:
    """Give every trainable tensor the same small random values in every side: an adapter in the
    middle of its training, where both of its matrices have gradients."""
    for name, parameter in sorted(model.named_parameters()):
        if parameter.requires_grad:
            generator = torch.Generator().manual_seed(sum(name.encode()))
            drawn = 0.05 * torch.randn(parameter.shape, generator=generator)
            parameter.data.copy_(drawn.bfloat16())  # what every side can hold
            parameter.grad = None


def _gradients(model: Any) -> Gradients:
    return {n: p.grad.cpu() for n, p in model.named_parameters() if p.grad is not None}


@contextmanager
def _base(base: Loaded | ModelSettings) -> Iterator[Loaded]:
    """The base, given or loaded now; what a side has put on it is taken off behind it."""
    loaded = base if isinstance(base, Loaded) else load(base, four_bit=False)
    try:
        yield loaded
    finally:
        model = bare(loaded).model
        model.activation_checkpointing_disable()
        model.disable_input_require_grads()
        model.eval()


def settle() -> None:
    """Wait for the accelerator."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _measured(
    seconds: float, startup: float, encoded: Sequence[Encoded], peak: int, loss: float
) -> Measured:
    tokens = sum(len(e.ids) for e in encoded)
    return Measured(seconds, startup, len(encoded), tokens, peak, loss)


def final_loss(loaded: Loaded, encoded: Sequence[Encoded]) -> float:
    """Mean loss (nats) of an answer token over all rows, one row at a time, plain transformers."""
    loaded.model.eval()
    total, tokens = 0.0, 0
    with torch.inference_mode():
        for example in encoded:
            ids = torch.tensor([example.ids], device=loaded.device)
            logits = loaded.model(input_ids=ids).logits[0, example.answer_start - 1 : -1].float()
            target = ids[0, example.answer_start :]
            total += float(torch.nn.functional.cross_entropy(logits, target, reduction="sum"))
            tokens += len(target)
    return total / tokens


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Peak resident memory above the start, in bytes; on a GPU, peak allocated memory."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    process, found, over = psutil.Process(), [0], threading.Event()
    start = process.memory_info().rss
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()

    def watch() -> None:
        while not over.wait(0.05):
            found[0] = max(found[0], process.memory_info().rss - start)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
        if torch.cuda.is_available():
            found[0] = torch.cuda.max_memory_allocated()
