"""How far a run has come: all of its state that is neither weights, optimizer nor random numbers.

It travels in the checkpoint as plain values, so that a run goes on as if it had not stopped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tunesmith.train.best import Best
from tunesmith.train.divergence import Losses
from tunesmith.train.memory import Cut


@dataclass
class Progress:
    """What a run has done so far; `seconds` of training alone, `peak_memory` in bytes.

    `pending` is a step that was computed and not yet validated when the run was stopped,
    `reported` the last that was told.
    """

    cut: Cut
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    loss: float = math.nan
    peak_memory: int = 0
    losses: Losses = field(default_factory=Losses)
    best: Best | None = None
    pending: dict[str, Any] | None = None
    reported: dict[str, Any] | None = None

    def plain(self) -> dict[str, Any]:
        """As a checkpoint takes it."""
        return asdict(self)

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Progress:
        """What `plain` gave."""
        best = plain["best"]
        return cls(
            **{
                **plain,
                "cut": Cut(**plain["cut"]),
                "losses": Losses(**plain["losses"]),
                "best": None if best is None else Best(**best),
            }
        )
