"""The methods beside LoRA: what each adds is what its paper and PEFT say, and the loop treats them
alike: they learn, resume to the bit, load in plain PEFT, and leave the base as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AdaLoraConfig, PeftModel, get_peft_model
from peft.tuners.adalora import SVDLinear
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from transformers import set_seed

from tiny_models import load_base
from tunesmith.config import ModelSettings, TrainingSettings
from tunesmith.errors import ModelError
from tunesmith.models.adapters import peft_unwarned, take_off, with_adapter, with_earlier
from tunesmith.models.hardware import four_bit_support
from tunesmith.models.load import Loaded, model_facts
from tunesmith.models.render import Encoded
from tunesmith.plan.memory import adapter_parameters
from tunesmith.records import Adapter, TrainingStep
from tunesmith.train.fused import fused_adapters
from tunesmith.train.job import TrainingJob
from tunesmith.train.loop import train
from tunesmith.train.method import check_attachable, get_method

METHODS = ("lora_plus", "riemannian", "dora", "adalora")
every_method = pytest.mark.parametrize("method", METHODS)
four_bit_here, why_not = four_bit_support()
nf4 = pytest.param(True, marks=pytest.mark.skipif(not four_bit_here, reason=why_not or "4-bit"))
either_base = pytest.mark.parametrize("four_bit", [False, nf4], ids=["float32", "nf4"])
# What each needs to learn something in so few steps.
RATES = {"lora_plus": 1e-3, "riemannian": 5e-3, "dora": 5e-3, "adalora": 3e-2}


class PowerCutError(Exception):
    """The machine dies here."""


def start(
    loaded: Loaded,
    method: str,
    encoded: list[Encoded],
    settings: TrainingSettings,
    directory: Path,
    on_step: Callable[[TrainingStep], None] = lambda _: None,
    **changes: Any,
) -> tuple[Adapter, list[TrainingStep], list[str]]:
    steps: list[TrainingStep] = []
    said: list[str] = []

    def heard(step: TrainingStep) -> None:
        steps.append(step)
        on_step(step)

    chosen = {"learning_rate": RATES[method], "num_train_epochs": 2} | changes
    job = TrainingJob(
        "variant",
        encoded,
        encoded[:4],
        TrainingSettings.model_validate(settings.model_dump() | chosen),
        1,
        directory,
        on_step=heard,
        say=said.append,
    )
    return train(loaded, get_method(method), job), steps, said


def logits(model: Any, example: Encoded) -> Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([example.ids])).logits[0]


def weights(adapter: Adapter) -> dict[str, Tensor]:
    return load_file(adapter.directory / "adapter_model.safetensors")


def plain_peft(base: Path, adapter: Adapter, *, four_bit: bool = False) -> PeftModel:
    """The adapter as a stranger loads it, with PEFT alone, on a fresh base."""
    model = load_base(base, four_bit=four_bit).model
    with peft_unwarned():
        return PeftModel.from_pretrained(model, str(adapter.directory)).eval()


@every_method
@either_base
def test_it_learns_loads_in_plain_peft_and_leaves_the_base(
    base_folder: Path,
    tmp_path: Path,
    encoded: list[Encoded],
    settings: TrainingSettings,
    method: str,
    four_bit: bool,
) -> None:
    loaded = load_base(base_folder, four_bit=four_bit)
    before = logits(loaded.model, encoded[0])
    adapter, steps, _ = start(
        loaded, method, encoded, settings, tmp_path, num_train_epochs=5, lr_scheduler_type="linear"
    )
    assert adapter.method == method
    assert steps[-1].loss < steps[0].loss - 0.5
    assert not hasattr(loaded.model, "peft_config")
    assert torch.equal(logits(loaded.model, encoded[0]), before)

    answering = with_adapter(loaded, adapter.directory)
    tuned = logits(answering.model, encoded[0])
    alone = plain_peft(base_folder, adapter, four_bit=four_bit)
    torch.testing.assert_close(logits(alone, encoded[0]), tuned, atol=0, rtol=0)
    assert (tuned - before).abs().max() > 0.1
    assert torch.equal(logits(take_off(answering.model), encoded[0]), before)
    assert adapter.bytes == (adapter.directory / "adapter_model.safetensors").stat().st_size


@every_method
@pytest.mark.parametrize("at", [3, 7, 10], ids="killed behind step {}".format)
def test_a_training_that_died_ends_as_if_it_had_not(
    base_folder: Path,
    tmp_path: Path,
    encoded: list[Encoded],
    settings: TrainingSettings,
    method: str,
    at: int,
) -> None:
    """Of 12 steps AdaLoRA cuts from 2 to 6; the newest checkpoint is one behind."""

    def die(step: TrainingStep) -> None:
        if step.step == at:
            raise PowerCutError

    noisy = {"lora_dropout": 0.1, "max_grad_norm": 0.5}
    expected, all_steps, _ = start(
        load_base(base_folder), method, encoded, settings, tmp_path / "whole", **noisy
    )
    saving = noisy | {"save_steps": 1}
    with pytest.raises(PowerCutError):
        start(load_base(base_folder), method, encoded, settings, tmp_path / "cut", die, **saving)
    adapter, rest, said = start(
        load_base(base_folder), method, encoded, settings, tmp_path / "cut", **saving
    )
    assert said[0] == f"variant: resumed at step {at - 1} of 12"
    assert [s.loss for s in rest] == [s.loss for s in all_steps[at - 1 :]]
    one, other = weights(adapter), weights(expected)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@every_method
def test_a_cut_batch_and_a_processor_with_bfloat16_are_no_matter(
    base_folder: Path,
    tmp_path: Path,
    encoded: list[Encoded],
    settings: TrainingSettings,
    method: str,
) -> None:
    whole = {"num_train_epochs": 1, "max_steps": 3}
    cut = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4}
    _, one, _ = start(
        load_base(base_folder), method, encoded, settings, tmp_path / "whole", **whole
    )
    _, other, _ = start(
        load_base(base_folder), method, encoded, settings, tmp_path / "cut", **whole, **cut
    )
    half = load_base(base_folder, dtype="bfloat16")
    _, rough, _ = start(half, method, encoded, settings, tmp_path / "half", **whole)
    assert [s.loss for s in other] == pytest.approx([s.loss for s in one], abs=1e-4)
    assert [s.loss for s in rough] == pytest.approx([s.loss for s in one], abs=0.1)


@every_method
def test_it_stands_beside_a_frozen_adapter_but_for_adalora(
    base_folder: Path,
    tmp_path: Path,
    encoded: list[Encoded],
    settings: TrainingSettings,
    method: str,
) -> None:
    earlier, _, _ = start(
        load_base(base_folder), "lora_plus", encoded, settings, tmp_path / "a", max_steps=2
    )
    loaded = with_earlier(load_base(base_folder), [earlier.directory])
    before = logits(loaded.model, encoded[0])
    if method == "adalora":
        with pytest.raises(ModelError, match="adalora cannot stand beside other adapters"):
            start(loaded, method, encoded, settings, tmp_path / "b")
    else:
        adapter, steps, _ = start(loaded, method, encoded, settings, tmp_path / "b")
        assert steps[-1].loss < steps[0].loss
        tuned = logits(with_adapter(loaded, adapter.directory).model, encoded[0])
        assert (tuned - before).abs().max() > 0.1
        take_off(loaded.model)
    assert torch.equal(logits(loaded.model, encoded[0]), before)


@pytest.mark.parametrize("method", ["lora", *METHODS])
def test_its_parameters_are_those_of_the_plan_and_it_fits_a_base_without_weights(
    base_folder: Path, settings: TrainingSettings, method: str
) -> None:
    for targets in ("all-linear", ("q_proj", "down_proj")):
        asked = settings.model_copy(update={"target_modules": targets, "lora_r": 5})
        check_attachable(method, ModelSettings.model_validate({"name": str(base_folder)}), asked)
        facts = model_facts(ModelSettings.model_validate({"name": str(base_folder)}))
        for dtype in ("float32", "bfloat16"):
            model = get_method(method).attach(load_base(base_folder, dtype=dtype).model, asked)
            learning = [p for p in model.parameters() if p.requires_grad]
            assert adapter_parameters(facts, 5, targets, method) == sum(map(torch.numel, learning))
            assert {p.dtype for p in learning} == {torch.float32}


@pytest.mark.parametrize("optim", ["adamw_torch", "sgd"])
def test_lora_plus_has_two_rates_and_the_schedule_scales_both(
    loaded: Loaded, settings: TrainingSettings, optim: str
) -> None:
    from tunesmith.train.optimizer import build_scheduler

    asked = settings.model_copy(
        update={"optim": optim, "weight_decay": 0.03, "lr_scheduler_type": "linear"}
    )
    method = get_method("lora_plus")
    model = method.attach(loaded.model, asked)
    optimizer, note = method.optimizer(model, asked, loaded.device, 10)
    scheduler = build_scheduler(optimizer, asked, 10)
    assert note == ""
    by_parameter = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    learning = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert len(by_parameter) == len(learning) == 28
    for share in (1.0, 0.9, 0.8):
        for name, parameter in learning.items():
            group = by_parameter[id(parameter)]
            rate = asked.learning_rate * (16 if "lora_B" in name else 1)
            assert group["lr"] == pytest.approx(share * rate)
            assert group["weight_decay"] == 0.03
        assert scheduler.get_last_lr()[0] == pytest.approx(share * asked.learning_rate)
        optimizer.step()
        scheduler.step()


def test_the_riemannian_step_is_the_closed_form(adapted_by: Callable[[str], Any]) -> None:
    """SGD with rate 1 and a decay: A falls by (B^T B + reg)^-1 dA and its decay, which no inverse
    multiplies; B by dB (A A^T + reg)^-1."""
    model, optimizer = adapted_by("riemannian")
    wanted = {}
    pairs = [
        (name, p, dict(model.named_parameters())[name.replace("lora_A", "lora_B")])
        for name, p in model.named_parameters()
        if "lora_A" in name
    ]
    eye = torch.eye(4, dtype=torch.float64)
    for name, a, b in pairs:
        a.grad, b.grad = torch.randn_like(a), torch.randn_like(b)
        x, y = a.detach().double(), b.detach().double()
        left = torch.linalg.inv(y.T @ y + 1e-2 * eye) @ a.grad.double()
        right = b.grad.double() @ torch.linalg.inv(x @ x.T + 1e-2 * eye)
        wanted[name] = (x - 1e-3 * (left + 0.1 * x), y - 1e-3 * (right + 0.1 * y))
    optimizer.step()
    assert len(pairs) == 14
    for name, a, b in pairs:
        torch.testing.assert_close(a.detach().double(), wanted[name][0], atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(b.detach().double(), wanted[name][1], atol=1e-6, rtol=1e-4)


@pytest.fixture
def adapted_by(loaded: Loaded, settings: TrainingSettings) -> Callable[[str], Any]:
    """A model in the middle of a training (B is not zero), and SGD with rate 1e-3 and a decay."""

    def make(name: str) -> Any:
        asked = settings.model_copy(
            update={"optim": "sgd", "learning_rate": 1e-3, "weight_decay": 0.1}
        )
        method = get_method(name)
        model = method.attach(loaded.model, asked)
        torch.manual_seed(5)
        for key, parameter in model.named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(parameter, std=0.1)
        return model, method.optimizer(model, asked, loaded.device, 10)[0]

    return make


@either_base
def test_dora_begins_as_the_base_with_the_lengths_of_its_rows(
    base_folder: Path, encoded: list[Encoded], settings: TrainingSettings, four_bit: bool
) -> None:
    loaded = load_base(base_folder, four_bit=four_bit)
    before = logits(loaded.model, encoded[0])
    model = get_method("dora").attach(loaded.model, settings)
    torch.testing.assert_close(logits(model, encoded[0]), before, atol=2e-5, rtol=1e-5)
    with fused_adapters(model) as short:
        assert short == 0  # the short path knows no magnitudes
    lengths = {n: p for n, p in model.named_parameters() if "magnitude" in n and p.requires_grad}
    assert len(lengths) == 14
    if not four_bit:
        for name, length in lengths.items():
            layer = model.get_submodule(name.partition(".lora_magnitude")[0])
            torch.testing.assert_close(length.detach(), layer.base_layer.weight.norm(dim=1))


def test_adalora_alone_is_the_same_as_pefts_own_loop(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    """The same schedule with PEFT's forward (which adds the penalty to the loss), AdamW and
    `update_and_allocate` as its documentation has it: one example a row, plain padding."""
    asked = settings.model_copy(
        update={"learning_rate": 3e-2, "max_grad_norm": 0.0, "lr_scheduler_type": "constant"}
    )
    chosen = {**asked.model_dump(), "num_train_epochs": 3, "packing": False}
    order = [list(range(k, k + 4)) for k in range(0, 24, 4)] * 3
    job = TrainingJob(
        "adalora",
        encoded,
        (),
        TrainingSettings.model_validate(chosen),
        1,
        tmp_path,
        order=order,
    )
    adapter = train(load_base(base_folder), get_method("adalora"), job)
    ours = weights(adapter)
    written = json.loads((adapter.directory / "adapter_config.json").read_text("utf-8"))
    schedule = ("total_step", "tinit", "tfinal", "deltaT", "init_r", "target_r", "lora_alpha")
    assert [written[key] for key in schedule] == [18, 2, 9, 1, 6, 4, 12.0]

    base = load_base(base_folder).model
    config = AdaLoraConfig(
        task_type="CAUSAL_LM",
        target_modules="all-linear",
        orth_reg_weight=0.1,
        **{key: written[key] for key in schedule},
    )
    set_seed(1)
    model = get_peft_model(base, config).train()
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=3e-2, weight_decay=0.0)
    for number, indices in enumerate(order, start=1):
        answers = sum(encoded[i].answer_tokens for i in indices)
        for i in indices:
            ids = torch.tensor([encoded[i].ids])
            labels = ids.clone()
            labels[:, : encoded[i].answer_start] = -100
            out = model(input_ids=ids, labels=labels)
            mean = functional.cross_entropy(out.logits[0, :-1], labels[0, 1:])
            penalty = out.loss - mean  # PEFT's loss is this example's mean, and the penalty
            share = encoded[i].answer_tokens / answers
            (mean * share + penalty / len(indices)).backward()
        optimizer.step()
        model.base_model.update_and_allocate(number)
        optimizer.zero_grad()
    mine = with_adapter(load_base(base_folder), adapter.directory).model
    kept = {"ours": 0, "theirs": 0}
    for name, layer in model.named_modules():
        if isinstance(layer, SVDLinear):
            same = mine.get_submodule(name)
            update, wanted = (m.get_delta_weight("default").detach() for m in (same, layer))
            torch.testing.assert_close(update, wanted, atol=2e-4, rtol=2e-3)
            kept["ours"] += int((same.lora_E["default"] != 0).sum())
            kept["theirs"] += int((layer.lora_E["default"] != 0).sum())
    assert kept == {"ours": 4 * 14, "theirs": 4 * 14}
    assert sum(e.numel() for n, e in ours.items() if "lora_E" in n) >= 4 * 14


def test_adalora_cuts_to_the_budget_and_the_best_step_has_the_directions_of_its_time(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    """Asked for the highest loss, a training that learns has its best step before any cut."""
    adapter, _, said = start(
        load_base(base_folder), "adalora", encoded, settings, tmp_path / "last", num_train_epochs=4
    )
    kept = sum(int((e != 0).sum()) for n, e in weights(adapter).items() if "lora_E" in n)
    assert kept == 4 * 14
    assert f"adalora keeps {kept} of {6 * 14} directions" in said[-1]
    assert adapter.trainable_parameters > sum(w.numel() for w in weights(adapter).values())

    best = {
        "eval_strategy": "steps",
        "eval_steps": 1,
        "load_best_model_at_end": True,
        "greater_is_better": True,
    }
    first, _, said = start(
        load_base(base_folder), "adalora", encoded, settings, tmp_path / "best", **best
    )
    assert first.steps == 1
    assert f"adalora keeps {6 * 14} of {6 * 14} directions" in said[-1]
    assert {len(e) for n, e in weights(first).items() if "lora_E" in n} == {6}
    plain_peft(base_folder, first)
