"""GRIT as a callback of other people's trainers: TRL's, and transformers' own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, TrainerCallback
from trl import SFTConfig, SFTTrainer

from tiny_models import load_base
from tunesmith.config import TrainingSettings
from tunesmith.config.grit import GritConfig
from tunesmith.errors import ConfigError, TrainingError
from tunesmith.models.adapters import take_off
from tunesmith.models.render import Encoded
from tunesmith.train.grit import Grit
from tunesmith.train.grit_callback import FILE, GritCallback
from tunesmith.train.job import TrainingJob, steps_of
from tunesmith.train.loop import train
from tunesmith.train.method import get_method

STEPS = 6
CONFIG = GritConfig(factor_update_freq=2, clip="plain", compact_at_end=False)


class Stop(TrainerCallback):
    """End a training behind a step, as if somebody had killed it there."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        control.should_training_stop = state.global_step >= self.step
        return control


def trainer_of(
    base: Path, rows: Sequence[Encoded], folder: Path, callbacks: list[TrainerCallback], **more: Any
) -> SFTTrainer:
    """TRL's trainer on the rows in their order, four a step."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    made = [
        {
            "input_ids": list(row.ids),
            "completion_mask": [0] * row.answer_start + [1] * row.answer_tokens,
        }
        for row in rows
    ]
    arguments = {
        "output_dir": str(folder),
        "max_steps": STEPS,
        "per_device_train_batch_size": 4,
        "learning_rate": 5e-3,
        "lr_scheduler_type": "constant",
        "report_to": "none",
        "save_strategy": "steps",
        "save_steps": 3,
        "bf16": False,
        "use_cpu": True,
        "disable_tqdm": True,
        "completion_only_loss": True,
        "train_sampling_strategy": "sequential",
        "gradient_checkpointing": False,
        "logging_steps": 1,
        **more,
    }
    return SFTTrainer(
        model=model,
        args=SFTConfig(**arguments),
        train_dataset=Dataset.from_list(made),
        processing_class=load_base(base).renderer.tokenizer,
        peft_config=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"),
        callbacks=callbacks,
    )


def adapter_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / f"checkpoint-{STEPS}" / "adapter_model.safetensors")


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_it_takes_the_steps_that_our_loop_takes(
    base_folder: Path, encoded: list[Encoded], settings: TrainingSettings, tmp_path: Path
) -> None:
    """Six steps, the adapter to 2e-6; without the callback it is another adapter."""
    keys = {"lr_scheduler_type": "constant", "eval_strategy": "no", "grit": CONFIG}
    settings = settings.model_copy(update=keys)
    loaded = load_base(base_folder)
    start = get_method("grit").attach(loaded.model, settings)
    first = {n: p.detach().clone() for n, p in start.named_parameters() if p.requires_grad}
    take_off(start)
    job = TrainingJob("grit", encoded, (), settings, 1, tmp_path / "ours")
    order = [encoded[i] for step in steps_of(job, STEPS) for i in step]
    torch.manual_seed(1)
    ours = train(load_base(base_folder), get_method("grit"), job)
    assert first
    found = {}
    for name, callbacks in (("grit", [GritCallback(CONFIG)]), ("lora", [])):
        trainer = trainer_of(base_folder, order, tmp_path / name, list(callbacks))
        _start_as_ours(trainer.model, base_folder, settings)
        trainer.train()
        found[name] = adapter_of(tmp_path / name)
    expected = load_file(ours.directory / "adapter_model.safetensors")
    assert apart(found["grit"], expected) < 2e-6
    assert apart(found["lora"], expected) > 1e-3


def _start_as_ours(model: PeftModel, base: Path, settings: TrainingSettings) -> None:
    """The adapter that our loop begins with under seed 1."""
    from transformers import set_seed

    loaded = load_base(base)
    set_seed(1)
    ours = get_method("lora").attach(loaded.model, settings)
    weights = {n: p for n, p in ours.named_parameters() if p.requires_grad}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data.copy_(weights[name])


@pytest.mark.parametrize("drop", [False, True])
def test_a_resumed_training_is_the_same_and_without_the_statistics_another(
    base_folder: Path, encoded: list[Encoded], tmp_path: Path, drop: bool
) -> None:
    """Bit-equal; this needs what is in the checkpoint: with other statistics it differs."""
    config = GritConfig(factor_update_freq=3, compact_at_end=False)
    trainer_of(base_folder, encoded, tmp_path / "whole", [GritCallback(config)]).train()
    stopped = trainer_of(base_folder, encoded, tmp_path / "cut", [GritCallback(config), Stop(3)])
    stopped.train()
    kept = tmp_path / "cut" / "checkpoint-3" / FILE
    if drop:
        state = load_file(kept)
        eye = {
            n: torch.eye(t.shape[-1]).expand_as(t).contiguous()
            for n, t in state.items()
            if n.endswith(".ema")
        }
        save_file(state | eye, kept)
    resumed = trainer_of(base_folder, encoded, tmp_path / "cut", [GritCallback(config)])
    resumed.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-3"))
    distance = apart(adapter_of(tmp_path / "cut"), adapter_of(tmp_path / "whole"))
    assert distance > 1e-5 if drop else distance == 0


def test_behind_the_training_the_hooks_are_off_and_small_ranks_load_in_peft(
    base_folder: Path, encoded: list[Encoded], tmp_path: Path
) -> None:
    callback = GritCallback(
        GritConfig(factor_update_freq=2, energy_threshold=0.6, compact_tolerance=9)
    )
    trainer = trainer_of(base_folder, encoded, tmp_path, [callback])
    trainer.train()
    model = trainer.model
    hooks = [m for m in model.modules() if m._forward_hooks]
    assert not [m for m in hooks if "lora" in type(m).__name__.lower()]
    assert callback.said and callback.reports()
    ranks = set(model.peft_config["default"].rank_pattern.values())
    assert ranks and max(ranks) <= 4 and min(ranks) < 4
    model.save_pretrained(tmp_path / "small")
    again = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32), tmp_path / "small"
    )
    ids = torch.tensor([encoded[0].ids])
    with torch.no_grad():
        expected, found = model.eval()(input_ids=ids).logits, again.eval()(input_ids=ids).logits
    assert torch.allclose(expected, found, atol=1e-5)


def test_float16_with_a_scaler_takes_the_scale_out_of_the_factors(
    base_folder: Path, encoded: list[Encoded]
) -> None:
    """Float16 passes with the loss scaled by 2^12 give float32's factors within 5 %, and a sum that
    overflowed leaves them as they were."""
    factors = {}
    for kind, scale in ((torch.float32, 1.0), (torch.float16, 4096.0)):
        model = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32)
        torch.manual_seed(3)
        model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
        grit = Grit(model, GritConfig(factor_update_freq=1))
        grit.begin(1)
        ids = torch.tensor([encoded[0].ids])
        with torch.autocast("cpu", dtype=kind, enabled=kind is torch.float16):
            loss = model(input_ids=ids, labels=ids).loss
        (loss * scale).backward()
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad /= scale
        grit.precondition(1, loss_scale=scale)
        factors[kind] = grit.seen.families[0].factors()
        before = grit.seen.families[0].ema.clone()
        grit.begin(2)
        (model(input_ids=ids, labels=ids).loss * float("inf")).backward()
        grit.precondition(2)
        assert torch.equal(grit.seen.families[0].ema, before)
    for exact, half in zip(factors[torch.float32], factors[torch.float16], strict=True):
        assert float((half - exact).norm() / exact.norm()) < 0.05


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (GritConfig(inner="sgd"), "a Trainer has its own"),
        (GritConfig(learning_rate=1e-3), "a Trainer has its own"),
        (GritConfig(fisher="sampled"), "no pass of its own"),
        (GritConfig(reprojection_freq=2, after="compact"), "checkpoints cannot be resumed"),
    ],
)
def test_what_a_trainer_must_be_told_is_refused(config: GritConfig, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        GritCallback(config)


def test_a_model_without_lora_is_refused(
    base_folder: Path, encoded: list[Encoded], tmp_path: Path
) -> None:
    trainer = trainer_of(base_folder, encoded, tmp_path, [GritCallback()])
    trainer.model = trainer.model_wrapped = trainer.model.unload()
    trainer.callback_handler.model = trainer.model
    for parameter in trainer.model.parameters():
        parameter.requires_grad_(True)
    with pytest.raises(TrainingError, match="no LoRA layer"):
        trainer.train()


def test_an_adapter_divided_among_processes_is_refused(base_folder: Path, tmp_path: Path) -> None:
    """FSDP2 over a mesh of one process: its parameters are as divided as those of many."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32),
        LoraConfig(r=4, target_modules="all-linear"),
    )
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
        with pytest.raises(TrainingError, match=r"q_proj: its adapter is divided among processes"):
            Grit(model, GritConfig())
    finally:
        dist.destroy_process_group()
