"""The loss: per answer token of the effective batch, however it is cut; packs that do not leak."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from torch.nn import functional

from tiny_models import adapted
from tunesmith.config import TrainingSettings
from tunesmith.models.attention import packed_attention_on
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded
from tunesmith.train.batches import BatchBuilder, pack, pad
from tunesmith.train.loss import answer_loss, answer_nll

CPU = torch.device("cpu")


def brute_force(model: PeftModel, examples: Sequence[Encoded], smoothing: float = 0.0) -> Tensor:
    """The same figure in the plainest words: one example, one answer token at a time."""
    total, count = torch.zeros(()), 0
    for example in examples:
        logits = model(input_ids=torch.tensor([example.ids])).logits[0]
        for position in range(example.answer_start, len(example.ids)):
            logs = functional.log_softmax(logits[position - 1], dim=-1)
            nll = -(1 - smoothing) * logs[example.ids[position]] - smoothing * logs.mean()
            total, count = total + nll, count + 1
    return total / count


def step(
    model: PeftModel, examples: Sequence[Encoded], *, rows: int, packed: bool
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of one effective batch, accumulated over its micro-batches."""
    model.zero_grad()
    longest = max(len(e.ids) for e in examples)
    builder = BatchBuilder(rows=rows, longest=longest, packed=packed, pad_id=0)
    answers = sum(e.answer_tokens for e in examples)
    total = 0.0
    with packed_attention_on(model.get_base_model()) if packed else nullcontext():
        for batch in builder.micro_batches(examples):
            loss = answer_nll(model, batch) / answers
            loss.backward()
            total += loss.item()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return total, grads


def branching(encoded: Sequence[Encoded]) -> list[Encoded]:
    """Examples that share starts on three levels, one of them twice and one as another's start."""
    stem, *ends = (list(e.ids) for e in encoded[:5])
    rows = [
        stem + ends[0],
        stem + ends[0][:20] + ends[1],
        stem + ends[0][:20] + ends[2],
        stem + ends[0],
        ends[3],
        stem + ends[0][:20],
        stem + ends[3],
    ]
    return [Encoded(tuple(ids), len(ids) - 5) for ids in rows]


def test_shared_starts_are_computed_once_and_change_neither_loss_nor_gradients(
    adapted_model: PeftModel, encoded: list[Encoded]
) -> None:
    examples = branching(encoded)
    batch = pack(examples)
    assert max(batch.parents) > 0  # a branch on a branch
    assert batch.input_ids.numel() < 0.7 * batch.tokens
    expected_loss = brute_force(adapted_model, examples)
    expected_loss.backward()
    expected = {n: p.grad.clone() for n, p in adapted_model.named_parameters() if p.requires_grad}
    loss, grads = step(adapted_model, examples, rows=len(examples), packed=True)
    assert loss == pytest.approx(expected_loss.item(), rel=1e-6)
    for name, grad in grads.items():
        torch.testing.assert_close(grad, expected[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 4, 8])
def test_loss_and_gradients_do_not_depend_on_the_cut(
    adapted_model: PeftModel, encoded: list[Encoded], rows: int, packed: bool
) -> None:
    examples = encoded[:8]
    expected_loss = brute_force(adapted_model, examples)
    expected_loss.backward()
    expected = {n: p.grad.clone() for n, p in adapted_model.named_parameters() if p.requires_grad}

    loss, grads = step(adapted_model, examples, rows=rows, packed=packed)

    assert loss == pytest.approx(expected_loss.item(), abs=1e-6)
    assert grads.keys() == expected.keys()
    for name, grad in grads.items():
        torch.testing.assert_close(grad, expected[name], atol=1e-6, rtol=1e-5)


def test_the_mean_is_over_answer_tokens_not_over_examples(
    adapted_model: PeftModel, encoded: list[Encoded]
) -> None:
    uneven = sorted(encoded, key=lambda e: e.answer_tokens)[:: len(encoded) - 1]
    per_example = torch.stack([brute_force(adapted_model, [e]) for e in uneven]).mean()
    builder = BatchBuilder(rows=2, longest=90, packed=False, pad_id=0)
    loss = answer_loss(adapted_model, list(builder.micro_batches(uneven)), CPU)
    assert loss == pytest.approx(brute_force(adapted_model, uneven).item(), abs=1e-6)
    assert uneven[0].answer_tokens != uneven[1].answer_tokens
    assert abs(loss - per_example.item()) > 1e-3


def test_label_smoothing_spreads_over_the_vocabulary(
    adapted_model: PeftModel, encoded: list[Encoded]
) -> None:
    examples = encoded[:3]
    answers = sum(e.answer_tokens for e in examples)
    loss = answer_nll(adapted_model, pad(examples, 0), label_smoothing=0.1) / answers
    expected = brute_force(adapted_model, examples, smoothing=0.1)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_packed_logits_are_those_of_each_example_alone(
    adapted_model: PeftModel, encoded: list[Encoded]
) -> None:
    examples = encoded[:6]
    batch = pack(examples, shared=False)
    with torch.no_grad():
        alone = [adapted_model(input_ids=torch.tensor([e.ids])).logits[0] for e in examples]
        with packed_attention_on(adapted_model.get_base_model()):
            packed = adapted_model(
                input_ids=batch.input_ids,
                position_ids=batch.position_ids,
                segments=batch.segments,
                use_cache=False,
            ).logits[0]
    torch.testing.assert_close(packed, torch.cat(alone), atol=1e-5, rtol=0)


def answer_gradients(
    model: PeftModel, examples: Sequence[Encoded], which: int
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Gradients of one example's answer within a pack: of the adapter, of each example's input."""
    model.zero_grad()
    batch = pack(examples, shared=False)
    embedded: list[Tensor] = []
    layer = model.get_base_model().get_input_embeddings()

    def keep(_module: object, _inputs: object, output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[-1]

    handle = layer.register_forward_hook(keep)
    with packed_attention_on(model.get_base_model()):
        logits = model(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            segments=batch.segments,
            logits_to_keep=batch.predicting,
            use_cache=False,
        ).logits[0]
    handle.remove()
    counts = [e.answer_tokens for e in examples]
    losses = functional.cross_entropy(logits, batch.targets, reduction="none").split(counts)
    losses[which].sum().backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    assert embedded[0].grad is not None
    return grads, list(embedded[0].grad[0].split([len(e.ids) for e in examples]))


def test_an_answer_moves_no_other_example_of_its_pack(
    adapted_model: PeftModel, encoded: list[Encoded]
) -> None:
    for which in range(3):
        _, inputs = answer_gradients(adapted_model, encoded[:3], which)
        for position, gradient in enumerate(inputs):
            assert bool(gradient.any()) == (position == which)


def test_changing_one_example_of_a_pack_leaves_the_others_gradients_untouched(
    adapted_model: PeftModel, encoded: list[Encoded]
) -> None:
    first, second, third = encoded[:3]
    changed = Encoded(tuple(reversed(first.ids)), first.answer_start)
    before, _ = answer_gradients(adapted_model, [first, second, third], 1)
    after, _ = answer_gradients(adapted_model, [changed, second, third], 1)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("packed", [True, False])
def test_gradient_checkpointing_changes_memory_and_no_gradient(
    loaded: Loaded, settings: TrainingSettings, encoded: list[Encoded], packed: bool
) -> None:
    model = adapted(loaded, settings)
    plain_loss, plain = step(model, encoded[:4], rows=4, packed=packed)
    model.get_base_model().activation_checkpointing_enable({"use_reentrant": False})
    loss, grads = step(model, encoded[:4], rows=4, packed=packed)
    assert loss == plain_loss
    for name, grad in grads.items():
        torch.testing.assert_close(grad, plain[name], atol=1e-7, rtol=1e-6)
