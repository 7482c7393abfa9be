"""Directions left out on the way and at the end: what stays, what dies, what becomes smaller."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor
from transformers import AutoModelForCausalLM

from looking import (
    CHANGING,
    OFTEN,
    change,
    core,
    logits,
    look,
    looked_at,
    plain_gradients,
    run,
    weights,
    with_grit,
)
from tiny_models import load_base
from tunesmith.config import ModelSettings, TrainingSettings
from tunesmith.models.load import model_facts
from tunesmith.models.render import Encoded
from tunesmith.plan.memory import adapter_parameters
from tunesmith.train import rank_space
from tunesmith.train.batches import pad
from tunesmith.train.computing import Computation
from tunesmith.train.grit import Grit
from tunesmith.train.loss import answer_nll


def products(grit: Grit) -> list[Tensor]:
    """B A of every layer."""
    return [layer.b.data.double() @ layer.a.data.double() for layer in grit.layers]


@pytest.fixture
def looked(base_folder: Path, encoded: list[Encoded], settings: TrainingSettings) -> Computation:
    """GRIT on the base behind one look at four examples, every gradient there."""
    return looked_at(base_folder, encoded, settings)


def test_refresh_keeps_what_was_kept_and_lets_the_rest_learn_again(
    looked: Computation, encoded: list[Encoded]
) -> None:
    """B A afterwards is B P A to 1e-5; every fresh column of B has a gradient. Counter: freeze, of
    which the next test shows that it has none."""
    grit = change(looked, after="refresh")
    expected = []
    found = rank_space.directions(*grit.seen.families[0].factors(), "balanced")
    for i, layer in enumerate(grit.layers):
        p = torch.matmul(*rank_space.cut(found, i, 2))
        expected.append(layer.b.data.double() @ p.double() @ layer.a.data.double())
    before = products(grit)
    grit.after(2, None)
    for now, then, was in zip(products(grit), expected, before, strict=True):
        assert float((now - then).norm() / then.norm()) < 1e-5
        assert float((now - was).norm() / was.norm()) > 1e-3
    kept = [r.energy_kept for r in grit.reports() if r.energy_kept is not None]
    assert len(kept) == 14
    assert all(0 < share <= 1 for share in kept)
    for layer, (_, of_b) in zip(grit.layers, plain_gradients(looked, encoded[:4]), strict=True):
        assert layer.rank == 4
        assert (of_b[:, 2:].norm(dim=0) > 1e-3 * of_b[:, :2].norm(dim=0).min()).all()
        rows = layer.a.data
        cosines = (rows / rows.norm(dim=1, keepdim=True)) @ (
            rows / rows.norm(dim=1, keepdim=True)
        ).T
        assert float(cosines[2:, :2].abs().max()) < 1e-5
        assert float((cosines[2:, 2:] - torch.eye(2)).abs().max()) < 1e-5


def test_freeze_leaves_dead_gradients_in_the_discarded_directions(
    looked: Computation, encoded: list[Encoded]
) -> None:
    """1e-5 of the gradients' norms, for good: P' dA = dA and dB P' = dB, whatever the examples."""
    grit = change(looked, after="freeze")
    found = rank_space.directions(*grit.seen.families[0].factors(), "balanced")
    sides = [rank_space.projectors(found, i, 2)[0].float() for i in range(14)]
    alive = [g.clone() for pair in plain_gradients(looked, encoded[4:8]) for g in pair]
    grit.after(2, None)
    gradients = plain_gradients(looked, encoded[4:8])
    for i, (p, (of_a, of_b)) in enumerate(zip(sides, gradients, strict=True)):
        assert float((p.T @ of_a - of_a).norm() / of_a.norm()) < 1e-5
        assert float((of_b @ p.T - of_b).norm() / of_b.norm()) < 1e-5
        was = alive[2 * i]
        assert float((p.T @ was - was).norm() / was.norm()) > 1e-2
    look(looked, encoded[:4], step=4)
    grit.after(4, None)  # a second time, with factors of rank 2
    assert all(bool(layer.a.isfinite().all()) for layer in grit.layers)


@pytest.mark.parametrize("after", ["refresh", "compact", "freeze"])
def test_the_statistics_stay_in_step_with_the_adapter(
    base_folder: Path,
    encoded: list[Encoded],
    settings: TrainingSettings,
    after: str,
) -> None:
    """1e-3 relative (float32, twice through the projection), of the kept directions: carried over,
    and measured anew on the changed adapter and the same batch. The adapters' B has rank 2, so that
    keeping 2 of 4 directions changes no output. Counter: not carried over, off by more than 5 %."""
    compute = with_grit(load_base(base_folder), encoded, settings, packing=False, grit=OFTEN)
    for layer in core(compute).core.layers:
        layer.b.data = layer.b.data[:, :2] @ torch.randn(2, 4)
    look(compute, encoded[:4])
    grit, before = change(compute, after=after), logits(compute.model, encoded[0])
    stale = [s.clone() for s in grit.seen.families[0].factors()]
    grit.after(2, None)
    assert float((logits(compute.model, encoded[0]) - before).abs().max()) < 1e-3
    carried = [s.clone() for s in grit.seen.families[0].factors()]
    anew = with_statistics_of(grit, compute, encoded[:4])
    k = 4 if after == "freeze" else 2
    for now, then, was in zip(carried, anew, stale, strict=True):
        expected = then[:, :k, :k]
        size = expected.flatten(1).norm(dim=1)
        assert float(((now[:, :k, :k] - expected).flatten(1).norm(dim=1) / size).max()) < 1e-3
        changed = (was[:, :k, :k] - expected).flatten(1).norm(dim=1) / size
        assert after == "freeze" or float(changed.min()) > 0.05


def with_statistics_of(
    grit: Grit, compute: Computation, examples: Sequence[Encoded]
) -> list[Tensor]:
    """The factors as one look finds them, nothing before it counted."""
    for family in grit.seen.families:
        for tensor in (family.ema, family.weight, family.seen, family.ratio):
            tensor.zero_()
    look(compute, examples)
    return list(grit.seen.families[0].factors())


def test_moments_of_the_optimizer_go_where_the_gradients_go(
    looked: Computation, encoded: list[Encoded]
) -> None:
    """1e-5 relative. SGD's momentum behind one step is the gradient: projected, it is the gradient
    of the projected adapter, where that is the same function; for every projector and `after`."""
    for projector in ("balanced", "two_sided"):
        for after in ("freeze", "compact"):
            check_moments(looked, encoded, projector, after)


def check_moments(compute: Computation, encoded: list[Encoded], projector: str, after: str) -> None:
    grit = change(compute, after=after, projector=projector)
    state = grit.state()
    kept = [(layer.a.data.clone(), layer.b.data.clone()) for layer in grit.layers]
    optimizer = torch.optim.SGD([p for v in grit.layers for p in (v.a, v.b)], lr=0.0, momentum=0.9)
    g = [torch.randn(layer.b.shape[0]) for layer in grit.layers]
    inputs = [torch.randn(layer.a.shape[1]) for layer in grit.layers]

    def linear() -> None:
        """Gradients of g'B A x for one g and x in each layer."""
        for layer, out, into in zip(grit.layers, g, inputs, strict=True):
            layer.a.grad = torch.outer(layer.b.data.T @ out, into)
            layer.b.grad = torch.outer(out, layer.a.data @ into)

    linear()
    optimizer.step()
    grit.after(2, optimizer)
    linear()
    for layer in grit.layers:
        for parameter in (layer.a, layer.b):
            moment, expected = optimizer.state[parameter]["momentum_buffer"], parameter.grad
            assert float((moment - expected).norm() / expected.norm()) < 1e-4, (projector, after)
    for layer, (a, b) in zip(grit.layers, kept, strict=True):
        layer.set_rank(a, b)
    grit.load_state(state)


def test_penalties_have_the_gradients_of_what_they_say(
    looked: Computation, encoded: list[Encoded]
) -> None:
    """1e-5 against autograd: tr(S_d A A')/2 + tr(S_a B'B)/2 with factors of mean eigenvalue one,
    and what the last reprojection would drop again, squared, / 2; behind a refresh that is what
    was begun anew."""
    for after, knobs in (
        ("freeze", {"curvature_penalty": 0.3}),
        ("freeze", {"reprojection_penalty": 0.3}),
        ("refresh", {"reprojection_penalty": 0.3}),
    ):
        off = {"curvature_penalty": 0.0, "reprojection_penalty": 0.0}
        grit = change(looked, after=after, warmup_steps=99, **{**off, **knobs})
        found = rank_space.directions(*grit.seen.families[0].factors(), "balanced")
        grit.after(2, None)
        factors = [
            s / rank_space.trace_mean(s)[:, None, None] for s in grit.seen.families[0].factors()
        ]
        plain = [g.clone() for pair in plain_gradients(looked, encoded[:4]) for g in pair]
        grit.precondition(4)
        for i, layer in enumerate(grit.layers):
            a, b = (p.detach().clone().requires_grad_() for p in (layer.a, layer.b))
            if "curvature_penalty" in knobs:
                penalty = 0.15 * ((factors[1][i] @ a * a).sum() + (b @ factors[0][i] * b).sum())
            else:
                p = torch.matmul(*rank_space.cut(found, i, 2)).float()
                lost = (
                    torch.eye(4) - p
                    if after == "freeze"
                    else torch.diag(torch.tensor([0.0, 0, 1, 1]))
                )
                penalty = 0.15 * ((lost @ a).square().sum() + (b @ lost).square().sum())
            penalty.backward()
            for parameter, of, was in ((layer.a, a, plain[2 * i]), (layer.b, b, plain[2 * i + 1])):
                difference = parameter.grad - was - of.grad
                assert float(difference.norm()) < 1e-5 * float(parameter.grad.norm() + 1), after


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("after", ["compact", "refresh"])
def test_a_smaller_adapter_loads_in_plain_peft_with_the_same_logits(
    base_folder: Path,
    tmp_path: Path,
    encoded: list[Encoded],
    settings: TrainingSettings,
    rslora: bool,
    after: str,
) -> None:
    """1e-4 absolute on the loss that the loop saw last, where the end changes nothing: adapters
    made smaller on the way, at the end or both, also where the end keeps every rank because fewer
    would cost too much. The scale of every layer is the recipe's, whatever its rank; the last
    validation is of the adapter as it was written, the trained parameters are those at the start.
    """
    facts = model_facts(ModelSettings.model_validate({"name": str(base_folder)}))
    for number, knobs in enumerate(
        (
            {"energy_threshold": 0.6, "compact_tolerance": 1e3},
            {**CHANGING, "after": after, "compact_tolerance": 1e3},
            {**CHANGING, "after": after, "energy_threshold": 0.5, "compact_tolerance": 0.0},
            {**CHANGING, "after": after, "compact_at_end": False},
        )
    ):
        loaded = load_base(base_folder)
        grit = {**OFTEN, **knobs}
        adapter, steps, said, _ = run(
            loaded, encoded, settings, tmp_path / f"{number}", use_rslora=rslora, grit=grit
        )
        base = AutoModelForCausalLM.from_pretrained(str(base_folder), dtype=torch.float32)
        bare = logits(base, encoded[0])
        model = PeftModel.from_pretrained(base, str(adapter.directory)).eval()
        ranks = {w.shape[0] for n, w in weights(adapter).items() if "lora_A" in n}
        assert number == 3 or said, (number, said)
        assert number != 0 or min(ranks) < 4
        assert adapter.trainable_parameters == adapter_parameters(facts, 4, "all-linear")
        held = sum(w.numel() for w in weights(adapter).values())
        assert (held < adapter.trainable_parameters) == (min(ranks) < 4)
        assert after == "refresh" or number in (0, 1) or ranks == {2}
        validation = pad(encoded[:6], 0)
        with torch.no_grad():
            loss = float(answer_nll(model, validation)) / len(validation.targets)
        assert loss == pytest.approx(steps[-1].validation_loss, abs=1e-4)
        scale = 8 / 4**0.5 if rslora else 8 / 4
        for module in model.modules():
            if isinstance(module, LoraLayer):
                assert module.scaling["default"] == pytest.approx(scale)
        assert float((logits(model, encoded[0]) - bare).abs().max()) > 0.1


def test_compacting_changes_the_loss_as_it_says_and_not_beyond_what_is_allowed(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    """The written adapter answers as the smaller one in the loop did: logits to 1e-4. A tolerance
    of 0 keeps every rank."""
    compute = with_grit(load_base(base_folder), encoded, settings, packing=False, grit=OFTEN)
    look(compute, encoded[:8])
    grit, peft = core(compute).core, compute.model.peft_config["default"]
    ranks = [layer.rank for layer in grit.layers]
    grit.config = grit.config.model_copy(update={"compact_tolerance": 0.0, "energy_threshold": 0.5})
    answers = sum(e.answer_tokens for e in encoded[:8])

    def loss() -> float:
        with torch.no_grad():
            return float(answer_nll(compute.model, pad(encoded[:8], 0))) / answers

    said = grit.compact(loss, peft)
    if [layer.rank for layer in grit.layers] == ranks:
        assert "every rank stays" in said[0]
    grit.config = grit.config.model_copy(update={"compact_tolerance": 1e3, "energy_threshold": 0.9})
    grit.compact(loss, peft)
    assert min(layer.rank for layer in grit.layers) < 4
    inside = logits(compute.model.eval(), encoded[0])
    compute.model.save_pretrained(str(tmp_path), save_embedding_layers=False)
    base = AutoModelForCausalLM.from_pretrained(str(base_folder), dtype=torch.float32)
    outside = logits(PeftModel.from_pretrained(base, str(tmp_path)).eval(), encoded[0])
    torch.testing.assert_close(outside, inside, atol=1e-4, rtol=0)


def test_the_best_step_comes_back_with_its_own_ranks(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    """The last step cuts every layer to one direction, which is worse: the fifth, that comes back,
    has four. Loss to 0.02 nats, twice what the end may cost."""
    adapter, steps, said, _ = run(
        load_base(base_folder),
        encoded,
        settings,
        tmp_path,
        learning_rate=5e-2,
        grit={**OFTEN, "reprojection_freq": 6, "reprojection_k": 1, "after": "compact"},
        **{"save_steps": 1, "eval_strategy": "steps", "eval_steps": 1},
        load_best_model_at_end=True,
    )
    assert "that of step 5 of 6" in said[0]
    base = AutoModelForCausalLM.from_pretrained(str(base_folder), dtype=torch.float32)
    model, batch = PeftModel.from_pretrained(base, str(adapter.directory)), pad(encoded[:6], 0)
    with torch.no_grad():
        loss = float(answer_nll(model.eval(), batch)) / len(batch.targets)
    assert loss == pytest.approx(steps[4].validation_loss, abs=0.02)
