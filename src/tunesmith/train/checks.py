"""What must hold before a training begins; each breach is named, with what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tunesmith.errors import ConfigError, DataError
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded


def check_trainable(loaded: Loaded, train: Sequence[Encoded], name: str) -> None:
    """Refuse by name what would train nothing, or something else than was meant."""
    if loaded.dtype == torch.float16:
        # Loss per answer token makes small gradients; below 6e-8 float16 knows nothing but zero.
        raise ConfigError(
            f"{name}: training in float16 is not offered: small gradients would become zero",
            hint="set model.dtype to bfloat16, float32 or auto (with load_in_4bit, too); float16 "
            "is for answering alone",
        )
    if not train:
        raise DataError(
            "there is nothing to train on: the training part is empty",
            hint="see the rejected rows, or raise data.rows",
        )
    longest = max(len(e.ids) for e in train)
    if longest > loaded.context:
        raise DataError(
            f"an example of {longest} tokens does not fit the {loaded.context} of {loaded.name}",
            hint="lower training.max_length, so that over-long rows are set aside",
        )
    ends = loaded.renderer.stop_ids
    unended = sum(1 for e in train if e.ids[-1] not in ends)
    if unended:
        raise DataError(
            f"{unended} training examples do not end with the end-of-turn token",
            hint="the model would not learn to stop; check the chat template",
        )
