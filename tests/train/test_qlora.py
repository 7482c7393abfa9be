"""QLoRA for real: NF4 through bitsandbytes on whatever this machine is, a processor included."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from tiny_models import load_base
from tunesmith.config import TrainingSettings
from tunesmith.models.adapters import with_adapter
from tunesmith.models.hardware import four_bit_support
from tunesmith.models.render import Encoded
from tunesmith.records import TrainingStep
from tunesmith.train.loop import TrainingJob, train
from tunesmith.train.method import get_method

pytestmark = pytest.mark.skipif(not four_bit_support()[0], reason=four_bit_support()[1] or "4-bit")


@pytest.mark.parametrize("packing", [True, False])
def test_nf4_trains_and_peft_alone_loads_its_adapter(
    base_folder: Path,
    tmp_path: Path,
    encoded: list[Encoded],
    settings: TrainingSettings,
    packing: bool,
) -> None:
    import bitsandbytes as bnb

    loaded = load_base(base_folder, four_bit=True)
    assert loaded.quantised
    linear = [m for m in loaded.model.model.modules() if isinstance(m, torch.nn.Linear)]
    assert len(linear) == 14
    assert all(isinstance(m, bnb.nn.Linear4bit) for m in linear)
    assert {m.weight.quant_state.quant_type for m in linear} == {"nf4"}
    frozen = [m.weight.detach().clone() for m in linear]
    ids = torch.tensor([encoded[0].ids])
    with torch.no_grad():
        before = loaded.model(ids).logits  # answering first must not lay the weights out anew

    steps: list[TrainingStep] = []
    job = TrainingJob(
        "qlora",
        encoded,
        encoded[:4],
        settings.model_copy(update={"num_train_epochs": 4, "packing": packing}),
        1,
        tmp_path,
        on_step=steps.append,
    )
    adapter = train(loaded, get_method("qlora"), job)

    first, last = steps[0].loss, steps[-1].loss
    assert last < first - 1
    assert all(torch.equal(m.weight, before) for m, before in zip(linear, frozen, strict=True))

    four_bit = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    with torch.no_grad():
        tuned = with_adapter(loaded, adapter.directory).model(ids).logits
        for plain, tolerance in (({"quantization_config": four_bit}, 0.0), ({}, 4.0)):
            base = AutoModelForCausalLM.from_pretrained(
                str(base_folder), dtype=torch.float32, **plain
            )
            # In training mode (there is no dropout): in eval mode bitsandbytes repacks the weights
            # on a processor with AVX512-BF16, and fails on layers as narrow as these.
            alone = PeftModel.from_pretrained(base, str(adapter.directory)).train()
            # On the full base an adapter made for the 4-bit one is off by the quantisation.
            torch.testing.assert_close(alone(ids).logits, tuned, atol=tolerance, rtol=0)
    assert (tuned - before).abs().max() > 0.1
