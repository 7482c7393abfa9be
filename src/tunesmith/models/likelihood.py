"""How likely a model finds each of a few given answers to a prompt.

For a closed set of labels this is the exact decision of the model, and it never fails to parse:
log p(label | prompt) = sum over the label's tokens of log p(token | prompt, tokens before). What
all prompts begin with is read once. Then one forward pass a prompt: its last logits give each
label's first token, and labels of several tokens are read against its keys and values in one small
second pass.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tunesmith.models.batching import in_batches, pad_left
from tunesmith.models.cache import Prefix
from tunesmith.models.load import Loaded
from tunesmith.models.render import Renderer
from tunesmith.records import Example

CPU_TOKENS = 4096  # of a batch


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

    @property
    def best(self) -> int:
        """Which candidate is the likeliest; among equals the first. ValueError where it failed."""
        return int(np.argmax(self.log_likelihoods))


def continuations(
    renderer: Renderer, examples: Sequence[Example], answers: Sequence[str]
) -> list[tuple[tuple[int, ...], ...]]:
    """Token ids of each answer in its place behind each example's prompt, cut as in training.

    They are beginnings of an answer: nothing ends them, so that "full" stands for every answer
    that begins with it. Only where the ids of one begin another's, the token that ends the turn
    belongs to each: without it the longer one could never be the likelier.
    """
    asked = [Example(e.messages, answer) for e in examples for answer in answers]
    ids = [encoded.ids[encoded.answer_start :] for encoded in renderer.examples(asked)]
    several = len(answers)
    return [_closed(ids[i : i + several]) for i in range(0, len(ids), several)]


def _closed(ended: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
    opened = tuple(ids[:-1] for ids in ended)
    nested = any(
        i != j and long[: len(short)] == short
        for i, short in enumerate(opened)
        for j, long in enumerate(opened)
    )
    return tuple(ended) if nested else opened


def score_candidates(
    loaded: Loaded,
    prompts: Sequence[Sequence[int]],
    candidates: Sequence[Sequence[Sequence[int]]],
    *,
    batch_size: int,
    share_prefix: bool = True,
) -> Iterator[list[Scored]]:
    """Log-likelihoods of `candidates[i]` (token ids, none empty) behind `prompts[i]`, batch-wise.

    Every prompt has the same number of candidates. They come longest prompt first; a prompt that
    does not fit the model's context or the memory comes back with `failure` set. `share_prefix`
    reads what all prompts begin with once; in float32 it changes nothing but the time.
    """
    if len(prompts) != len(candidates):
        raise ValueError(f"{len(prompts)} prompts but {len(candidates)} sets of candidates")
    if any(not ids for several in candidates for ids in several):
        raise ValueError("a candidate answer has no token")

    def fits(i: int) -> bool:
        longest = max(len(ids) for ids in candidates[i])
        return len(prompts[i]) > 0 and len(prompts[i]) + longest <= loaded.context

    readable = [prompts[i] for i in range(len(prompts)) if fits(i)] if share_prefix else []
    prefix = Prefix.read(loaded.model, loaded.base.config, readable, loaded.device)

    def work(batch: list[int]) -> list[Scored]:
        fitting = [i for i in batch if fits(i)]
        begun = time.perf_counter()
        some = [prompts[i][prefix.length :] for i in fitting]
        rows = _score(loaded, prefix, some, [candidates[i] for i in fitting]) if fitting else []
        share = (time.perf_counter() - begun) / max(len(fitting), 1)
        scored = [
            Scored(i, row, share, sum(len(ids) for ids in candidates[i]))
            if np.isfinite(max(row)) and not np.isnan(row).any()
            else _failed(i, "the model's output is not a number")
            for i, row in zip(fitting, rows, strict=True)
        ]
        unfit = (i for i in batch if not fits(i))
        reason = f"prompt and answer do not fit the {loaded.context} tokens of {loaded.name}"
        return scored + [_failed(i, reason) for i in unfit]

    lengths = [len(prompt) for prompt in prompts]
    # What one layer makes of some thousand tokens stays in a processor's own memory: measured on
    # two cores, twice as fast as a batch of 64 prompts.
    most = CPU_TOKENS if loaded.device.type == "cpu" else None
    return in_batches(lengths, work, batch_size=batch_size, failed=_failed, most_tokens=most)


def _failed(index: int, reason: str) -> Scored:
    return Scored(index, (), 0.0, 0, failure=reason)


@torch.inference_mode()
def _score(
    loaded: Loaded,
    prefix: Prefix,
    prompts: Sequence[Sequence[int]],
    candidates: Sequence[Sequence[Sequence[int]]],
) -> list[tuple[float, ...]]:
    """Log-likelihoods of each prompt's candidates; `prompts` are what comes after the prefix."""
    device, rows, several = loaded.device, len(prompts), len(candidates[0])
    ids, mask, positions = pad_left(prompts, loaded.renderer.pad_id, device)
    mask = torch.cat([mask.new_ones((rows, prefix.length)), mask], dim=1)
    positions = positions + prefix.length
    flat = [answer for choices in candidates for answer in choices]  # rows * several
    going_on = [place for place, answer in enumerate(flat) if len(answer) > 1]
    cache = prefix.cache(loaded.base.config, rows) if prefix.length or going_on else None
    logits = loaded.model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=cache is not None,
        logits_to_keep=1,
    ).logits
    first = logits[:, -1].float().log_softmax(dim=-1)  # (rows, vocabulary)
    opening = torch.tensor([answer[0] for answer in flat], device=device)
    # Summed on the host: Apple GPUs have no float64.
    total = first.gather(1, opening.view(rows, several)).cpu().double().flatten()
    if cache is not None and going_on:
        row = torch.tensor(going_on, device=device) // several  # whose prompt each goes on from
        if row.tolist() != list(range(rows)):
            cache.batch_select_indices(row)
        total[going_on] += _rest(
            loaded, cache, mask[row], positions[row, -1:] + 1, [flat[place] for place in going_on]
        )
    return [tuple(values) for values in total.view(rows, several).tolist()]


def _rest(
    loaded: Loaded, cache: Any, mask: Tensor, position: Tensor, answers: Sequence[Sequence[int]]
) -> Tensor:
    """(answers,) log-likelihoods of all tokens but the first, read against the prompts' cache.

    `mask` (answers, prompt) and `position` (answers, 1), the place of the first token, belong to
    the prompts in the cache.
    """
    longest = max(len(answer) for answer in answers)
    # Padded on the right: what stands behind a shorter answer is read after it, changing nothing.
    ids = torch.zeros((len(answers), longest), dtype=torch.long)
    real = torch.zeros((len(answers), longest), dtype=torch.bool)
    for place, answer in enumerate(answers):
        ids[place, : len(answer)] = torch.tensor(answer)
        real[place, : len(answer)] = True
    ids, real = ids.to(loaded.device), real.to(loaded.device)
    logits = loaded.model(
        input_ids=ids[:, :-1],
        attention_mask=torch.cat([mask, torch.ones_like(ids[:, :-1])], dim=1),
        position_ids=position + torch.arange(longest - 1, device=loaded.device),
        past_key_values=cache,
        use_cache=True,
    ).logits  # (answers, longest - 1, vocabulary)
    # One answer at a time: with 128,000 tokens to choose from, a float32 copy of all is gigabytes.
    found = torch.stack(
        [
            scores.float().log_softmax(dim=-1).gather(1, wanted[:, None])[:, 0]
            for scores, wanted in zip(logits, ids[:, 1:], strict=True)
        ]
    )
    return torch.where(real[:, 1:], found, 0.0).cpu().double().sum(dim=1)
