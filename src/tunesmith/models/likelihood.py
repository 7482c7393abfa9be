"""How likely a model finds each of a few given answers to a prompt.

For a closed set of labels this is the exact decision of the model, and it never fails to parse:
log p(label | prompt) = sum over the label's tokens of log p(token | prompt, tokens before). One
forward pass a prompt: its keys and values are kept, and all labels are read against them as one
small second pass. Where every label is a single token there is no second pass at all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tunesmith.models.batching import in_batches, pad_left
from tunesmith.models.cache import roomy_cache
from tunesmith.models.load import Loaded
from tunesmith.models.render import Renderer
from tunesmith.records import Message


@dataclass(frozen=True, slots=True)
class Scored:
    """Log-likelihood (nats) of each candidate answer to one prompt; `tokens` were read for it.

    `seconds` is this prompt's share of its batch's time. A `failure` says why there is none.
    """

    index: int
    log_likelihoods: tuple[float, ...]
    seconds: float
    tokens: int
    failure: str = ""


def continuations(
    renderer: Renderer,
    messages: Sequence[Message],
    answers: Sequence[str],
    *,
    end_turn: bool = True,
) -> tuple[tuple[int, ...], ...]:
    """Token ids of each answer in its place behind the prompt, cut exactly as in training.

    With `end_turn` the token that ends the turn belongs to each. It keeps the candidates
    comparable where one is the beginning of another.
    """
    ids = [renderer.answer_ids(messages, answer) for answer in answers]
    return tuple(tuple(answer if end_turn else answer[:-1]) for answer in ids)


def score_candidates(
    loaded: Loaded,
    prompts: Sequence[Sequence[int]],
    candidates: Sequence[Sequence[Sequence[int]]],
    *,
    batch_size: int,
) -> Iterator[Scored]:
    """Log-likelihoods of `candidates[i]` (token ids, none empty) behind `prompts[i]`, batch-wise.

    Every prompt has the same number of candidates. They come longest prompt first; a prompt that
    does not fit the model's context or the memory comes back with `failure` set.
    """
    if len(prompts) != len(candidates):
        raise ValueError(f"{len(prompts)} prompts but {len(candidates)} sets of candidates")
    if any(not ids for several in candidates for ids in several):
        raise ValueError("a candidate answer has no token")

    def length(i: int) -> int:
        return len(prompts[i]) + max(len(ids) for ids in candidates[i])

    def work(batch: list[int]) -> list[Scored]:
        fitting = [i for i in batch if len(prompts[i]) > 0 and length(i) <= loaded.context]
        begun = time.perf_counter()
        table = (
            _score(loaded, [prompts[i] for i in fitting], [candidates[i] for i in fitting])
            if fitting
            else np.zeros((0, 0))
        )
        share = (time.perf_counter() - begun) / max(len(fitting), 1)
        scored = [
            Scored(i, tuple(map(float, row)), share, sum(len(ids) for ids in candidates[i]))
            for i, row in zip(fitting, table, strict=True)
        ]
        unfit = (i for i in batch if i not in set(fitting))
        reason = f"prompt and answer do not fit the {loaded.context} tokens of {loaded.name}"
        return scored + [_failed(i, reason) for i in unfit]

    lengths = [len(prompt) for prompt in prompts]
    return in_batches(lengths, work, batch_size=batch_size, failed=_failed)


def log_likelihoods(
    loaded: Loaded,
    prompts: Sequence[Sequence[int]],
    candidates: Sequence[Sequence[Sequence[int]]],
    *,
    batch_size: int,
) -> NDArray[np.float64]:
    """The same as one array, (prompts, candidates), in nats; NaN where a prompt failed."""
    width = len(candidates[0]) if candidates else 0
    table = np.full((len(prompts), width), np.nan)
    for scored in score_candidates(loaded, prompts, candidates, batch_size=batch_size):
        if not scored.failure:
            table[scored.index] = scored.log_likelihoods
    return table


def _failed(index: int, reason: str) -> Scored:
    return Scored(index, (), 0.0, 0, failure=reason)


@torch.inference_mode()
def _score(
    loaded: Loaded,
    prompts: Sequence[Sequence[int]],
    candidates: Sequence[Sequence[Sequence[int]]],
) -> NDArray[np.float64]:
    """(prompts, candidates) log-likelihoods of one batch."""
    device = loaded.device
    rows, several = len(prompts), len(candidates[0])
    ids, mask, positions = pad_left(prompts, loaded.renderer.pad_id, device)
    flat = [list(answer) for choices in candidates for answer in choices]  # rows * several
    longest = max(len(answer) for answer in flat)
    targets = torch.zeros((len(flat), longest), dtype=torch.long)
    real = torch.zeros((len(flat), longest), dtype=torch.bool)
    for place, answer in enumerate(flat):
        targets[place, : len(answer)] = torch.tensor(answer)
        real[place, : len(answer)] = True
    targets, real = targets.to(device), real.to(device)

    cache = roomy_cache(loaded.base.config)
    output = loaded.model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache if longest > 1 else None,
        use_cache=longest > 1,
        logits_to_keep=1,
    )
    first = output.logits[:, -1].float().log_softmax(dim=-1)  # (rows, vocabulary)
    begun = first.gather(1, targets[:, 0].view(rows, several)).reshape(-1, 1)
    found: list[Tensor] = [begun]  # each (rows * several, tokens)
    if longest > 1:
        cache.batch_repeat_interleave(several)
        # What stands on the right of a shorter answer is read after it and cannot change it.
        behind = torch.arange(longest - 1, device=device)
        logits = loaded.model(
            input_ids=targets[:, :-1],
            attention_mask=torch.cat(
                [mask.repeat_interleave(several, dim=0), torch.ones_like(targets[:, :-1])], dim=1
            ),
            position_ids=(positions[:, -1:] + 1).repeat_interleave(several, dim=0) + behind,
            past_key_values=cache,
            use_cache=True,
        ).logits.float()  # (rows * several, longest - 1, vocabulary)
        rest = logits.log_softmax(dim=-1).gather(2, targets[:, 1:, None])[..., 0]
        found.append(rest)
    total = torch.where(real, torch.cat(found, dim=1), 0.0).double().sum(dim=1)
    table: NDArray[np.float64] = total.view(rows, several).cpu().numpy()
    return table
