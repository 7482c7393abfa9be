"""What a data report tells, gathered: a set's parts, its findings, lengths, and some examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import DataError
from tunesmith.pipeline.context import Listener
from tunesmith.pipeline.datasets import Opened, open_any, origins_of
from tunesmith.pipeline.showing import (
    Seen,
    Slot,
    hidden,
    region_of,
    renderer_of,
    seen,
    slots,
)

if TYPE_CHECKING:
    from tunesmith.models.render import Renderer
    from tunesmith.report.data_page import Sheet, Shown

BATCH = 512  # examples encoded at once


def data_report(
    names: Sequence[str],
    out: Path,
    *,
    home: Path,
    listener: Listener | None = None,
    model: str | None = None,
    task: str | None = None,
    examples: int = 6,
    sets: tuple[str, ...] = (),
) -> Path:
    """Write the report of a recipe, a version, or some files together, and return its place.

    DataError where a recipe or a version stands beside others.
    """
    from tunesmith.report.data_page import render_data

    opened = [open_any(n, home=home, listener=listener, task=task, sets=sets) for n in names]
    alone = next((it for it in opened if it.kind != "file"), None)
    if alone is not None and len(opened) > 1:
        raise DataError(
            f"{alone.name} is a {alone.kind}: it has a report of its own.",
            hint="Name it alone, or several files.",
        )
    whole = opened[0] if len(opened) == 1 else _together(opened)
    return render_data(_sheet(whole, names, model, task, examples), out)


def _together(opened: Sequence[Opened]) -> Opened:
    rows = tuple(e for it in opened for examples in it.parts.values() for e in examples)
    return Opened(", ".join(Path(it.name).name for it in opened), "file", {"all": rows})


def _sheet(
    whole: Opened, names: Sequence[str], model: str | None, task: str | None, examples: int
) -> Sheet:
    from tunesmith.data.check import check_files
    from tunesmith.data.versions import origin
    from tunesmith.report.data_page import Sheet

    renderer = renderer_of(whole, model)
    every = slots(whole)
    said = origins_of(whole.resolved) if whole.resolved else {}
    licences = _licences(whole)
    quality = whole.prepared.quality if whole.prepared else None
    if whole.kind == "file":
        quality = check_files(names, task=task)
    made = Counter(origin(slot.example, said) for slot in every)
    terms = Counter(
        slot.example.meta.get("licence")
        or licences.get(slot.example.meta.get("source", ""))
        or "not stated"
        for slot in every
    )
    return Sheet(
        title=Path(whole.name).name if whole.kind == "file" else whole.name[:40],
        parts=whole.parts,
        quality=quality,
        lengths=_lengths(renderer, every),
        unit="tokens",
        max_length=whole.prepared.max_length if whole.prepared else None,
        rejected=dict(whole.prepared.reject_reasons) if whole.prepared else {},
        licences=dict(terms.most_common()),
        origins=dict(made.most_common()),
        # People hand the page on.
        examples=tuple(
            _shown(hidden(it, region_of(whole))) for it in seen(renderer, _spread(every, examples))
        ),
        repeat=_repeat(whole, names),
    )


def _lengths(renderer: Renderer, every: Sequence[Slot]) -> tuple[tuple[int, int], ...]:
    """Tokens of prompt and answer, in batches: encodings of all at once would fill the memory."""
    found: list[tuple[int, int]] = []
    for start in range(0, len(every), BATCH):
        encoded = renderer.examples([slot.example for slot in every[start : start + BATCH]])
        found += [(it.answer_start, it.answer_tokens) for it in encoded]
    return tuple(found)


def _spread(every: Sequence[Slot], number: int) -> list[Slot]:
    """Some examples, of every source and label in turn, the first of each."""
    strata: dict[tuple[str, str], list[Slot]] = {}
    for slot in every:
        key = (slot.example.meta.get("source", ""), slot.example.label or "")
        strata.setdefault(key, []).append(slot)
    turns: list[Slot] = []
    depth = 0
    while len(turns) < min(number, len(every)):
        turns += [members[depth] for members in strata.values() if depth < len(members)]
        depth += 1
    return turns[:number]


def _shown(it: Seen) -> Shown:
    from tunesmith.report.data_page import Shown

    told = [it.part, it.example.meta.get("source", ""), it.example.label or ""]
    return Shown(
        title=it.example.place or it.example.id,
        note=" · ".join(filter(None, told)),
        pieces=tuple((piece.kind, piece.text) for piece in it.pieces),
        tokens=it.tokens,
        supervised=it.supervised,
    )


def _licences(whole: Opened) -> dict[str, str]:
    if whole.resolved is None:
        return {}
    sources = whole.resolved.recipe.data.sources
    return {name: source.licence for name, source in sources.items() if source is not None}


def _repeat(whole: Opened, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    from tunesmith import __version__

    rows = [("command", f"tunesmith data report {' '.join(names)}"), ("tunesmith", __version__)]
    if whole.prepared is not None:
        rows.append(("prepared data", whole.prepared.key))
    return tuple(rows)
