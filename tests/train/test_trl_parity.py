"""With TRL's defaults in the recipe, twenty steps lose what TRL's own SFTTrainer loses.

The same base, adapter, examples, order and seed; TRL tokenises, masks, pads, schedules and steps
with its own code. Its order is the one its sampler drew, read off the batches that it collated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig
from torch import Tensor

from tiny_models import END, load_base, questions
from tunesmith.config import TrainingSettings
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded
from tunesmith.records import Example, TrainingStep
from tunesmith.train.loop import TrainingJob, train
from tunesmith.train.method import get_method

STEPS, BATCH, SEED = 20, 8, 42
# SFTConfig's defaults (TRL 1.16, transformers 5.23) in the words of a recipe.
TRL_DEFAULTS = {
    "learning_rate": 2e-5,
    "lr_scheduler_type": "linear",
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "max_grad_norm": 1.0,
    "per_device_train_batch_size": BATCH,
    "lora_r": 16,
    "lora_alpha": 32,
    "max_steps": STEPS,
}


class Recorder:
    """TRL's collator, with a note of which examples came by."""

    def __init__(self, collate: Any, examples: list[Encoded]) -> None:
        self.collate = collate
        self.index = {e.ids: i for i, e in enumerate(examples)}
        self.batches: list[list[int]] = []

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Tensor]:
        self.batches.append([self.index[tuple(f["input_ids"])] for f in features])
        return self.collate(features)


def with_trl(
    loaded: Loaded, examples: list[Example], encoded: list[Encoded], out: Path, **changes: Any
) -> tuple[list[dict[str, float]], list[list[int]]]:
    """What SFTTrainer logs at each step, and the examples of each step."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = [
        {"prompt": loaded.renderer.prompt_text(e.messages), "completion": e.target + END}
        for e in examples
    ]
    config = SFTConfig(
        output_dir=str(out),
        max_steps=STEPS,
        seed=SEED,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,  # TRL's default; not every processor has it
        **changes,
    )
    trainer = SFTTrainer(
        model=loaded.model,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=loaded.renderer.tokenizer,
        peft_config=LoraConfig(
            task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear"
        ),
    )
    recorder = Recorder(trainer.data_collator, encoded)
    trainer.data_collator = recorder
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    flat = [i for batch in recorder.batches for i in batch]
    return logs, [flat[k : k + BATCH] for k in range(0, len(flat), BATCH)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="defaults"),
        pytest.param({"learning_rate": 5e-3, "weight_decay": 0.1}, id="steep"),
        pytest.param(
            {
                "learning_rate": 5e-3,
                "per_device_train_batch_size": 2,
                "gradient_accumulation_steps": 4,
            },
            id="accumulated",
        ),
    ],
)
def test_twenty_steps_lose_what_trl_loses(
    base_folder: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    examples = questions(STEPS * BATCH, seed=5)
    theirs = load_base(base_folder)
    encoded = theirs.renderer.examples(examples)
    logs, order = with_trl(theirs, examples, encoded, tmp_path / "trl", **changes)
    assert len(logs) == len(order) == STEPS
    assert order[0] != sorted(order[0])  # TRL shuffled

    for packing in (True, False):
        steps: list[TrainingStep] = []
        job = TrainingJob(
            name="ours",
            train=encoded,
            validation=(),
            settings=TrainingSettings.model_validate(TRL_DEFAULTS | changes | {"packing": packing}),
            seed=SEED,
            directory=tmp_path / f"ours-{packing}",
            on_step=steps.append,
            order=order,
        )
        train(load_base(base_folder), get_method("lora"), job)
        assert_parity(steps, logs)
    if "learning_rate" in changes:
        assert logs[0]["loss"] - logs[-1]["loss"] > 2  # steps that say something


def assert_parity(steps: list[TrainingStep], logs: list[dict[str, float]]) -> None:
    """Losses to three decimals and better (measured: 1.1e-6), gradients and rates too."""
    worst = max(abs(s.loss - log["loss"]) for s, log in zip(steps, logs, strict=True))
    assert worst < 5e-5, f"largest difference of a step's loss: {worst:.2e}"
    assert [s.grad_norm for s in steps] == pytest.approx([e["grad_norm"] for e in logs], rel=1e-4)
    assert [s.learning_rate for s in steps] == pytest.approx([e["learning_rate"] for e in logs])
