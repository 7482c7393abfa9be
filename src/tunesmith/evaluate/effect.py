"""Whether an adapter does anything: the same base, asked with it and without it.

An adapter that was saved empty, or loaded beside the layers it belongs to, gives the base's own
answers, and nothing else says so (peft issue 793, unsloth issue 2142). Compared with the untuned
variant it would pass unnoticed on a 4-bit base, whose answers differ by the rounding alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunesmith.records import Example

if TYPE_CHECKING:
    from tunesmith.models.load import Loaded

ASKED = 16  # prompts
WRITTEN = 16  # tokens of each answer that are compared


def changed_share(loaded: Loaded, examples: Sequence[Example]) -> float:
    """Share (0 to 1) of the first prompts whose greedy answer begins otherwise with the adapter.

    `loaded` carries the adapter. 0.0 where there are no examples.
    """
    prompts = loaded.renderer.prompts(examples[:ASKED])
    if not prompts:
        return 0.0
    tuned = _beginnings(loaded, prompts)
    with loaded.model.disable_adapter():
        untuned = _beginnings(loaded, prompts)
    return sum(a != b for a, b in zip(tuned, untuned, strict=True)) / len(prompts)


def _beginnings(loaded: Loaded, prompts: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    from tunesmith.models.generate import generate

    said: dict[int, tuple[int, ...]] = {}
    for batch in generate(loaded, prompts, max_new_tokens=WRITTEN, batch_size=ASKED):
        said |= {one.index: one.ids for one in batch}
    return [said[i] for i in range(len(prompts))]
