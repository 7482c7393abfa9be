"""What GRIT sees is what there is, however it is computed: the second moments of A x and of the
loss's gradient there, over the tokens that have one. Distances are relative, of the worst layer and
factor (looking.off)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from looking import LOOK, core, explicit, fill, off, sums_of, with_grit
from tiny_models import load_base, tiny_llama
from tunesmith.config import TrainingSettings
from tunesmith.config.grit import GritConfig
from tunesmith.errors import TrainingError
from tunesmith.models.render import Encoded
from tunesmith.train.batches import pack, pad
from tunesmith.train.computing import Computation
from tunesmith.train.fused import fused_adapters
from tunesmith.train.grit import Grit
from tunesmith.train.loss import answer_loss, answer_nll
from tunesmith.train.memory import Cut
from tunesmith.train.method import get_method

ROUNDING = 5e-6  # of float32 sums


def answers_of(examples: Sequence[Encoded]) -> int:
    return sum(e.answer_tokens for e in examples)


@pytest.fixture
def compute(base_folder: Path, encoded: list[Encoded], settings: TrainingSettings) -> Computation:
    """GRIT on the base, padded batches."""
    return with_grit(load_base(base_folder), encoded, settings, packing=False)


def test_sums_are_the_explicit_gram_matrices_of_every_token(
    compute: Computation, encoded: list[Encoded]
) -> None:
    """5e-6 against a float64 model, token by token, and the very same tokens: by the short path and
    by PEFT's own layers. Counter: with padding counted in, S_a is off by more than 1 %."""
    batch, answers = pad(encoded[:4], 0), answers_of(encoded[:4])
    expected, counts = explicit(compute.model, batch, answers)
    fused, seen = sums_of(compute, encoded[:4])
    assert off(fused, expected) < ROUNDING
    assert seen[:, 0].tolist() == counts[:, 0].tolist()
    compute.method.begin(LOOK, answers)
    (answer_nll(compute.model, batch) / answers).backward()
    hooked = compute.method.statistics()
    assert off(hooked[0], expected) < ROUNDING
    assert hooked[1].tolist() == counts.tolist()
    caught: list[Tensor] = []
    first = core(compute).core.layers[0].module.lora_A["default"]
    handle = first.register_forward_hook(lambda _, __, out: caught.append(out.detach()))
    answer_nll(compute.model, batch)
    handle.remove()
    rows = caught[0].flatten(0, 1)
    r = rows.shape[1]
    assert off((rows.T @ rows)[None], fused[:1, :r, :r]) > 0.01


def test_a_first_tokens_query_has_no_gradient_whatever_rounding_says(
    compute: Computation, encoded: list[Encoded]
) -> None:
    """Exact. It attends to itself alone, so that its gradient is rounding (1e-8 of the others'):
    counted in, a token would enter S_a or not by the kind of attention."""
    _, counts = sums_of(compute, encoded[:4])
    by_name = dict(zip([x.name for x in core(compute).core.layers], counts[:, 0], strict=True))
    queries, keys = (by_name[f"model.layers.0.self_attn.{n}_proj"] for n in "qk")
    assert queries == keys - 4


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_of_both_kinds_counts_every_token_once(
    base_folder: Path, encoded: list[Encoded], settings: TrainingSettings, reentrant: bool
) -> None:
    """1e-6, by PEFT's own layers; the non-reentrant kind also by the short path. Counter: a forward
    hook that adds up on its own sees twice the tokens."""
    compute = with_grit(load_base(base_folder), encoded, settings, packing=False)
    plain, counts = sums_of(compute, encoded[:4])
    compute.model.train()
    passes: list[int] = []
    layer = core(compute).core.layers[0].module.lora_A["default"]
    handle = layer.register_forward_hook(lambda _, __, out: passes.append(len(out)))
    base = compute.model.get_base_model()
    base.enable_input_require_grads()
    base.activation_checkpointing_enable({"use_reentrant": reentrant})
    answers = answers_of(encoded[:4])
    compute.method.begin(LOOK, answers)
    (answer_nll(compute.model, pad(encoded[:4], 0)) / answers).backward()
    found = compute.method.statistics()
    assert len(passes) == 2
    handle.remove()
    base.activation_checkpointing_disable()
    base.disable_input_require_grads()
    assert off(found[0], plain) < 1e-6
    assert torch.equal(found[1][:, 0], counts[:, 0])
    if not reentrant:
        compute.cut = Cut(4, checkpointing=True)
        found = sums_of(compute, encoded[:4])
        assert off(found[0], plain) < 1e-6
        assert torch.equal(found[1], counts)


CUTS = (
    {"per_device_train_batch_size": 8, "packing": True},
    {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "packing": True},
    {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "packing": False},
    {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8, "packing": False},
)


def test_cuts_packing_padding_and_threads_change_no_more_than_rounding(
    base_folder: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    """2e-6, the same tokens; two runs with threads are equal to the bit. (Examples that share no
    start.) Counter: other examples are off by more than 5 %."""
    examples = [e for i, e in enumerate(encoded) if i % 3][:8]
    whole = {"per_device_train_batch_size": 8, "packing": False}

    def seen(some: Sequence[Encoded], **changes: Any) -> tuple[Tensor, Tensor]:
        return sums_of(with_grit(load_base(base_folder), encoded, settings, **changes), some)

    expected, counts = seen(examples, **whole)
    for cut in CUTS:
        moments, tokens = seen(examples, **cut)
        assert off(moments, expected) < 2e-6, cut
        assert torch.equal(tokens[:, 0], counts[:, 0])
    again = seen(examples, **whole)[0]  # on two cores, with two threads
    assert torch.equal(again, expected)
    assert off(seen(encoded[8:16], **whole)[0], expected) > 0.05


def test_a_shared_start_gives_the_same_gradients_but_other_factors(
    base_folder: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    """Gradients to 1e-5; factors off by more than 1 %, and fewer tokens. A token that a pack holds
    once for several examples has the sum of their gradients: one sample, with one bigger delta. So
    the loop keeps examples apart in a step that looks: there, factors are padding's, to 2e-6."""
    examples = [e for i, e in enumerate(encoded) if i % 3 == 0][:6]  # with the same system prompt
    compute = with_grit(load_base(base_folder), encoded, settings, packing=True)
    found = []
    with compute.ready():
        for shared in (True, False):
            batch = pack(examples, shared=shared)
            compute.method.begin(LOOK, 30)
            nll = answer_nll(compute.model, batch)
            gradients = torch.autograd.grad(nll / 30, compute.trainable)
            moments, counts, _ = compute.method.statistics()
            found.append((moments, counts, torch.cat([g.flatten() for g in gradients])))
    shared, each = found
    assert float((shared[2] - each[2]).norm() / each[2].norm()) < 1e-5
    assert off(shared[0], each[0]) > 0.01
    assert (shared[1][:2, 0] < each[1][:2, 0]).all()
    padded = with_grit(load_base(base_folder), encoded, settings, packing=False)
    in_loop, expected = sums_of(compute, examples), sums_of(padded, examples)
    assert off(in_loop[0], expected[0]) < 2e-6
    assert torch.equal(in_loop[1][:, 0], expected[1][:, 0])


def test_what_no_answer_depends_on_does_not_count(
    compute: Computation, encoded: list[Encoded]
) -> None:
    """5e-6, the same tokens. An unsupervised tail of 30 tokens behind each answer changes nothing,
    nor does a wider padding. Counter: supervised, it does."""
    tail = tuple(encoded[5].ids[:30])
    longer = [Encoded(e.ids + tail, e.answer_start) for e in encoded[:4]]
    answers = answers_of(encoded[:4])
    short = pad(encoded[:4], 0)
    wide = pad(longer, 0)
    width = wide.input_ids.shape[1]
    places = [
        row * width + t
        for row, e in enumerate(encoded[:4])
        for t in range(e.answer_start - 1, len(e.ids) - 1)
    ]
    masked = replace(wide, predicting=torch.tensor(places), targets=short.targets)
    seen = []
    for batch in (short, masked, wide):
        compute.method.begin(LOOK, answers)
        (answer_nll(compute.model, batch) / answers).backward()
        moments, counts, _ = compute.method.statistics()
        seen.append((moments.clone(), counts.clone()))
    assert off(seen[1][0], seen[0][0]) < ROUNDING
    assert torch.equal(seen[1][1][:, 0], seen[0][1][:, 0])
    assert (seen[2][1][:, 0] > seen[0][1][:, 0]).all()


def test_a_base_in_bfloat16_sees_nearly_the_same_and_half_precision_sums_would_see_nothing(
    base_folder: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    """3.5 %, the same tokens. Counter: kept in float16, S_d of a loss that is a mean over a hundred
    times as many tokens would be nothing but zeros; in float32 no entry is zero."""
    found = {}
    for dtype in ("float32", "bfloat16"):
        base = load_base(base_folder, dtype=dtype)
        found[dtype] = sums_of(with_grit(base, encoded, settings, packing=False), encoded[:8])
    assert off(found["bfloat16"][0], found["float32"][0]) < 0.035
    assert torch.equal(found["bfloat16"][1], found["float32"][1])
    assert found["float32"][0].dtype == found["bfloat16"][0].dtype == torch.float32
    of_a_token = found["float32"][0][:, 4:, 4:] / found["float32"][1][:, :1, None]
    larger = of_a_token / 100**2
    assert int((larger == 0).sum()) == 0
    assert float((larger.half() == 0).float().mean()) > 0.99


def test_a_loss_that_was_multiplied_gives_the_same_averages(
    compute: Computation, encoded: list[Encoded]
) -> None:
    """1e-5, with float16's loss scale given to `precondition`, and for a mean over other numbers of
    tokens. Counter: not given, S_d is off by more than 100 times."""
    grit, batch = core(compute).core, pad(encoded[:4], 0)
    seen = []
    for scale, answers, told in ((1.0, 32, 1.0), (1024.0, 32, 1024.0), (1.0, 64, 1.0), (64, 32, 1)):
        for family in grit.seen.families:
            for tensor in (family.ema, family.weight, family.seen, family.ratio):
                tensor.zero_()
        grit.begin(LOOK, answers)
        compute.model.zero_grad()
        (scale * answer_nll(compute.model, batch) / answers).backward()
        grit.precondition(LOOK, loss_scale=told)
        seen.append(torch.cat([t.flatten() for t in grit.seen.families[0].factors()]))
    for other in seen[1:3]:
        torch.testing.assert_close(other, seen[0], rtol=1e-5, atol=1e-5 * float(seen[0].max()))
    assert float(seen[3].norm() / seen[0].norm()) > 100


def test_the_average_is_what_was_seen_with_decaying_weights(
    compute: Computation, encoded: list[Encoded]
) -> None:
    """1e-5. (1 - b) sum b^i S_i over (1 - b) sum b^i, the newest first."""
    grit = core(compute).core
    each, beta = [], grit.config.decay
    for start, step in ((0, 2), (4, 3), (8, 5)):
        some = encoded[start : start + 4]
        grit.begin(step, answers_of(some))
        compute.model.zero_grad()
        (answer_nll(compute.model, pad(some, 0)) / answers_of(some)).backward()
        moments, counts, _ = grit.seen.sums
        unit = torch.ones(8)
        unit[4:] = answers_of(some)
        each.append(moments / counts[:, :1, None] * torch.outer(unit, unit))
        grit.precondition(step)
    weights = torch.tensor([beta**2, beta, 1.0])
    expected = sum(w * m for w, m in zip(weights, each, strict=True)) / weights.sum()
    inputs, of_gradients = grit.seen.families[0].factors()
    torch.testing.assert_close(inputs, expected[:, :4, :4], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(of_gradients, expected[:, 4:, 4:], rtol=1e-5, atol=1e-5)


def test_a_sample_of_tokens_is_a_sample(
    base_folder: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    """S_a from every fourth token: off by less than 80 %, not by 0; a quarter of the tokens."""
    seen = {}
    for stride in (1, 4):
        compute = with_grit(
            load_base(base_folder),
            encoded,
            settings,
            packing=False,
            per_device_train_batch_size=16,
            grit={"token_stride": stride},
        )
        moments, counts = sums_of(compute, encoded[:16])
        seen[stride] = (moments / counts[:, :1, None], counts)
    assert float(seen[4][1].sum() / seen[1][1].sum()) == pytest.approx(0.25, abs=0.02)
    distance = off(seen[4][0][:, :4, :4].repeat(1, 2, 2), seen[1][0][:, :4, :4].repeat(1, 2, 2))
    assert 0.001 < distance < 0.8


def state_of(grit: Grit) -> dict[str, Tensor]:
    """All but the number of looks."""
    found = {name: tensor.clone() for name, tensor in grit.state().items()}
    return {name: found[name] for name in found if name not in ("looks", "heard")}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_nothing_is_seen_without_gradients_in_validation_or_between_looks(
    compute: Computation, encoded: list[Encoded]
) -> None:
    """To the bit. Counter: the same passes in a step that looks."""
    grit, batch = core(compute).core, pad(encoded[:4], 0)
    grit.begin(LOOK, 30)
    with torch.no_grad():
        answer_nll(compute.model, batch)
    with compute.ready():
        answer_loss(compute.model, [batch], torch.device("cpu"))
        compute.validation_loss(1)
    assert all(not bool(t.any()) for t in grit.seen.sums)
    grit.begin(LOOK + 2, 30)  # step 4: neither early nor due
    before = state_of(grit)
    (answer_nll(compute.model, batch) / 30).backward()
    plain = [p.grad.clone() for p in compute.trainable]
    grit.precondition(LOOK + 2)
    assert same(state_of(grit), before)
    assert all(torch.equal(p.grad, g) for p, g in zip(compute.trainable, plain, strict=True))
    grit.begin(LOOK, 30)
    (answer_nll(compute.model, batch) / 30).backward()
    grit.precondition(LOOK)
    assert not same(state_of(grit), before)


@pytest.mark.parametrize("harm", [torch.inf, torch.nan, 1e30])
def test_a_factor_that_explodes_leaves_the_averages_as_they_were(
    compute: Computation, encoded: list[Encoded], harm: float
) -> None:
    """To the bit, for sums that are not finite, and for finite ones whose averages are not."""
    grit, batch = core(compute).core, pad(encoded[:4], 0)
    for step in (2, 3):
        before = state_of(grit)
        grit.begin(step, 30)
        compute.model.zero_grad()
        (answer_nll(compute.model, batch) / 30).backward()
        if step == 3:
            assert before["rank_4.weight"].min() > 0
            grit.seen.sums[0] *= harm
            grit.seen.sums[0] *= 1e8  # 1e38: finite in most entries, and not times 30 squared
        grit.precondition(step)
        assert all(bool(p.grad.isfinite().all()) for p in compute.trainable)
    after = state_of(grit)
    for name in ("ema", "weight", "seen", "ratio"):
        hit = (after[f"rank_4.{name}"] != before[f"rank_4.{name}"]).flatten(
            1 if name == "ema" else 0
        )
        assert after[f"rank_4.{name}"].isfinite().all()
        assert harm == 1e30 or not hit.any()


def test_gradients_of_zero_do_nothing(compute: Computation, encoded: list[Encoded]) -> None:
    """To the bit; no figure of the reports is NaN. A loss times zero has no gradients; B = 0, as at
    the start, no delta, and then B's gradients alone go by what was known."""
    grit, batch = core(compute).core, pad(encoded[:4], 0)
    for step, scale in ((2, 1.0), (3, 0.0)):
        before = state_of(grit)
        grit.begin(step, 30)
        compute.model.zero_grad()
        (scale * answer_nll(compute.model, batch)).backward()
        grit.precondition(step)
    after = state_of(grit)
    assert same(before, after)
    assert all(not bool(p.grad.any()) for p in compute.trainable)
    for report in grit.reports():
        conditions = (report.condition_input, report.condition_gradient)
        rest = (report.effective_rank, report.natural_to_plain)
        assert not any(math.isnan(x) for x in (*report.spectrum, *conditions, *rest))
    for layer in grit.layers:
        layer.b.data.zero_()
    before = state_of(grit)
    grit.begin(5, 30)
    answer_nll(compute.model, batch).backward()
    plain = [layer.b.grad.clone() for layer in grit.layers]
    grit.precondition(5)
    assert same(state_of(grit), before)
    assert not any(torch.equal(p, x.b.grad) for p, x in zip(plain, grit.layers, strict=True))


def test_what_goes_around_an_adapter_is_found_out(
    compute: Computation, encoded: list[Encoded]
) -> None:
    """At once where nothing is heard at all, at the third look where one layer is silent; a layer
    that is heard in some of the looks is well."""
    grit, batch = core(compute).core, pad(encoded[:4], 0)

    def look(step: int) -> None:
        grit.begin(step, 30)
        (answer_nll(compute.model, batch) / 30).backward()
        grit.precondition(step)

    silent = grit.layers[3]
    silent.module.forward = silent.module.get_base_layer().forward
    look(2)
    look(3)
    with pytest.raises(
        TrainingError, match=rf"nothing passed through the adapter of {silent.name}:"
    ):
        look(5)
    del silent.module.forward
    grit.seen.looks = 0
    with fused_adapters(compute.model), pytest.raises(TrainingError, match="and 11 more"):
        grit.seen.heard[:] = False
        look(2)
    grit.seen.looks = 0
    for step in (2, 3, 5, 9):
        look(step)


def test_a_model_without_lora_layers_and_layers_of_other_kinds_are_refused_by_name() -> None:
    config = GritConfig()
    with pytest.raises(TrainingError, match="no LoRA layer of adapter 'default'"):
        Grit(tiny_llama(), config)
    for target, more, said in (
        (["embed_tokens", "q_proj"], {}, "model.embed_tokens: adapters on embeddings"),
        (["q_proj"], {"use_dora": True}, r"q_proj: only plain LoRA on linear layers"),
    ):
        model = get_peft_model(tiny_llama(), LoraConfig(r=2, target_modules=target, **more))
        with pytest.raises(TrainingError, match=said):
            Grit(model, config)
    with pytest.raises(TrainingError, match="no LoRA layer of adapter 'other'"):
        Grit(model, config, "other")


def test_of_several_adapters_the_trained_one_is_looked_into(
    base_folder: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    """5e-6 with a frozen adapter of another rank beside; the frozen one has neither hooks nor a
    place. Counter: without it in the sum, the moments are others."""
    loaded = load_base(base_folder)
    frozen = get_peft_model(
        loaded.model, LoraConfig(r=3, target_modules="all-linear"), adapter_name="earlier_0"
    )
    torch.manual_seed(8)
    fill(frozen)
    compute = with_grit(replace(loaded, model=frozen), encoded, settings, packing=False)
    grit = core(compute).core
    assert {layer.rank for layer in grit.layers} == {4}
    modules = [layer.module for layer in grit.layers]
    assert all(len(m.lora_A["default"]._forward_hooks) == 1 for m in modules)
    assert all(not m.lora_A["earlier_0"]._forward_hooks for m in modules)
    expected, counts = explicit(compute.model, pad(encoded[:4], 0), answers_of(encoded[:4]))
    found = sums_of(compute, encoded[:4])
    assert off(found[0], expected) < ROUNDING
    assert found[1][:, 0].tolist() == counts[:, 0].tolist()
    alone = with_grit(load_base(base_folder), encoded, settings, packing=False)
    assert off(sums_of(alone, encoded[:4])[0], expected) > 0.01


def test_detaching_leaves_the_model_as_it_was(
    loaded: Any, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    """To the bit: no hook is left, and a pass gives the same loss and gradients as before."""
    model = get_method("lora").attach(loaded.model, settings)
    fill(model)
    batch = pad(encoded[:4], 0)

    def seen() -> list[Tensor]:
        model.zero_grad()
        loss = answer_nll(model, batch)
        loss.backward()
        return [loss.detach(), *(p.grad.clone() for p in model.parameters() if p.requires_grad)]

    def hooks() -> int:
        return sum(len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules())

    names, before, hooked = [n for n, _ in model.named_modules()], seen(), hooks()
    grit = Grit(model, GritConfig())
    assert hooks() == hooked + 14
    grit.begin(LOOK, 30)
    seen()
    grit.precondition(LOOK)
    grit.begin(LOOK + 1, 30)
    grit.detach()
    assert hooks() == hooked
    assert [n for n, _ in model.named_modules()] == names
    assert all(torch.equal(a, b) for a, b in zip(seen(), before, strict=True))


def test_dropout_is_in_what_is_seen(
    base_folder: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    """5e-6 by the gradients themselves: with the dropped-out input x', dA = sum delta x'', so that
    dA A' = sum delta a', the crossed part of the moments; and so is B'dB."""
    compute = with_grit(load_base(base_folder), encoded, settings, packing=False, lora_dropout=0.3)
    moments, _ = sums_of(compute, encoded[:4])
    for place, layer in enumerate(core(compute).core.layers):
        crossed = moments[place, 4:, :4]
        for found in (layer.a.grad @ layer.a.data.T, layer.b.data.T @ layer.b.grad):
            assert float((found - crossed).norm() / crossed.norm()) < ROUNDING
