"""Layers below the adapters, left out: the same loss and gradients, the same training."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from tiny_models import load_base, tiny_llama
from tunesmith.config import TrainingSettings
from tunesmith.errors import ConfigError, Interrupted
from tunesmith.models.attention import packed_attention_on
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded
from tunesmith.records import TrainingStep
from tunesmith.train.batches import BatchBuilder, pack
from tunesmith.train.computing import Computation
from tunesmith.train.job import TrainingJob
from tunesmith.train.loop import train
from tunesmith.train.loss import answer_nll
from tunesmith.train.method import get_method
from tunesmith.train.signals import StopSignals
from tunesmith.train.trunk import Setting, frozen_layers, lowest_adapted

CPU = torch.device("cpu")
SMALL = {
    "vocab_size": 360,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}


def upper(model: Any, lowest: int, **more: Any) -> Any:
    """LoRA from a layer upwards, in the middle of its training."""
    torch.manual_seed(1)
    count = model.config.num_hidden_layers
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=4,
        target_modules=["q_proj", "down_proj"],
        layers_to_transform=list(range(lowest, count)),
        init_lora_weights=False,
        **more,
    )
    return get_peft_model(model, config).train()


def step(model: Any, examples: Sequence[Encoded], hidden: Any) -> tuple[float, list[Tensor]]:
    """Loss and gradients of examples in micro-batches of three."""
    model.zero_grad()
    longest = max(len(e.ids) for e in examples)
    builder = BatchBuilder(rows=3, longest=longest, packed=True, pad_id=0, hidden=hidden)
    total = torch.zeros(())
    for batch in builder.micro_batches(examples):
        assert (batch.hidden is not None) == (hidden is not None)
        total = total + answer_nll(model, batch)
    total.backward()
    return total.item(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def kept(model: Any, examples: Sequence[Encoded], folder: Path) -> Any:
    setting = Setting(CPU, nullcontext, lambda b: answer_nll(model, b), 8, say=print)
    return frozen_layers(model, examples, folder, setting)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("lowest", [1, 3])
@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3_text", "gemma"])
def test_loss_and_gradients_are_those_of_the_whole_model(
    encoded: list[Encoded], tmp_path: Path, kind: str, lowest: int, checkpointing: bool
) -> None:
    torch.manual_seed(0)
    shape = SMALL | ({"sliding_window": 9} if kind == "gemma3_text" else {})
    base = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **shape))
    model = upper(base, lowest)
    if checkpointing:
        base.activation_checkpointing_enable({"use_reentrant": False})
    examples = [*encoded[:9], encoded[2]]  # one of them twice
    with packed_attention_on(model.get_base_model()):
        loss, grads = step(model, examples, None)
        with kept(model, encoded, tmp_path) as hidden:
            assert hidden is not None
            short_loss, short_grads = step(model, examples, hidden)
        again, _ = step(model, examples, None)
    assert again == loss  # every layer is back
    assert list(tmp_path.iterdir()) == []
    assert short_loss == pytest.approx(loss, rel=1e-5)
    for one, two in zip(short_grads, grads, strict=True):
        assert float((one - two).norm()) <= 1e-5 * float(two.norm()) + 1e-6


def test_layers_below_are_not_computed(encoded: list[Encoded], tmp_path: Path) -> None:
    base = tiny_llama(num_hidden_layers=4)
    model = upper(base, 2)
    calls: list[int] = []
    for index, layer in enumerate(base.model.layers):
        layer.mlp.register_forward_hook(lambda *_, index=index: calls.append(index))
    with packed_attention_on(base), kept(model, encoded, tmp_path) as hidden:
        calls.clear()
        answer_nll(model, pack(encoded[:4], hidden=hidden))
        assert calls == [2, 3]
        calls.clear()
        unknown = Encoded((5, 6, 7, 8), 2)
        answer_nll(model, pack([*encoded[:4], unknown], hidden=hidden))
        assert calls == [0, 1, 2, 3]


def test_nothing_is_left_out_below_what_learns(encoded: list[Encoded], tmp_path: Path) -> None:
    everywhere = upper(tiny_llama(), 0)
    embedding = get_peft_model(
        tiny_llama(), LoraConfig(r=2, target_modules=["embed_tokens", "lm_head"])
    )
    assert lowest_adapted(everywhere) == lowest_adapted(embedding) == 0
    assert lowest_adapted(upper(tiny_llama(), 1)) == 1
    with kept(everywhere, encoded, tmp_path) as hidden:
        assert hidden is None


class _Twice(nn.Module):
    """The top layer looks back at the embeddings, as in models with skips across layers."""

    def __init__(self, layer: nn.Module, start: nn.Module) -> None:
        super().__init__()
        self.layer, self.seen = layer, [torch.zeros(())]
        start.register_forward_hook(lambda _module, _args, out: self.seen.__setitem__(0, out))

    def forward(self, hidden: Tensor, **more: Any) -> Tensor:
        return self.layer(hidden, **more) + self.seen[0]


def test_a_model_that_looks_back_below_is_computed_whole(
    encoded: list[Encoded], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tiny_llama(num_hidden_layers=3)
    model = upper(base, 2)
    base.model.layers[2] = _Twice(base.model.layers[2], base.model.layers[0])
    with packed_attention_on(base), kept(model, encoded, tmp_path) as hidden:
        assert hidden is None
    assert "cannot be left out" in capsys.readouterr().out


def test_a_training_on_kept_layers_is_the_training_without(
    loaded: Loaded, settings: TrainingSettings, encoded: list[Encoded], tmp_path: Path
) -> None:
    """Three epochs with the layers kept; step by step the same losses by a loop in plain words."""
    said: list[str] = []
    settings = settings.model_copy(update={"num_train_epochs": 3, "lr_scheduler_type": "constant"})
    losses: list[float] = []
    order = [[i % 12 for i in range(s, s + 4)] for s in range(0, 36, 4)]
    job = TrainingJob(
        "upper",
        encoded[:12],
        encoded[12:16],
        settings,
        5,
        tmp_path,
        on_step=lambda s: losses.append(s.loss),
        say=said.append,
        order=order,
    )
    adapter = train(loaded, get_method("upper_lora"), job)
    assert adapter.method == "upper_lora"
    assert said == ["upper: layers below the adapters (1) are computed once for each example"]
    torch.manual_seed(5)
    model = get_method("upper_lora").attach(loaded.model, settings).train()
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=settings.learning_rate, weight_decay=0)
    expected = []
    for indices in order:
        some = [encoded[i] for i in indices]
        answers = sum(e.answer_tokens for e in some)
        total = torch.zeros(())
        for e in some:
            logits = model(input_ids=torch.tensor([e.ids])).logits[0, e.answer_start - 1 : -1]
            target = torch.tensor(e.ids[e.answer_start :])
            total = total + nn.functional.cross_entropy(logits, target, reduction="sum") / answers
        total.backward()
        torch.nn.utils.clip_grad_norm_(learning, settings.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        expected.append(total.item())
    assert losses == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("epochs", "kept_them"), [(1, False), (2, True)])
def test_layers_are_kept_where_examples_come_again(
    loaded: Loaded,
    settings: TrainingSettings,
    encoded: list[Encoded],
    tmp_path: Path,
    epochs: int,
    kept_them: bool,
) -> None:
    settings = settings.model_copy(update={"num_train_epochs": epochs})
    method = get_method("upper_lora")
    model = method.attach(loaded.model, settings)
    job = TrainingJob("upper", encoded, (), settings, 5, tmp_path)
    compute = Computation(loaded, model, method, job, StopSignals())
    with compute.ready():
        assert (compute.kept is not None) == kept_them


def test_without_room_on_disk_every_layer_is_computed(
    encoded: list[Encoded], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = upper(tiny_llama(), 1)
    with (
        packed_attention_on(model.get_base_model()),
        kept(model, encoded, tmp_path / "nowhere") as hidden,
    ):
        assert hidden is None
    assert "no room on disk" in capsys.readouterr().out


def test_a_training_that_was_stopped_goes_on_bit_for_bit(
    base_folder: Path, settings: TrainingSettings, encoded: list[Encoded], tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"num_train_epochs": 2})

    def run(folder: Path, stop_at: int = 0) -> bytes:
        def on_step(step: TrainingStep) -> None:
            if step.step == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)

        folder.mkdir(exist_ok=True)
        job = TrainingJob("upper", encoded, (), settings, 5, folder, on_step=on_step)
        adapter = train(load_base(base_folder), get_method("upper_lora"), job)
        return (adapter.directory / "adapter_model.safetensors").read_bytes()

    whole = run(tmp_path / "whole")
    with pytest.raises(Interrupted, match="stopped at step 8 of 12"):
        run(tmp_path / "parts", stop_at=8)
    assert run(tmp_path / "parts") == whole


def test_upper_lora_adapts_the_layers_that_it_is_told(settings: TrainingSettings) -> None:
    def adapted(**more: Any) -> set[int]:
        model = get_method("upper_lora").attach(
            tiny_llama(num_hidden_layers=4), settings.model_copy(update=more)
        )
        names = [n for n, p in model.named_parameters() if p.requires_grad]
        assert len(names) == 2 * len({n.split(".lora_")[0] for n in names})
        return {int(name.split("layers.")[1].split(".")[0]) for name in names}

    assert adapted() == {2, 3}
    assert adapted(layers_to_transform=(1, 3)) == {1, 3}
    assert adapted(layers_to_transform=(3,), target_modules=("q_proj",)) == {3}
    with pytest.raises(ConfigError, match="no layer 4"):
        adapted(layers_to_transform=(1, 4))
    with pytest.raises(ConfigError, match="names no layer"):
        adapted(layers_to_transform=())
    told = settings.model_copy(update={"layers_to_transform": (1,)})
    with pytest.raises(ConfigError, match="lora adapts every layer"):
        get_method("lora").attach(tiny_llama(), told)
