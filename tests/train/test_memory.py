"""Memory that does not suffice: smaller micro-batches, the same mathematics, nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_post_hook

from tiny_models import load_base
from tunesmith.config import TrainingSettings
from tunesmith.errors import TrainingError
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded
from tunesmith.records import Adapter, TrainingStep
from tunesmith.train.computing import Computation
from tunesmith.train.job import TrainingJob
from tunesmith.train.loop import train
from tunesmith.train.memory import Cut, forget_peak, is_out_of_memory, memory_used
from tunesmith.train.method import get_method
from tunesmith.train.signals import StopSignals


def allocate_too_much() -> None:
    """The allocator's own refusal: a petabyte."""
    torch.empty(2**50, dtype=torch.uint8)


def small_memory(loaded: Loaded, fits: Callable[[Any, int], bool]) -> Loaded:
    """A base whose forward asks for more than there is unless `fits(model, tokens)`."""

    def refuse(model: Any, _: Any, arguments: dict[str, Any]) -> None:
        if not fits(model, arguments["input_ids"].numel()):
            allocate_too_much()

    loaded.model.register_forward_pre_hook(refuse, with_kwargs=True)
    return loaded


def run(
    loaded: Loaded, encoded: list[Encoded], directory: Path, settings: TrainingSettings
) -> tuple[Adapter, list[TrainingStep], list[str]]:
    steps: list[TrainingStep] = []
    said: list[str] = []
    job = TrainingJob(
        "lora", encoded, encoded[:8], settings, 1, directory, on_step=steps.append, say=said.append
    )
    return train(loaded, get_method("lora"), job), steps, said


def assert_same(one: tuple[Adapter, list[TrainingStep], Any], other: Any) -> None:
    assert [s.loss for s in one[1]] == pytest.approx([s.loss for s in other[1]], rel=1e-5)
    assert [s.tokens for s in one[1]] == [s.tokens for s in other[1]]
    assert one[1][-1].validation_loss == pytest.approx(other[1][-1].validation_loss, rel=1e-5)
    weights, expected = (
        load_file(a.directory / "adapter_model.safetensors") for a in (one[0], other[0])
    )
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-5)


def test_real_refusals_are_known_and_other_errors_are_not() -> None:
    with pytest.raises(RuntimeError) as refused:
        allocate_too_much()
    assert is_out_of_memory(refused.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    with pytest.raises(RuntimeError) as other:
        torch.zeros(2) @ torch.zeros(3)
    assert not is_out_of_memory(other.value)
    assert not is_out_of_memory(ValueError("out of memory"))


def test_cuts_become_smaller_down_to_one_example_with_checkpointing() -> None:
    cut: Cut | None = Cut(7, checkpointing=False)
    said = []
    while cut is not None:
        said.append(str(cut))
        cut = cut.smaller()
    assert said == [
        "micro-batches of 7 examples",
        "micro-batches of 3 examples",
        "micro-batches of 1 example",
        "micro-batches of 1 example with gradient checkpointing",
    ]


@pytest.mark.parametrize("packing", [True, False])
def test_a_smaller_cut_gives_the_same_training(
    base_folder: Path,
    tmp_path: Path,
    encoded: list[Encoded],
    settings: TrainingSettings,
    packing: bool,
) -> None:
    """From the third step on only 150 tokens fit, where eight examples have about 450."""
    wide = settings.model_copy(update={"per_device_train_batch_size": 8, "packing": packing})
    expected = run(load_base(base_folder), encoded, tmp_path / "plenty", wide)
    tight = load_base(base_folder)
    calls = 0

    def fits(_: Any, tokens: int) -> bool:
        nonlocal calls
        calls += 1
        return tokens <= (150 if calls > 8 else 10**9)

    found = run(small_memory(tight, fits), encoded, tmp_path / "tight", wide)
    assert_same(found, expected)
    assert all("can't allocate memory" in line for line in found[2])
    assert "micro-batches of 4 examples from here on, the effective batch stays 8" in found[2][0]
    assert not expected[2]


def test_a_single_example_that_does_not_fit_turns_checkpointing_on(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    expected = run(load_base(base_folder), encoded, tmp_path / "plenty", settings)
    tight = small_memory(
        load_base(base_folder), lambda model, tokens: tokens < 30 or model.is_gradient_checkpointing
    )
    found = run(tight, encoded, tmp_path / "tight", settings)
    assert_same(found, expected)
    assert "micro-batches of 1 example with gradient checkpointing" in found[2][-1]
    assert not tight.model.is_gradient_checkpointing


def test_where_nothing_smaller_is_left_the_run_stops_with_advice_and_its_checkpoint(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    steps: list[TrainingStep] = []
    tight = small_memory(load_base(base_folder), lambda *_: len(steps) < 2)
    saving = settings.model_copy(update={"save_steps": 1, "eval_strategy": "no"})
    job = TrainingJob("lora", encoded, (), saving, 1, tmp_path, on_step=steps.append)
    with pytest.raises(TrainingError, match=r"memory of cpu is not enough: .* \(at step 3\)") as it:
        train(tight, get_method("lora"), job)
    assert "load_in_4bit" in it.value.hint
    assert (tmp_path / "checkpoint-2").is_dir()
    assert not hasattr(tight.model, "peft_config")
    said: list[str] = []
    roomy = TrainingJob("lora", encoded, (), saving, 1, tmp_path, say=said.append)
    assert train(load_base(base_folder), get_method("lora"), roomy).steps == 6
    assert said == ["lora: resumed at step 2 of 6"]


def test_whoever_asks_for_a_training_may_say_what_would_help(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    tight = small_memory(load_base(base_folder), lambda *_: False)
    job = TrainingJob("lora", encoded, (), settings, 1, tmp_path, advice=lambda: "rent an A40")
    with pytest.raises(TrainingError) as stopped:
        train(tight, get_method("lora"), job)
    assert stopped.value.hint == "rent an A40"


def test_an_optimizer_that_finds_no_memory_stops_the_run_and_spoils_no_checkpoint(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    """A step that is half taken cannot be taken again: the last checkpoint is what is left."""
    saving = settings.model_copy(update={"save_steps": 1, "eval_strategy": "no"})
    whole, _, _ = run(load_base(base_folder), encoded, tmp_path / "whole", saving)
    steps: list[TrainingStep] = []

    def refuse(*_: Any) -> None:
        if len(steps) == 2:
            allocate_too_much()

    job = TrainingJob("lora", encoded, encoded[:8], saving, 1, tmp_path, on_step=steps.append)
    hook = register_optimizer_step_post_hook(refuse)  # the parameters have changed by then
    try:
        with pytest.raises(TrainingError, match="memory of cpu is not enough") as stopped:
            train(load_base(base_folder), get_method("lora"), job)
    finally:
        hook.remove()
    assert "tunesmith plan" in (stopped.value.hint or "")
    assert (stopped.value.hint or "").endswith("goes on from checkpoint-2")
    found, _, said = run(load_base(base_folder), encoded, tmp_path, saving)
    assert said == ["lora: resumed at step 2 of 6"]
    expected = load_file(whole.directory / "adapter_model.safetensors")
    for name, tensor in load_file(found.directory / "adapter_model.safetensors").items():
        assert torch.equal(tensor, expected[name])


def test_a_resumed_run_keeps_its_cut_and_ends_equal_to_the_bit(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    def tight() -> Loaded:
        return small_memory(load_base(base_folder), lambda _, tokens: tokens <= 150)

    saving = settings.model_copy(update={"save_steps": 2})
    whole = run(tight(), encoded, tmp_path / "whole", saving)

    class PowerCutError(Exception):
        pass

    def cut(step: TrainingStep) -> None:
        if step.step == 5:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        job = TrainingJob("lora", encoded, (), saving, 1, tmp_path / "cut", on_step=cut)
        train(tight(), get_method("lora"), job)
    adapter, rest, said = run(tight(), encoded, tmp_path / "cut", saving)
    assert said == ["lora: resumed at step 4 of 6"]
    assert [s.loss for s in rest] == [s.loss for s in whole[1][4:]]
    for name, tensor in load_file(adapter.directory / "adapter_model.safetensors").items():
        expected = load_file(whole[0].directory / "adapter_model.safetensors")[name]
        assert torch.equal(tensor, expected)


def test_a_failed_try_leaves_no_gradient_and_no_random_number_behind(
    loaded: Loaded, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    noisy = settings.model_copy(update={"lora_dropout": 0.1})
    job = TrainingJob("lora", encoded, (), noisy, 1, tmp_path)
    method = get_method("lora")
    model = method.attach(loaded.model, noisy)
    compute = Computation(loaded, model, method, job, StopSignals())
    drawn: list[float] = []

    def work() -> None:
        drawn.append(float(torch.rand(())))
        assert all(p.grad is None for p in compute.trainable)
        compute.gradients(encoded[:4], 1)
        if compute.cut.rows > 1:
            allocate_too_much()

    with compute.ready():
        compute.fitting(work, 1)
    assert compute.cut == Cut(1, checkpointing=False)
    assert drawn == [drawn[0]] * 3
    assert any(p.grad is not None for p in compute.trainable)


CHILD = """
import json, resource, sys
from pathlib import Path
import psutil, torch
from tiny_models import START, END, tiny_llama, tiny_tokenizer
from tunesmith.config import TrainingSettings
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded, Renderer
from tunesmith.train.job import TrainingJob
from tunesmith.train.loop import train
from tunesmith.train.method import get_method

room = int(sys.argv[2]) * 2**20
tokenizer = tiny_tokenizer()
model = tiny_llama(
    len(tokenizer), hidden_size=256, intermediate_size=1024, num_hidden_layers=4, head_dim=64
)
loaded = Loaded(
    model=model, renderer=Renderer(tokenizer), name="wide", revision=None, dtype=torch.float32,
    quantised=False, device=torch.device("cpu"),
)
end = tokenizer.eos_token_id
draw = torch.Generator().manual_seed(5)
examples = [
    Encoded((*torch.randint(4, 300, (length,), generator=draw).tolist(), end), length - 5)
    for length in range(80, 112)
]
settings = TrainingSettings(
    per_device_train_batch_size=32, num_train_epochs=4, lora_r=4, warmup_steps=0
)
losses = []

def on_step(step):
    losses.append(step.loss)
    if step.step == 1 and room:  # from here on the process may grow by so much
        limit = psutil.Process().memory_info().vms + room
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

job = TrainingJob(
    "lora", examples, (), settings, 1, Path(sys.argv[1]), on_step=on_step,
    say=lambda line: print(line, file=sys.stderr),
)
train(loaded, get_method("lora"), job)
print(json.dumps(losses))
"""


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the peak is counted on a GPU")
def test_the_peak_is_that_of_one_training() -> None:
    """A gigabyte that an earlier one took, and gave back, is not in it."""
    device = torch.device("cuda")
    torch.empty(2**30, dtype=torch.uint8, device=device)
    assert memory_used(device) >= 2**30
    forget_peak(device)
    assert memory_used(device) < 2**30


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS bounds a process on Linux alone")
def test_an_allocator_that_the_system_refuses_memory_is_served_with_less(tmp_path: Path) -> None:
    """setrlimit(RLIMIT_AS) makes mmap(2) fail, and torch's CPU allocator with it."""
    tests = Path(__file__).resolve().parent.parent
    paths = [str(tests), str(tests.parent / "src"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "MALLOC_ARENA_MAX": "1",  # else each thread sets address space aside
        "MALLOC_MMAP_THRESHOLD_": "65536",  # what is freed goes back at once
    }
    told = {}
    for name, room in (("plenty", "0"), ("tight", "100")):
        told[name] = subprocess.run(
            [sys.executable, "-c", CHILD, str(tmp_path / name), room],
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert told[name].returncode == 0, told[name].stderr
    plenty, tight = (json.loads(told[n].stdout) for n in ("plenty", "tight"))
    assert tight == pytest.approx(plenty, rel=1e-5)
    assert "not enough memory at step 2" in told["tight"].stderr
    assert "the effective batch stays 32" in told["tight"].stderr
