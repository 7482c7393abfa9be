"""Prepare: apply what `data.quality` asks for, and say of every row that went why it went.

The order: what is to be masked is masked; a finding whose action is `fail` ends it; rows with a
fault are dropped; among those that are left, the duplicates beyond the first are dropped (else a
cluster could lose its first row to a fault and all others to it). Rows of a test source are masked
and never dropped: a test set stays whole.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from tunesmith.config.quality import Action, QualitySettings
from tunesmith.data.clean import Cleaned, write_rejects
from tunesmith.data.quality.flags import Flag
from tunesmith.data.quality.mask import masked_example, masked_reject, masked_value, strings
from tunesmith.data.quality.panel import by_prompt, look
from tunesmith.data.quality.repeats import without_first
from tunesmith.data.read import names, read_rows
from tunesmith.data.source import RawRow
from tunesmith.errors import DataError
from tunesmith.records import Example, Finding, Reject, Severity
from tunesmith.store.whole import whole_folder

REPEATS = (
    "duplicate_prompts",
    "differing_answers",
    "near_duplicates",
)  # judged last, among what is left
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Applied:
    """What is left: examples with their prompt keys; what went; which places were masked."""

    examples: tuple[Example, ...]
    keys: tuple[str, ...]
    dropped: tuple[Reject, ...]
    masked: tuple[str, ...]
    reasons: Mapping[str, int]  # code -> rows dropped for it

    def findings(self) -> tuple[Finding, ...]:
        """What was done, as findings; none where nothing was."""
        found = []
        if self.dropped:
            counts = ", ".join(f"{code} {n:,}" for code, n in self.reasons.items())
            shown = tuple(f"{r.place}: {r.reason}" for r in self.dropped[:SHOWN])
            found.append(
                Finding(
                    "dropped_rows",
                    Severity.INFO,
                    f"rows dropped as data.quality asks ({counts})",
                    len(self.dropped),
                    shown,
                    "data.quality.enabled: false keeps them, to see what that does.",
                )
            )
        if self.masked:
            message = "rows masked as data.quality asks"
            found.append(
                Finding(
                    "masked_rows", Severity.INFO, message, len(self.masked), self.masked[:SHOWN]
                )
            )
        return tuple(found)


def apply(
    examples: Sequence[Example],
    settings: QualitySettings,
    *,
    tests: Mapping[str, Sequence[str]] | None = None,
    raw: Iterable[RawRow] = (),
) -> Applied:
    """The examples after the actions of the settings; as they were where none is named.

    `raw` are the rows as they stand in their files: secrets are looked for in every column of them.

    Raises DataError where a finding whose action is `fail` has a row.
    """
    actions = settings.chosen()
    masked = _masked(examples, actions, settings)
    kept = [masked.get(row, example) for row, example in enumerate(examples)]
    open_ = [row for row, example in enumerate(kept) if example.meta.get("role") != "test"]
    why: dict[int, tuple[str, str]] = {}
    fails = frozenset(code for code, action in actions.items() if action == "fail")
    firsts = frozenset(code for code, action in actions.items() if action == "keep_first")
    drops = firsts | {code for code, action in actions.items() if action == "drop"}
    for codes in ((fails | drops) - frozenset(REPEATS), (fails | drops) & frozenset(REPEATS)):
        left = [row for row in open_ if row not in why]
        judged = [kept[row] for row in left]
        keys = [example.prompt_key for example in judged]
        for found in _flags(judged, keys, codes, settings, tests, raw):
            if found.code in fails:
                raise _failed(found, judged)
            flag = without_first(found, keys) if found.code in firsts else found
            for hit in flag.hits:
                why.setdefault(left[hit.row], (flag.code, hit.note))
    rest = [example for row, example in enumerate(kept) if row not in why]
    return Applied(
        examples=tuple(rest),
        keys=tuple(example.prompt_key for example in rest),
        dropped=tuple(_reject(kept[row], *why[row], settings.phone_region) for row in sorted(why)),
        masked=tuple(examples[row].place for row in masked if row not in why),
        reasons=dict(Counter(code for code, _ in why.values()).most_common()),
    )


def write_prepared(
    directory: Path, cleaned: Cleaned, applied: Applied, settings: QualitySettings
) -> dict[str, Any]:
    """Write what is kept, a file for each source, as its rows stood there; and `dropped.jsonl`.

    Rows are read again by their place, so that no column is lost: of a kept row with the masks
    that were asked for in every column, of a dropped one with everything private masked. Returns
    counts, which `prepared.json` holds, too. What stood in `directory` is replaced
    when all is written, and not before. Raises DataError where an input lies in it.
    """
    inside = [p for pin in cleaned.resolved for p in pin.paths if _within(p, directory)]
    if inside:
        raise DataError(
            f"{inside[0]} lies in {directory}, which is to be replaced; nothing was written",
            hint="name another folder with --out",
        )
    with whole_folder(directory) as new:
        return _write_into(new, cleaned, applied, settings)


def _within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _write_into(
    directory: Path, cleaned: Cleaned, applied: Applied, settings: QualitySettings
) -> dict[str, Any]:
    places = {example.place for example in applied.examples}
    dropped = {reject.place: reject for reject in applied.dropped}
    what = _what(settings.chosen(), settings)
    hides = what["keys"] or what["people"]
    named = names(path for pinned in cleaned.resolved for path in pinned.paths)
    written: dict[str, int] = {}
    masked = 0
    for pinned in cleaned.resolved:
        name = _unused(Path(pinned.source.name).name.replace("*", "_"), written)
        written[name] = 0
        with _open(directory / "kept", name) as file:
            for raw in read_rows(pinned, named):
                if raw.row is not None and raw.place in dropped:
                    whole = replace(dropped[raw.place], row=raw.row)
                    dropped[raw.place] = masked_reject(whole, settings.phone_region)
                if raw.row is None or raw.place not in places:
                    continue
                row = masked_value(raw.row, **what) if hides else raw.row
                masked += hides and list(strings(row)) != list(strings(raw.row))
                file.write(json.dumps(dict(row), ensure_ascii=False, default=str) + "\n")
                written[name] += 1
    unusable = [masked_reject(reject, settings.phone_region) for reject in cleaned.rejects]
    write_rejects(directory / "dropped.jsonl", [*unusable, *dropped.values()])
    facts = {
        "rows": cleaned.rows,
        "kept": sum(written.values()),
        "unusable": len(cleaned.rejects),
        "dropped": len(applied.dropped),
        "masked": masked,
        "reasons": dict(applied.reasons),
        "files": written,
        "settings": settings.model_dump(mode="json"),
    }
    (directory / "prepared.json").write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    return facts


def _unused(stem: str, taken: Collection[str]) -> str:
    """A file's name that no source before it has: `train.jsonl`, then `train-2.jsonl`."""
    tried = (f"{stem}{f'-{number}' if number > 1 else ''}.jsonl" for number in count(1))
    return next(name for name in tried if name not in taken)


def _open(folder: Path, name: str) -> Any:
    folder.mkdir(exist_ok=True)
    return (folder / name).open("x", encoding="utf-8", newline="\n", errors="replace")


def _masked(
    examples: Sequence[Example], actions: Mapping[str, Action], settings: QualitySettings
) -> dict[int, Example]:
    what = _what(actions, settings)
    if not (what["keys"] or what["people"]):
        return {}
    changed = {}
    for row, example in enumerate(examples):
        clean = masked_example(example, **what)
        if clean != example:
            changed[row] = clean
    return changed


def _what(actions: Mapping[str, Action], settings: QualitySettings) -> dict[str, Any]:
    return {
        "keys": actions.get("secrets") == "mask",
        "people": actions.get("personal_data") == "mask",
        "region": settings.phone_region,
    }


def _flags(
    examples: Sequence[Example],
    keys: Sequence[str],
    codes: frozenset[str],
    settings: QualitySettings,
    tests: Mapping[str, Sequence[str]] | None,
    raw: Iterable[RawRow],
) -> Iterator[Flag]:
    if not codes or not examples:
        return
    yield from by_prompt(examples, keys, codes).flags
    yield from look(examples, keys, settings, deep=True, tests=tests, only=codes, raw=raw).flags


def _failed(flag: Flag, examples: Sequence[Example]) -> DataError:
    hit = flag.hits[0]
    told = f" ({hit.note})" if hit.note else ""
    return DataError(
        f"data.quality.actions.{flag.code} is fail: {len(flag.rows):,} {flag.message}; the first "
        f"is {examples[hit.row].place}{told}",
        hint=f"mend them, or set data.quality.actions.{flag.code} to drop or keep",
    )


def _reject(example: Example, code: str, note: str, region: str | None) -> Reject:
    row = {"prompt": example.messages[-1].content, "target": example.target}
    if example.label is not None:
        row["label"] = example.label
    return masked_reject(Reject(example.place, f"{code}: {note}" if note else code, row), region)


def prepared(cleaned: Cleaned, applied: Applied) -> Cleaned:
    """The cleaned rows with only what is left among the examples; the rest among the rejects."""
    lengths = None  # they are counted anew: a mask changes them
    return replace(
        cleaned,
        examples=applied.examples,
        prompt_keys=applied.keys,
        rejects=(*cleaned.rejects, *applied.dropped),
        lengths=lengths,
    )
