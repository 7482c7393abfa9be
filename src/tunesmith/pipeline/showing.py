"""Examples exactly as the model will see them: its own template, its own tokens, what is trained.

The pieces come from the renderer that training uses, so what is shown is what is trained.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from tunesmith.errors import DataError
from tunesmith.records import Example

if TYPE_CHECKING:
    from tunesmith.models.render import Renderer
    from tunesmith.pipeline.datasets import Opened

Kind = Literal["prompt", "answer", "special", "special answer"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of tokens of one kind as text; those of an answer are supervised."""

    kind: Kind
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Seen:
    """One example as the model sees it. `row` counts the set's examples from 1."""

    row: int
    part: str
    example: Example
    pieces: tuple[Piece, ...]
    tokens: int
    supervised: int


@dataclass(frozen=True, slots=True)
class Slot:
    """Where an example stands in its set."""

    row: int
    part: str
    example: Example


def slots(
    opened: Opened,
    *,
    row: int | None = None,
    label: str | None = None,
    source: str | None = None,
    part: str | None = None,
    seed: int | None = None,
) -> list[Slot]:
    """The examples of a set that are asked for, shuffled where there is a seed.

    DataError where there is none, saying what there is.
    """
    every: list[Slot] = []
    for name, examples in opened.parts.items():
        every += [Slot(len(every) + n, name, e) for n, e in enumerate(examples, start=1)]
    wanted: Mapping[str, tuple[str | None, Any]] = {
        "part": (part, lambda s: s.part),
        "label": (label, lambda s: s.example.label),
        "source": (source, lambda s: s.example.meta.get("source")),
    }
    found = every
    for name, (value, of) in wanted.items():
        if value is not None:
            known = sorted({str(of(slot)) for slot in every if of(slot) is not None})
            found = [slot for slot in found if of(slot) == value]
            if value not in known:
                told = ", ".join(known[:8]) or "none"
                raise DataError(
                    f"{opened.name}: no example has the {name} {value!r}.", hint=f"There is {told}."
                )
    if row is not None:
        found = [slot for slot in found if slot.row == row]
    if not found:
        raise DataError(
            f"{opened.name}: no example is what was asked for, of {len(every):,}.",
            hint="Ask for less, or for a --row from 1 on.",
        )
    if seed is not None:
        random.Random(seed).shuffle(found)
    return found


def renderer_of(opened: Opened, model: str | None) -> Renderer:
    """The renderer of the named model, else of the recipe's, else of nano."""
    from tunesmith.config import ModelSettings
    from tunesmith.models.load import load_renderer

    if model is not None or opened.resolved is None:
        return load_renderer(ModelSettings(name=model or "nano"))
    return load_renderer(opened.resolved.recipe.model)


def seen(renderer: Renderer, chosen: Sequence[Slot]) -> list[Seen]:
    """The examples as the model sees them."""
    encoded = renderer.examples([slot.example for slot in chosen])
    return [
        Seen(
            slot.row,
            slot.part,
            slot.example,
            pieces(renderer.tokenizer, it.ids, it.answer_start),
            len(it.ids),
            it.answer_tokens,
        )
        for slot, it in zip(chosen, encoded, strict=True)
    ]


def hidden(it: Seen, region: str | None = "US") -> Seen:
    """The example with what is private masked, for whoever is shown it; the counts stay."""
    from tunesmith.data.quality.mask import masked, masked_example

    shown = tuple(replace(piece, text=masked(piece.text, region=region)) for piece in it.pieces)
    return replace(it, example=masked_example(it.example, region=region), pieces=shown)


def region_of(opened: Opened) -> str | None:
    """The country whose national telephone numbers are known: the recipe's, else the default."""
    from tunesmith.config.quality import QualitySettings

    asked = opened.resolved.recipe.data.quality if opened.resolved else QualitySettings()
    return asked.phone_region


def pieces(tokenizer: Any, ids: Sequence[int], answer_start: int) -> tuple[Piece, ...]:
    """Tokens in runs of one kind; decoded run by run, so that no character is torn."""
    known = tokenizer.added_tokens_decoder

    def kind(at: int) -> Kind:
        special = ids[at] in known and known[ids[at]].special
        if at < answer_start:
            return "special" if special else "prompt"
        return "special answer" if special else "answer"

    found = []
    for name, places in groupby(range(len(ids)), kind):
        run = [ids[at] for at in places]
        text = tokenizer.decode(run, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        found.append(Piece(name, str(text), len(run)))
    return tuple(found)


def seen_json(it: Seen) -> dict[str, Any]:
    """One example as `tunesmith data show --json` prints it."""
    return {
        "row": it.row,
        "part": it.part,
        "id": it.example.id,
        "place": it.example.place,
        "label": it.example.label,
        "meta": dict(it.example.meta),
        "tokens": it.tokens,
        "supervised": it.supervised,
        "text": "".join(piece.text for piece in it.pieces),
        "pieces": [{"kind": p.kind, "text": p.text, "tokens": p.tokens} for p in it.pieces],
    }
