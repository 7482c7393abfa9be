"""The loss: nats per answer token, computed at the answer's positions and nowhere else.

Of an access decision 14 % of the tokens are answer: a projection to the vocabulary at every
position spends six sevenths of that product, and of its memory, on logits that nobody reads.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tunesmith.train.batches import Batch
from tunesmith.train.trunk import entering


def answer_nll(model: Any, batch: Batch, *, label_smoothing: float = 0.0) -> Tensor:
    """Summed negative log-likelihood of the batch's answer tokens, in nats, float32, scalar.

    The caller divides by the number of answer tokens of the whole effective batch.
    """
    return functional.cross_entropy(
        answer_logits(model, batch).float(),
        batch.targets,
        reduction="sum",
        label_smoothing=label_smoothing,
    )


def answer_logits(model: Any, batch: Batch) -> Tensor:
    """What is said at the positions before answer tokens, (answers, vocabulary).

    `model` is a causal language model, in a PeftModel or not.
    """
    arguments: dict[str, Any] = {
        "input_ids": batch.input_ids,
        "position_ids": batch.position_ids,
        "use_cache": False,
    }
    if batch.attention_mask is None:
        arguments["segments"], arguments["parents"] = batch.segments, batch.parents
        arguments["logits_to_keep"] = batch.predicting
        with entering(batch.hidden):
            packed: Tensor = model(**arguments).logits[0]
        return packed
    arguments["attention_mask"] = batch.attention_mask
    padded: Tensor = model(**arguments).logits.flatten(0, 1)[batch.predicting]
    return padded


@torch.inference_mode()
def answer_loss(model: Any, batches: list[Batch], device: torch.device) -> float:
    """Mean loss per answer token over batches, without gradient; the same however they are cut."""
    total, count = 0.0, 0
    for batch in batches:
        total += float(answer_nll(model, batch.to(device)))
        count += len(batch.targets)
    return total / max(count, 1)
