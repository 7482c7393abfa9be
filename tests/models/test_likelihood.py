"""Log-likelihoods of candidate answers, against one plain forward pass for each."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from tiny_models import questions
from tunesmith.models.likelihood import continuations, score_candidates
from tunesmith.models.load import Loaded
from tunesmith.records import Example, Message

LABELS = ("red", "green and blue", "one")
Ids = Sequence[int]


def one_by_one(
    loaded: Loaded, prompts: Sequence[Ids], candidates: Sequence[Sequence[Ids]]
) -> np.ndarray:
    """(prompts, candidates): the whole text through the model, no padding and no cache."""

    @torch.no_grad()
    def total(prompt: Ids, answer: Ids) -> float:
        logits = loaded.model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0]
        found = logits.double().log_softmax(dim=-1)
        return sum(
            found[len(prompt) - 1 + place, token].item() for place, token in enumerate(answer)
        )

    return np.array(
        [
            [total(prompt, answer) for answer in answers]
            for prompt, answers in zip(prompts, candidates, strict=True)
        ]
    )


def log_likelihoods(
    loaded: Loaded,
    prompts: Sequence[Ids],
    candidates: Sequence[Sequence[Ids]],
    *,
    batch_size: int,
    share_prefix: bool = True,
) -> np.ndarray:
    """(prompts, candidates), as they are scored in batches."""
    table = np.full((len(prompts), len(candidates[0])), np.nan)
    for batch in score_candidates(
        loaded, prompts, candidates, batch_size=batch_size, share_prefix=share_prefix
    ):
        for scored in batch:
            table[scored.index] = scored.log_likelihoods
    return table


@pytest.fixture(scope="module")
def asked() -> list[Example]:
    """Questions of different lengths behind one and the same long system message."""
    system = Message("system", "Answer the question in one word: red green blue one two three.")
    return [
        Example((system, *(m for m in q.messages if m.role == "user")), "") for q in questions(20)
    ]


@pytest.mark.parametrize("which", ["loaded", "adapted"])
@pytest.mark.parametrize("size", [1, 6, 64])
@pytest.mark.parametrize("share", [True, False])
def test_equals_a_plain_forward_pass(
    which: str, size: int, share: bool, asked: list[Example], request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(which)
    prompts = model.renderer.prompts(asked)
    candidates = continuations(model.renderer, asked, LABELS)
    table = log_likelihoods(model, prompts, candidates, batch_size=size, share_prefix=share)
    assert np.abs(table - one_by_one(model, prompts, candidates)).max() < 1e-4


def test_single_tokens_need_no_second_pass_and_no_common_beginning(
    loaded: Loaded, prompts: list[list[int]]
) -> None:
    candidates = [[[10], [11], [12 + i]] for i in range(len(prompts))]
    table = log_likelihoods(loaded, prompts, candidates, batch_size=5)
    assert np.abs(table - one_by_one(loaded, prompts, candidates)).max() < 1e-4


def test_candidates_may_differ_in_length_from_prompt_to_prompt(
    loaded: Loaded, prompts: list[list[int]]
) -> None:
    draw = np.random.default_rng(5)
    candidates = [
        [draw.integers(5, 300, size=draw.integers(1, 6)).tolist() for _ in range(4)]
        for _ in prompts
    ]
    table = log_likelihoods(loaded, prompts, candidates, batch_size=7)
    assert np.abs(table - one_by_one(loaded, prompts, candidates)).max() < 1e-4


def test_all_single_answers_of_a_token_sum_to_one(loaded: Loaded, prompts: list[list[int]]) -> None:
    vocabulary = [[token] for token in range(loaded.base.config.vocab_size)]
    table = log_likelihoods(loaded, prompts[:3], [vocabulary] * 3, batch_size=3)
    assert np.exp(table).sum(axis=1) == pytest.approx(np.ones(3), abs=1e-5)


def test_prompts_that_do_not_fit_fail_alone(loaded: Loaded) -> None:
    prompts = [[5] * loaded.context, [6, 7, 8], [5] * (loaded.context - 2), []]
    candidates = [[[9], [9, 10]]] * 4
    found = {
        one.index: one
        for batch in score_candidates(loaded, prompts, candidates, batch_size=4)
        for one in batch
    }
    assert [bool(found[i].failure) for i in range(4)] == [True, False, False, True]
    assert "256 tokens" in found[0].failure
    expected = one_by_one(loaded, [prompts[1], prompts[2]], candidates[:2])
    assert found[1].log_likelihoods == pytest.approx(expected[0], abs=1e-4)
    assert found[2].log_likelihoods == pytest.approx(expected[1], abs=1e-4)


def test_continuations_are_cut_as_in_training(asked: list[Example], loaded: Loaded) -> None:
    renderer = loaded.renderer
    for example, several in zip(asked, continuations(renderer, asked, LABELS), strict=True):
        for label, ids in zip(LABELS, several, strict=True):
            whole = renderer.example(Example(example.messages, f"{label}\nRationale: it is so"))
            assert whole.ids[whole.answer_start :][: len(ids)] == ids
            assert renderer.decode(ids) == label


def test_a_label_that_begins_another_is_told_apart_by_the_end(
    asked: list[Example], loaded: Loaded
) -> None:
    nested = continuations(loaded.renderer, asked[:1], ("yes", "yes, red"))[0]
    assert all(ids[-1] in loaded.renderer.stop_ids for ids in nested)
    apart = continuations(loaded.renderer, asked[:1], ("yes", "no"))[0]
    assert not any(ids[-1] in loaded.renderer.stop_ids for ids in apart)


def test_the_best_candidate_and_ties(loaded: Loaded) -> None:
    batches = list(score_candidates(loaded, [[5, 6]], [[[9], [10], [9]]], batch_size=1))
    scored = batches[0][0]
    assert scored.best == int(np.argmax(scored.log_likelihoods))
    assert scored.log_likelihoods[0] == scored.log_likelihoods[2]
    (tied,) = next(score_candidates(loaded, [[5, 6]], [[[9], [9]]], batch_size=1))
    assert tied.best == 0


def test_an_output_that_is_no_number_is_no_decision(loaded: Loaded) -> None:
    broken = copy.deepcopy(loaded.model)
    broken.lm_head.weight.data[:] = float("nan")
    ((scored,),) = score_candidates(
        replace(loaded, model=broken), [[5, 6]], [[[9], [10, 11]]], batch_size=1
    )
    assert "not a number" in scored.failure


def test_what_cannot_be_scored_is_refused(loaded: Loaded) -> None:
    with pytest.raises(ValueError, match="no token"):
        score_candidates(loaded, [[5]], [[[9], []]], batch_size=1)
    with pytest.raises(ValueError, match="2 prompts"):
        score_candidates(loaded, [[5], [6]], [[[9]]], batch_size=1)
