"""The loop on a real, tiny model: what it trains, what it reports, what it leaves behind."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from tiny_models import load_base, questions, tiny_llama
from tunesmith.config import TrainingSettings
from tunesmith.errors import ConfigError, DataError, ModelError, TrainingError
from tunesmith.models.adapters import with_adapter
from tunesmith.models.generate import generate
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded
from tunesmith.records import Adapter, TrainingStep
from tunesmith.train.loop import TrainingJob, count_steps, steps_of, train
from tunesmith.train.method import get_method


def run(
    loaded: Loaded,
    examples: Sequence[Encoded],
    settings: TrainingSettings,
    directory: Path,
    *,
    validation: Sequence[Encoded] = (),
    **changes: Any,
) -> tuple[Adapter, list[TrainingStep], list[str]]:
    """Train; the adapter, the steps reported and the lines said."""
    steps: list[TrainingStep] = []
    said: list[str] = []
    job = TrainingJob(
        name="variant",
        train=examples,
        validation=validation,
        settings=TrainingSettings.model_validate(settings.model_dump() | changes),
        seed=1,
        directory=directory,
        on_step=steps.append,
        say=said.append,
    )
    return train(loaded, get_method("lora"), job), steps, said


def weights(adapter: Adapter) -> dict[str, Tensor]:
    return load_file(adapter.directory / "adapter_model.safetensors")


def logits(model: Any, example: Encoded) -> Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([example.ids])).logits[0]


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize(("rows", "accumulation"), [(1, 8), (2, 4), (4, 2)])
def test_training_does_not_depend_on_how_the_effective_batch_is_cut(
    base_folder: Path,
    tmp_path: Path,
    encoded: list[Encoded],
    settings: TrainingSettings,
    packing: bool,
    rows: int,
    accumulation: int,
) -> None:
    whole = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "packing": False}
    cut = {
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": accumulation,
        "packing": packing,
    }
    _, expected, _ = run(load_base(base_folder), encoded, settings, tmp_path / "a", **whole)
    _, steps, _ = run(load_base(base_folder), encoded, settings, tmp_path / "b", **cut)
    assert [s.loss for s in steps] == pytest.approx([s.loss for s in expected], abs=2e-6)
    assert [s.grad_norm for s in steps] == pytest.approx([s.grad_norm for s in expected], rel=1e-5)
    assert [s.tokens for s in steps] == [s.tokens for s in expected]


def test_the_same_seed_gives_the_same_adapter_and_another_seed_another(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    made = {}
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        job = TrainingJob(name, encoded, (), settings, seed, tmp_path / name)
        made[name] = weights(train(load_base(base_folder), get_method("lora"), job))
    assert all(torch.equal(made["first"][k], made["again"][k]) for k in made["first"])
    assert not all(torch.equal(made["first"][k], made["other"][k]) for k in made["first"])


def test_the_adapter_is_a_plain_peft_directory_that_peft_alone_loads(
    base_folder: Path,
    loaded: Loaded,
    tmp_path: Path,
    encoded: list[Encoded],
    settings: TrainingSettings,
) -> None:
    adapter, steps, _ = run(loaded, encoded, settings, tmp_path)
    ours = logits(with_adapter(load_base(base_folder), adapter.directory).model, encoded[0])
    plain_base = AutoModelForCausalLM.from_pretrained(str(base_folder), dtype=torch.float32)
    before = logits(plain_base, encoded[0])
    plain = PeftModel.from_pretrained(plain_base, str(adapter.directory)).eval()
    torch.testing.assert_close(logits(plain, encoded[0]), ours, atol=0, rtol=0)
    assert (ours - before).abs().max() > 0.1
    assert adapter.bytes == (adapter.directory / "adapter_model.safetensors").stat().st_size
    assert adapter.trainable_parameters == sum(w.numel() for w in weights(adapter).values())
    assert adapter.tokens == sum(len(e.ids) for e in encoded) == sum(s.tokens for s in steps)
    assert adapter.final_loss == steps[-1].loss


def test_the_base_is_left_as_it_was_and_can_be_trained_on_again(
    loaded: Loaded, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    before = logits(loaded.model, encoded[0])
    first, _, _ = run(loaded, encoded, settings, tmp_path / "first")
    assert torch.equal(logits(loaded.model, encoded[0]), before)
    assert not hasattr(loaded.model, "peft_config")
    second, _, _ = run(loaded, encoded, settings, tmp_path / "second")
    assert all(torch.equal(weights(first)[k], weights(second)[k]) for k in weights(first))


def test_a_training_that_diverges_says_so_and_leaves_the_base_plain(
    loaded: Loaded, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    before = logits(loaded.model, encoded[0])
    with pytest.raises(TrainingError, match=r"variant: the .* (nan|inf) at step \d") as caught:
        run(loaded, encoded, settings, tmp_path, learning_rate=1e30, max_grad_norm=0, optim="sgd")
    assert "learning_rate" in caught.value.hint
    assert torch.equal(logits(loaded.model, encoded[0]), before)
    assert not hasattr(loaded.model, "peft_config")
    run(loaded, encoded, settings, tmp_path / "again")


def test_a_vanishing_learning_rate_changes_no_answer(
    loaded: Loaded, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    before = logits(loaded.model, encoded[0])
    adapter, steps, _ = run(loaded, encoded, settings, tmp_path, learning_rate=1e-30)
    assert torch.equal(logits(with_adapter(loaded, adapter.directory).model, encoded[0]), before)
    assert all(s.grad_norm > 0 for s in steps)


def test_the_end_of_the_turn_is_learnt(
    loaded: Loaded, tmp_path: Path, settings: TrainingSettings
) -> None:
    """A model trained on a handful of answers says them and stops there."""
    examples = questions(3)
    encoded = loaded.renderer.examples(examples)
    adapter, _, _ = run(
        loaded, encoded, settings, tmp_path, num_train_epochs=60, learning_rate=1e-2, lora_r=16
    )
    tuned = with_adapter(loaded, adapter.directory).model
    end = loaded.renderer.tokenizer.eos_token_id
    for one, example in zip(encoded, examples, strict=True):
        prompt = torch.tensor([one.ids[: one.answer_start]])
        reply = tuned.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=30, do_sample=False
        )[0, one.answer_start :].tolist()
        assert reply[-1] == end
        assert loaded.renderer.decode(reply) == example.target


def test_an_answer_without_its_end_is_refused(
    loaded: Loaded, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    unended = [Encoded(e.ids[:-1], e.answer_start) for e in encoded[:3]]
    with pytest.raises(DataError, match="3 training examples do not end"):
        run(loaded, [*encoded, *unended], settings, tmp_path)


def test_nothing_to_train_on_and_too_long_an_example_are_refused(
    loaded: Loaded, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    with pytest.raises(DataError, match="the training part is empty"):
        run(loaded, [], settings, tmp_path)
    long = Encoded((5,) * 300 + encoded[0].ids, 300 + encoded[0].answer_start)
    with pytest.raises(DataError, match=r"an example of \d+ tokens does not fit the 256"):
        run(loaded, [long], settings, tmp_path)


def test_target_modules_that_do_not_exist_are_refused_with_a_remedy(
    loaded: Loaded, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    with pytest.raises(ConfigError, match=r"no module named c_attn, v_prj$") as caught:
        run(loaded, encoded, settings, tmp_path, target_modules=("q_proj", "c_attn", "v_prj"))
    assert caught.value.hint == (
        "did you mean v_proj? its layers are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, "
        'down_proj; "all-linear" takes every one'
    )
    with pytest.raises(ModelError, match="no adapter can be put on this model") as refused:
        run(loaded, encoded, settings, tmp_path, target_modules=("mlp",))
    assert "all-linear" in refused.value.hint
    deep = ("layers.1.mlp.up_proj", "q_proj")
    adapter, _, _ = run(loaded, encoded, settings, tmp_path, target_modules=deep, max_steps=1)
    adapted = {name.split(".lora_")[0].partition("layers.")[2] for name in weights(adapter)}
    assert adapted == {"0.self_attn.q_proj", "1.self_attn.q_proj", "1.mlp.up_proj"}


@pytest.mark.parametrize("checkpointing", [True, False])
def test_training_and_loading_an_adapter_warn_of_nothing(
    loaded: Loaded,
    tmp_path: Path,
    encoded: list[Encoded],
    settings: TrainingSettings,
    checkpointing: bool,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adapter, _, _ = run(
            loaded,
            encoded,
            settings,
            tmp_path,
            validation=encoded[:2],
            max_steps=2,
            gradient_checkpointing=checkpointing,
        )
        with_adapter(loaded, adapter.directory)


def test_training_in_float16_is_refused_with_a_remedy(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    half = load_base(base_folder, dtype="float16")
    with pytest.raises(ConfigError, match="float16 is not offered") as caught:
        run(half, encoded, settings, tmp_path)
    assert "bfloat16" in caught.value.hint
    assert torch.isfinite(logits(half.model, encoded[0])).all()  # answering is


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown method 'lorax'") as caught:
        get_method("lorax")
    assert "lora, lora_plus, qlora, riemannian, upper_lora" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"eval_strategy": "epoch"}, [6, 12]),
        ({"eval_strategy": "no"}, [12]),
        ({"eval_strategy": "steps", "eval_steps": 5}, [5, 10, 12]),
        ({"eval_strategy": "epoch", "max_steps": 8}, [6, 8]),
    ],
)
def test_the_validation_loss_is_taken_when_asked_and_at_the_end(
    loaded: Loaded,
    tmp_path: Path,
    encoded: list[Encoded],
    settings: TrainingSettings,
    changes: dict[str, Any],
    expected: list[int],
) -> None:
    _, steps, _ = run(
        loaded, encoded, settings, tmp_path, validation=encoded[:5], num_train_epochs=2, **changes
    )
    assert [s.step for s in steps if s.validation_loss is not None] == expected


def test_answers_along_the_way_change_nothing_that_is_trained(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    said: list[tuple[int, ...]] = []

    def score(model: Loaded) -> dict[str, float]:
        prompts = [e.ids[: e.answer_start] for e in encoded[:3]]
        for batch in generate(model, prompts, max_new_tokens=4, batch_size=2):
            said.extend(one.ids for one in batch)
        return {"right": 0.25, "spoken": float(not model.model.training)}

    trained = []
    for name, asked in (("plain", None), ("scored", score)):
        steps: list[TrainingStep] = []
        job = TrainingJob(
            name="variant",
            train=encoded,
            validation=encoded[:5],
            settings=TrainingSettings.model_validate(settings.model_dump() | {"packing": True}),
            seed=1,
            directory=tmp_path / name,
            on_step=steps.append,
            score=asked,
        )
        adapter = train(load_base(base_folder), get_method("lora"), job)
        trained.append((weights(adapter), [s.loss for s in steps]))
    scored = [s.validation_scores for s in steps if s.validation_scores is not None]
    assert scored == [{"right": 0.25, "spoken": 1.0}]
    assert len(said) == 3
    assert trained[0][1] == trained[1][1]
    for key, tensor in trained[0][0].items():
        assert torch.equal(tensor, trained[1][0][key])
    # What was said at the end is what the finished adapter says: padding and cache were right.
    finished = with_adapter(load_base(base_folder), tmp_path / "scored" / "adapter")
    before, said = said, []
    score(finished)
    assert said == before


def test_epochs_are_counted_in_passes_over_the_data(
    loaded: Loaded, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    _, steps, _ = run(loaded, encoded, settings, tmp_path, num_train_epochs=3, max_steps=9)
    assert [s.epoch for s in steps] == pytest.approx([n / 6 for n in range(1, 10)])
    assert [s.step for s in steps] == list(range(1, 10))


def test_the_schedule_is_transformers_linear_one(
    loaded: Loaded, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    _, steps, _ = run(loaded, encoded, settings, tmp_path, lr_scheduler_type="linear")
    rate = settings.learning_rate
    assert [s.learning_rate for s in steps] == pytest.approx([rate * (1 - k / 6) for k in range(6)])


def test_an_optimizer_that_needs_a_gpu_is_replaced_and_said(
    loaded: Loaded, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    if loaded.device.type == "cuda":
        pytest.skip("this machine has the GPU that paged_adamw_8bit needs")
    _, steps, said = run(loaded, encoded, settings, tmp_path, optim="paged_adamw_8bit", max_steps=2)
    assert said == ["paged_adamw_8bit needs an NVIDIA GPU; adamw_torch stands in for it here"]
    assert len(steps) == 2


def test_a_model_that_mixes_packed_examples_is_padded_and_says_so(
    loaded: Loaded, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    model = tiny_llama()
    model.config.layer_types = ["linear_attention", "full_attention"]
    mixing = Loaded(
        model, loaded.renderer, "mixing", None, loaded.dtype, quantised=False, device=loaded.device
    )
    _, steps, said = run(mixing, encoded, settings, tmp_path, packing=True, max_steps=2)
    assert said == ["mixing cannot keep packed examples apart; padding instead"]
    assert all(math.isfinite(s.loss) for s in steps)


@given(
    st.integers(1, 90),
    st.integers(1, 9),
    st.integers(1, 4),
    st.sampled_from([0.1, 0.5, 1.0, 1.7, 3.0]),
    st.none() | st.integers(1, 40),
)
def test_as_many_steps_as_counted_and_each_epoch_whole(
    examples: int, rows: int, accumulation: int, epochs: float, max_steps: int | None
) -> None:
    settings = TrainingSettings.model_validate(
        {
            "per_device_train_batch_size": rows,
            "gradient_accumulation_steps": accumulation,
            "num_train_epochs": epochs,
            "max_steps": max_steps,
        }
    )
    encoded = [Encoded((1, 2), 1)] * examples
    job = TrainingJob("x", encoded, (), settings, 0, Path("unused"))
    total = count_steps(examples, settings)
    batches = list(steps_of(job, total))
    per_epoch = math.ceil(examples / (rows * accumulation))
    assert len(batches) == total <= (max_steps or total)
    for start in range(0, total - per_epoch + 1, per_epoch):
        seen = [i for batch in batches[start : start + per_epoch] for i in batch]
        assert sorted(seen) == list(range(examples))
