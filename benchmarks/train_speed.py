"""The training loop against a plain TRL SFTTrainer: tokens per second, peak memory, final loss.

    python benchmarks/train_speed.py [--json] [--rows 480] [--repeats 3]

480 OrgAccess rows (TUNESMITH_SHARED_DATA, or ../shared/data beside the checkout), one epoch, a
random Llama of 6 layers and width 256, LoRA of rank 16 on all linear layers, batches of 8, in one
process, the sides taking turns. Tokens are those of the rows, padding not counted, for both sides.

`trl`: SFTTrainer with its defaults (padding, gradient checkpointing, loss on the completion) in the
precision that this machine multiplies: its default bfloat16 where there are units for it, float32
where there are none. `trl_no_checkpointing`: the same without checkpointing, which is what an
expert would set here. `trl_bfloat16`: its true default on a machine without bfloat16 units, a few
steps only; it is no fair opponent there, and `ratio` leaves it out.

The final loss is taken over all rows with the finished adapter, by one and the same function.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # for every side; docs/pitfalls.md

import psutil
import torch

from tunesmith.config import ModelSettings, TrainingSettings
from tunesmith.models.hardware import cpu_has_fast_bf16
from tunesmith.models.load import Loaded, load, with_adapter
from tunesmith.models.render import Encoded
from tunesmith.records import Example
from tunesmith.tasks.access_decision import AccessDecision

REPOSITORY = Path(__file__).resolve().parent.parent
LEARNING_RATE, RANK, ALPHA, BATCH, SEED = 2e-4, 16, 32, 8, 42
FEW_STEPS = 4  # of an arm that is shown, not timed in earnest
VOCABULARY = 4096


@dataclass(frozen=True)
class Measured:
    """One training: seconds inside it, tokens of the rows, peak memory above the start, loss."""

    seconds: float
    tokens: int
    peak_bytes: int
    loss: float

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds


def main() -> None:
    """Measure every side, and print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    parser.add_argument("--rows", type=int, default=480)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        examples = read_rows(arguments.rows)
        make_base(base, examples)
        result = compare(base, examples, arguments.repeats)
    if not arguments.json:
        print(table(result), file=sys.stderr)
    print(json.dumps(result))


def read_rows(rows: int) -> list[Example]:
    """The first usable rows of OrgAccess easy, as the task renders them."""
    import pyarrow.parquet as pq

    from tunesmith.tasks.base import RowError

    folder = Path(os.environ.get("TUNESMITH_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    file = folder / "orgaccess" / "easy.parquet"
    if not file.exists():
        sys.exit(f"{file} is not there: set TUNESMITH_SHARED_DATA")
    task = AccessDecision()
    examples: list[Example] = []
    for row in pq.read_table(file).slice(0, 2 * rows).to_pylist():
        try:
            draft = task.shape(row)
        except RowError:
            continue
        examples.append(Example(tuple(draft.messages), draft.target, draft.label))
    return examples[:rows]


def make_base(folder: Path, examples: Sequence[Example]) -> None:
    """A random Llama of 6 layers and width 256 with a tokenizer made from the rows."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = (" ".join((*(m.content for m in e.messages), e.target)) for e in examples)
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<pad>"
    )
    wrapped.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(wrapped),
            hidden_size=256,
            intermediate_size=768,
            num_hidden_layers=6,
            num_attention_heads=8,
            num_key_value_heads=8,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=wrapped.eos_token_id,
            pad_token_id=wrapped.pad_token_id,
        )
    )
    model.save_pretrained(folder)
    wrapped.save_pretrained(folder)


def compare(base: Path, examples: Sequence[Example], repeats: int) -> dict[str, Any]:
    """Every side `repeats` times, taking turns; medians, spread, and the ratio."""
    fast_bf16 = torch.cuda.is_available() or cpu_has_fast_bf16()
    precision = "bfloat16" if fast_bf16 else "float32"
    settings = ModelSettings(name=str(base), dtype=precision)
    encoded = load(settings, four_bit=False).renderer.examples(examples)
    sides: dict[str, Callable[[], Measured]] = {
        "tunesmith": lambda: ours(settings, encoded),
        "trl": lambda: trl(settings, encoded, bf16=fast_bf16),
        "trl_no_checkpointing": lambda: trl(
            settings, encoded, bf16=fast_bf16, gradient_checkpointing=False
        ),
    }
    found: dict[str, list[Measured]] = {name: [] for name in sides}
    for turn in range(repeats):
        for name, side in sides.items():
            found[name].append(side())
            last = found[name][-1]
            print(
                f"{turn + 1}/{repeats} {name}: {last.rate:,.0f} tokens/s, loss {last.loss:.4f}",
                file=sys.stderr,
            )
    result: dict[str, Any] = {name: _summary(measured) for name, measured in found.items()}
    if not fast_bf16:
        shown = trl(settings, encoded, bf16=True, max_steps=FEW_STEPS)
        result["trl_bfloat16"] = {"tokens_per_second": round(shown.rate, 1), "steps": FEW_STEPS}
    ratios = [a.rate / b.rate for a, b in zip(found["tunesmith"], found["trl"], strict=True)]
    experts = [
        a.rate / b.rate
        for a, b in zip(found["tunesmith"], found["trl_no_checkpointing"], strict=True)
    ]
    loss, other = found["tunesmith"][-1].loss, found["trl"][-1].loss
    return {
        "ratio": round(statistics.median(ratios), 3),
        "ratio_spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "ratio_no_checkpointing": round(statistics.median(experts), 3),
        "loss_difference_percent": round(100 * (loss / other - 1), 3),
        **result,
        "rows": len(examples),
        "tokens_a_row": round(sum(len(e.ids) for e in encoded) / len(encoded), 1),
        "answer_share": round(
            sum(e.answer_tokens for e in encoded) / sum(len(e.ids) for e in encoded), 3
        ),
        "precision": precision,
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("tunesmith", "torch", "transformers", "trl", "peft", "accelerate")
        },
    }


def ours(settings: ModelSettings, encoded: Sequence[Encoded]) -> Measured:
    """Tunesmith's loop."""
    from tunesmith.train.loop import TrainingJob, train
    from tunesmith.train.lora import Lora

    training = TrainingSettings(
        learning_rate=LEARNING_RATE,
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        lora_r=RANK,
        lora_alpha=ALPHA,
        lr_scheduler_type="linear",
        warmup_steps=0,
        eval_strategy="no",
    )
    loaded = load(settings, four_bit=False)
    with tempfile.TemporaryDirectory() as folder, peak_memory() as peak:
        job = TrainingJob("lora", encoded, (), training, SEED, Path(folder))
        began = time.perf_counter()
        train(loaded, Lora(), job)
        seconds = time.perf_counter() - began
        loss = final_loss(with_adapter(loaded, Path(folder) / "adapter"), encoded)
    return Measured(seconds, sum(len(e.ids) for e in encoded), peak[0], loss)


def trl(
    settings: ModelSettings, encoded: Sequence[Encoded], *, max_steps: int = -1, **overrides: Any
) -> Measured:
    """TRL's SFTTrainer on the same tokens, with its defaults but for `overrides`."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    loaded = load(settings, four_bit=False)
    rows = [
        {"input_ids": list(e.ids), "completion_mask": [0] * e.answer_start + [1] * e.answer_tokens}
        for e in encoded
    ]
    with tempfile.TemporaryDirectory() as folder, peak_memory() as peak:
        trainer = SFTTrainer(
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
                **overrides,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=loaded.renderer.tokenizer,
            peft_config=LoraConfig(
                r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"
            ),
        )
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began
        seen = encoded if max_steps < 0 else encoded[: max_steps * BATCH]
        model = trainer.model.float() if max_steps < 0 else None
        loss = float("nan") if model is None else final_loss(_bare(loaded, model), encoded)
    return Measured(seconds, sum(len(e.ids) for e in seen), peak[0], loss)


def _bare(loaded: Loaded, model: Any) -> Loaded:
    from dataclasses import replace

    return replace(loaded, model=model)


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


def _summary(measured: Sequence[Measured]) -> dict[str, Any]:
    rates = [m.rate for m in measured]
    return {
        "tokens_per_second": round(statistics.median(rates), 1),
        "spread": [round(min(rates), 1), round(max(rates), 1)],
        "peak_mib": round(statistics.median(m.peak_bytes for m in measured) / 2**20, 1),
        "final_loss": round(measured[-1].loss, 5),
    }


def table(result: dict[str, Any]) -> str:
    """The figures in a table for people."""
    lines = [f"{'':22}{'tokens/s':>10}{'spread':>20}{'peak MiB':>10}{'loss':>9}"]
    for name in ("tunesmith", "trl", "trl_no_checkpointing"):
        side = result[name]
        low, high = side["spread"]
        lines.append(
            f"{name:22}{side['tokens_per_second']:>10,.0f}{f'{low:,.0f} to {high:,.0f}':>20}"
            f"{side['peak_mib']:>10,.0f}{side['final_loss']:>9.4f}"
        )
    if "trl_bfloat16" in result:
        side = result["trl_bfloat16"]
        lines.append(
            f"{'trl_bfloat16':22}{side['tokens_per_second']:>10,.0f}  ({side['steps']} steps)"
        )
    low, high = result["ratio_spread"]
    lines.append(
        f"\n{result['ratio']:.2f} times TRL's defaults ({low:.2f} to {high:.2f}), "
        f"{result['ratio_no_checkpointing']:.2f} times TRL without checkpointing; loss "
        f"{result['loss_difference_percent']:+.2f} %"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
