"""The plan's memory model against what PyTorch takes, a fresh process for each configuration.

Models of random weights are made from configurations, loaded and trained for two optimizer steps by
the package's own loop. Compared are the bytes of the adapter, of its gradients and of the
optimizer's moments, tensor by tensor (they must agree exactly), and the growth of the resident set:
its peak in training over what the process held before there was a model. Twice: with a heap that
gives back what is freed (glibc told to map every tensor by itself), which shows what the tensors
take; and with the heap as it comes, which keeps a part of it. On a machine with an NVIDIA GPU the
8B shape is measured by `torch.cuda.max_memory_allocated`.

    python benchmarks/memory_model.py [--json] [--only NAME] [--tensors-only] [--gpu-8b]
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib.metadata
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

SHAPES: dict[str, dict[str, int]] = {
    "6M": {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 6,
           "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 4096},
    "22M": {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 10,
            "num_attention_heads": 6, "num_key_value_heads": 3, "vocab_size": 8192},
    "100M": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12,
             "num_attention_heads": 12, "num_key_value_heads": 4, "vocab_size": 16384},
    "169M": {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 12,
             "num_attention_heads": 16, "num_key_value_heads": 4, "vocab_size": 16384},
    "8B": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
           "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256},
}  # fmt: skip
STEPS, SEED, ANSWER_SHARE = 2, 7, 0.2
TARGET_PERCENT = 10.0
GIVING_BACK = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}


@dataclass(frozen=True)
class Configuration:
    """One training: shape, quantisation, checkpointing, longest example, micro-batch, cut."""

    shape: str
    four_bit: bool
    checkpointing: bool
    length: int
    rows: int = 2
    accumulation: int = 1
    rank: int = 16

    @property
    def name(self) -> str:
        """Its name in the table."""
        parts = [self.shape, "4bit" if self.four_bit else "lora", str(self.length)]
        return "-".join([*parts, f"{self.rows}x{self.accumulation}"]) + (
            "-checkpointing" if self.checkpointing else ""
        )


CPU = (
    Configuration("22M", False, False, 256, rows=4),
    Configuration("22M", False, False, 1024),
    Configuration("22M", False, True, 1024),
    Configuration("22M", False, False, 512, rows=2, accumulation=2),
    Configuration("100M", False, False, 512),
    Configuration("100M", False, True, 512),
    Configuration("100M", True, False, 512),
    Configuration("100M", True, True, 512),
    Configuration("169M", False, False, 256, rank=32),
    Configuration("169M", True, False, 256, rank=32),
)
GPU_8B = (
    Configuration("8B", False, False, 1024, rows=4),
    Configuration("8B", False, True, 1024, rows=4),
    Configuration("8B", True, False, 1024, rows=4),
    Configuration("8B", True, True, 2048, rows=4),
)


def main() -> None:
    """Measure every configuration, print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    parser.add_argument("--only", help="only the configuration of this name")
    parser.add_argument("--tensors-only", action="store_true", help="not the heap as it comes")
    parser.add_argument("--gpu-8b", action="store_true", help="the 8B shape, on an NVIDIA GPU")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # the child's part
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(Configuration(**json.loads(arguments.one)))))
        return
    asked = GPU_8B if arguments.gpu_8b else CPU
    found = []
    for configuration in asked:
        if arguments.only in (None, configuration.name):
            one = _in_a_process(configuration, giving_back=True)
            if not (arguments.tensors_only or arguments.gpu_8b):
                whole = _in_a_process(configuration, giving_back=False)
                said, taken = one["estimated_bytes"] + one["estimated"]["heap"], "measured_bytes"
                one["heap_measured_bytes"] = whole[taken]
                one["heap_error_percent"] = round(100 * (said / whole[taken] - 1), 2)
            found.append(one)
            print(_line(one), file=sys.stderr, flush=True)
    if not found:
        sys.exit(f"no such configuration: {', '.join(c.name for c in asked)}")
    result = summary(found)
    if not arguments.json:
        print(
            f"\n{result['within_target']} of {len(found)} within {TARGET_PERCENT:g} %, "
            f"median error {result['median_error_percent']:+.1f} %, "
            f"largest {result['largest_error_percent']:+.1f} %; "
            f"adapter, gradients and moments exact: {result['states_exact']}",
            file=sys.stderr,
        )
    print(json.dumps(result))


def _in_a_process(configuration: Configuration, *, giving_back: bool) -> dict[str, Any]:
    """What a fresh interpreter measures: nothing is left in its heap by another configuration."""
    environment = dict(os.environ) | (GIVING_BACK if giving_back else {})
    done = subprocess.run(
        [sys.executable, __file__, "--one", json.dumps(asdict(configuration))],
        stdout=subprocess.PIPE,
        check=False,
        text=True,
        env=environment,
    )
    if done.returncode:
        sys.exit(f"{configuration.name} ended with {done.returncode}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(configuration: Configuration) -> dict[str, Any]:
    """Train two steps, and hold what was taken against what the plan says."""
    import torch

    from tunesmith.models.hardware import find_hardware
    from tunesmith.plan.memory import estimate_memory

    torch.manual_seed(SEED)
    hardware = find_hardware()
    cuda = hardware.device == "cuda"
    # No other type is trained in on a CPU without units for bfloat16.
    dtype = "bfloat16" if cuda else "float32"
    _warm_up(configuration, dtype, hardware)
    before = 0 if cuda else resident()
    loaded = make_model(configuration, dtype, hardware)
    settings, facts, encoded = planned(configuration, hardware, dtype)
    estimate = estimate_memory(settings, facts, checkpointing=configuration.checkpointing)
    held: dict[str, int] = {}
    with peak(cuda) as reached, counted(held):
        _train(loaded, settings, encoded)
    taken = reached[0] - before
    said = estimate.total - estimate.runtime - estimate.heap
    return {
        "name": configuration.name,
        **asdict(configuration),
        "parameters": facts.model.parameters,
        "tokens": round(sum(len(e.ids) for e in encoded) / STEPS),
        "estimated_bytes": said,
        "measured_bytes": taken,
        "error_percent": round(100 * (said / taken - 1), 2),
        "estimated": asdict(estimate),
        "adapter_bytes": held["adapter"],
        "gradient_bytes": held["gradients"],
        "optimizer_bytes": held["optimizer"],
        "states_exact": (held["adapter"], held["gradients"], held["optimizer"])
        == (estimate.adapter, estimate.gradients, estimate.optimizer),
        "before_bytes": before,
        "device": hardware.device_name if cuda else "cpu",
    }


def make_model(configuration: Configuration, dtype: str, hardware: Any) -> Any:
    """The base, made on the device from its configuration with random weights.

    In 4 bits it goes through a folder and the package's own loading, as a user's would.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tunesmith.config import ModelSettings
    from tunesmith.models.load import DTYPES, Loaded, load
    from tunesmith.models.render import Renderer

    tokenizer = _tokenizer()
    shape = LlamaConfig(
        **SHAPES[configuration.shape],
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        eos_token_id=1,
        pad_token_id=0,
    )
    device = torch.device(hardware.device)
    with device:
        torch.set_default_dtype(DTYPES[dtype])
        model = LlamaForCausalLM(shape)
        torch.set_default_dtype(torch.float32)
    if not configuration.four_bit:
        return Loaded(model, Renderer(tokenizer), "random", None, DTYPES[dtype], False, device)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        del model
        loaded = load(ModelSettings(name=folder, dtype=dtype), four_bit=True, hardware=hardware)
    for parameter in loaded.model.parameters():
        # The embeddings are views into the weights' file, whose pages count as resident while it
        # is mapped, though the system takes them back when it wants them.
        if parameter.is_floating_point():
            parameter.data = parameter.data.clone()
    return loaded


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1, "a": 2}, unk_token="a"))
    made = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", pad_token="<pad>")
    made.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    return made


def planned(configuration: Configuration, hardware: Any, dtype: str) -> tuple[Any, Any, Any]:
    """Settings, the facts that a plan would have, and examples of mixed lengths."""
    from tunesmith.config import TrainingSettings
    from tunesmith.models.render import Encoded
    from tunesmith.pipeline.planning import data_facts
    from tunesmith.plan import Facts
    from tunesmith.records import ModelFacts

    shape = SHAPES[configuration.shape]
    draw = random.Random(SEED)
    count = STEPS * configuration.rows * configuration.accumulation
    encoded = []
    for _ in range(count):
        length = draw.randint(configuration.length // 2, configuration.length)
        ids = (*(draw.randrange(3, shape["vocab_size"]) for _ in range(length - 1)), 1)
        encoded.append(Encoded(ids=ids, answer_start=length - int(ANSWER_SHARE * length)))
    settings = TrainingSettings(
        per_device_train_batch_size=configuration.rows,
        gradient_accumulation_steps=configuration.accumulation,
        num_train_epochs=1,
        lora_r=configuration.rank,
        gradient_checkpointing=configuration.checkpointing,
        eval_strategy="no",
        loss_spike_factor=0,
    )
    heads = shape["num_attention_heads"]
    model = ModelFacts(
        name="random",
        architecture="llama",
        parameters=_parameters(shape),
        layers=shape["num_hidden_layers"],
        hidden=shape["hidden_size"],
        intermediate=shape["intermediate_size"],
        heads=heads,
        key_value_heads=shape["num_key_value_heads"],
        head_dim=shape["hidden_size"] // heads,
        vocabulary=shape["vocab_size"],
        context=4096,
        tied_embeddings=False,
    )
    facts = Facts(
        data=data_facts(encoded),
        model=model,
        hardware=hardware,
        four_bit=configuration.four_bit,
        dtype=dtype,
    )
    return settings, facts, encoded


def _parameters(shape: dict[str, int]) -> int:
    """Parameters of the shape, counted on the meta device."""
    from transformers import LlamaConfig

    from tunesmith.models.load import skeleton

    made = skeleton(LlamaConfig(**shape, tie_word_embeddings=False))
    return sum(p.numel() for p in made.parameters())


def _train(loaded: Any, settings: Any, encoded: Any) -> None:
    from tunesmith.train.loop import TrainingJob, train
    from tunesmith.train.lora import Lora

    with tempfile.TemporaryDirectory() as folder:
        train(loaded, Lora(), TrainingJob("lora", encoded, (), settings, SEED, Path(folder)))


@contextmanager
def counted(held: dict[str, int]) -> Iterator[None]:
    """Bytes of the trainable tensors, their gradients and the optimizer's moments, at its step."""
    import torch
    from torch.optim.optimizer import (
        register_optimizer_step_post_hook,
        register_optimizer_step_pre_hook,
    )

    def at_step(optimizer: Any, *_: Any) -> None:
        tensors = [p for group in optimizer.param_groups for p in group["params"]]
        held["adapter"] = sum(p.nbytes for p in tensors)
        held["gradients"] = sum(p.grad.nbytes for p in tensors if p.grad is not None)

    def after_step(optimizer: Any, *_: Any) -> None:
        moments = [
            value
            for state in optimizer.state.values()
            for value in state.values()
            if isinstance(value, torch.Tensor) and value.ndim > 0
        ]
        held["optimizer"] = sum(t.nbytes for t in moments)

    hooks = [
        register_optimizer_step_pre_hook(at_step),
        register_optimizer_step_post_hook(after_step),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def peak(cuda: bool) -> Iterator[list[int]]:
    """The highest memory of the block in bytes: allocated on the GPU, or resident."""
    found = [0]
    if cuda:
        import torch

        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        yield found
        found[0] = torch.cuda.max_memory_allocated()
        return
    import psutil

    resident()  # gives back what loading left in the heap
    over, process = threading.Event(), psutil.Process()

    def watch() -> None:
        while not over.wait(0.002):
            found[0] = max(found[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


def resident() -> int:
    """Bytes that this process holds, after the heap has given back what is free."""
    import psutil

    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(psutil.Process().memory_info().rss)


def _warm_up(configuration: Configuration, dtype: str, hardware: Any) -> None:
    """Import what a training imports, and let threads, kernels and their buffers come to be, so
    that they count as the process and not as the model."""
    import torch

    SHAPES["warm"] = SHAPES["22M"] | {"hidden_size": 48, "intermediate_size": 64}
    SHAPES["warm"] |= {"num_hidden_layers": 1, "vocab_size": 64}
    warm = replace(configuration, shape="warm", length=16)
    loaded = make_model(warm, dtype, hardware)
    settings, _, encoded = planned(warm, hardware, dtype)
    _train(loaded, settings, encoded)
    torch.manual_seed(SEED)


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """All configurations, and how far the model is off."""
    errors = [each["error_percent"] for each in found]
    ratios = [each["estimated_bytes"] / each["measured_bytes"] for each in found]
    kept = [each["heap_error_percent"] for each in found if "heap_error_percent" in each]
    return {
        "ratio": round(statistics.median(ratios), 3),
        "median_error_percent": round(statistics.median(errors), 2),
        "median_absolute_error_percent": round(statistics.median(map(abs, errors)), 2),
        "largest_error_percent": max(errors, key=abs),
        "within_target": sum(abs(e) <= TARGET_PERCENT for e in errors),
        "target_percent": TARGET_PERCENT,
        "states_exact": all(each["states_exact"] for each in found),
        "heap_errors_percent": kept,
        "configurations": found,
        "steps": STEPS,
        "machine": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("tunesmith", "torch", "transformers", "peft", "bitsandbytes")
        },
    }


def _line(found: dict[str, Any]) -> str:
    mib = 2**20
    heap = found.get("heap_error_percent")
    kept = "" if heap is None else f"; with the heap as it comes {heap:+6.1f} %"
    return (
        f"{found['name']:32} estimated {found['estimated_bytes'] / mib:8,.0f} MiB, measured "
        f"{found['measured_bytes'] / mib:8,.0f} MiB: {found['error_percent']:+6.1f} %{kept}"
    )


if __name__ == "__main__":
    main()
