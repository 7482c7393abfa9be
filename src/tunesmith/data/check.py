"""Check: what the owner of a data set should know before training on it, counted and placed.

Duplicates and contradictions are counted over the rendered prompt, not over a column: that is what
the model sees. Nothing is changed. `check_files` is `tunesmith data check`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tunesmith.data import findings
from tunesmith.data.clean import Cleaned, TokenLengths, clean
from tunesmith.data.near import near_duplicates, prompt_text
from tunesmith.data.read import read_rows
from tunesmith.data.shape import LOOKED_AT, guess_task
from tunesmith.data.source import Source
from tunesmith.records import Example, Quality
from tunesmith.tasks.base import Task, get_task

_WORD = re.compile(r"\w+|[^\w\s]")


def check(cleaned: Cleaned, against: Cleaned | None = None, *, task: Task | None = None) -> Quality:
    """What is true of `cleaned`; with `against`, also which of its prompts stand there.

    `duplicate_prompts` counts rows after the first with the same rendered prompt, and
    `contradicting_prompts` distinct prompts with two or more labels after repair; rows set aside
    for an unknown label count among the duplicates and the leaks, for their prompt is there.
    """
    rows = [(e.place, key) for e, key in zip(cleaned.examples, cleaned.prompt_keys, strict=True)]
    rows += cleaned.aside_keys
    repeated = _repeated(rows)
    labels: dict[str, set[str]] = {}
    answers: dict[str, set[str]] = {}
    for example, key in zip(cleaned.examples, cleaned.prompt_keys, strict=True):
        if example.label is None:
            answers.setdefault(key, set()).add(example.target)
        else:
            labels.setdefault(key, set()).add(example.label)
    contradicting = {key for key, seen in labels.items() if len(seen) > 1}
    differing = {key for key, seen in answers.items() if len(seen) > 1}
    exact, near = _leaked(cleaned, rows, against) if against is not None else ([], [])
    found = (
        *findings.shapes(cleaned),
        *findings.rejected(cleaned),
        *findings.labels(cleaned, task),
        *findings.repeats(repeated, len(rows)),
        *findings.contradictions(cleaned, contradicting, differing),
        *findings.leaks(exact, near, len(rows)),
        *findings.texts(cleaned),
    )
    counted = Counter(e.label for e in cleaned.examples if e.label is not None)
    return Quality(
        rows=cleaned.rows,
        usable=len(cleaned.examples),
        rejected=len(cleaned.rejects),
        labels=dict(counted.most_common()),
        repaired_labels=cleaned.repaired_labels,
        unknown_labels=cleaned.unknown_labels,
        duplicate_prompts=len(repeated),
        contradicting_prompts=len(contradicting),
        leaked_exact=len(exact),
        leaked_near=len(near),
        tokens=_tokens(cleaned),
        findings=found,
    )


def check_files(
    paths: Sequence[str | Path],
    *,
    task: str | Task | None = None,
    against: Sequence[str | Path] = (),
    token_lengths: TokenLengths | None = None,
    max_length: int | None = None,
) -> Quality:
    """Check files (globs, folders, hub ids) as they stand; `task` is guessed where it is None."""
    sources = _sources(paths)
    if task is None:
        task = guess_task(_columns(sources[0]))
    chosen = get_task(task) if isinstance(task, str) else task
    cleaned = clean(
        sources, chosen, overlong="keep", max_length=max_length, token_lengths=token_lengths
    )
    other = clean(_sources(against), chosen) if against else None
    return check(cleaned, other, task=chosen)


def quality_json(quality: Quality) -> dict[str, Any]:
    """The object that `tunesmith data check --json` prints."""
    tokens: dict[str, Any] = {k: v for k, v in quality.tokens.items() if k != "estimated"}
    tokens["unit"] = "words" if quality.tokens.get("estimated") else "tokens"
    return {
        "rows": quality.rows,
        "usable": quality.usable,
        "rejected": quality.rejected,
        "labels": dict(quality.labels),
        "repaired_labels": dict(quality.repaired_labels),
        "unknown_labels": dict(quality.unknown_labels),
        "duplicate_prompts": quality.duplicate_prompts,
        "contradicting_prompts": quality.contradicting_prompts,
        "leaked_rows": {"exact": quality.leaked_exact, "near": quality.leaked_near},
        "tokens": tokens,
        "findings": [
            {
                "code": f.code,
                "severity": str(f.severity),
                "message": f.message,
                "count": f.count,
                "examples": list(f.examples),
                "action": f.action,
            }
            for f in quality.findings
        ],
    }


def describe(quality: Quality) -> list[str]:
    """The same in words, a line each."""
    tokens = quality.tokens
    unit = "words" if tokens.get("estimated") else "tokens"
    lines = [f"{quality.rows:,} rows: {quality.usable:,} usable, {quality.rejected:,} set aside."]
    if quality.labels:
        counts = ", ".join(f"{label} {n:,}" for label, n in quality.labels.items())
        lines.append(f"Labels: {counts}.")
    lines.append(
        f"Length in {unit}: mean {tokens['mean']:.0f}, median {tokens['p50']:.0f}, "
        f"99 % within {tokens['p99']:.0f}, longest {tokens['max']:.0f}."
    )
    for finding in quality.findings:
        where = f" ({', '.join(finding.examples[:3])})" if finding.examples else ""
        then = f" {finding.action}" if finding.action else ""
        lines.append(f"{finding.severity}: {finding.count:,} {finding.message}{where}.{then}")
    return lines


def _repeated(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """(place of a later row, place of the first) for each row whose prompt stood before."""
    first: dict[str, str] = {}
    repeated = []
    for place, key in rows:
        if key in first:
            repeated.append((place, first[key]))
        else:
            first[key] = place
    return repeated


def _leaked(
    cleaned: Cleaned, rows: Sequence[tuple[str, str]], against: Cleaned
) -> tuple[list[str], list[str]]:
    """Places of the rows whose prompt stands in `against`, and of those that are only near one."""
    known = {*against.prompt_keys, *(key for _, key in against.aside_keys)}
    exact = [place for place, key in rows if key in known]
    open_ = [
        e for e, k in zip(cleaned.examples, cleaned.prompt_keys, strict=True) if k not in known
    ]
    near = near_duplicates(
        [prompt_text(e) for e in open_], [prompt_text(e) for e in against.examples]
    )
    return exact, [e.place for e, hit in zip(open_, near, strict=True) if hit]


def _tokens(cleaned: Cleaned) -> Mapping[str, float]:
    """Lengths of prompt and answer; words and signs where no tokenizer counted (estimated = 1)."""
    lengths = cleaned.lengths or _words(cleaned.examples)
    ordered = sorted(lengths)
    last = len(ordered) - 1
    return {
        "mean": sum(ordered) / len(ordered),
        "p50": float(ordered[round(0.50 * last)]),
        "p99": float(ordered[round(0.99 * last)]),
        "max": float(ordered[-1]),
        "estimated": float(cleaned.lengths is None),
    }


def _words(examples: Sequence[Example]) -> list[int]:
    system: dict[str, int] = {}  # one system message stands in many rows
    lengths = []
    for example in examples:
        count = len(_WORD.findall(example.target))
        for message in example.messages:
            if message.role == "system":
                if message.content not in system:
                    system[message.content] = len(_WORD.findall(message.content))
                count += system[message.content]
            else:
                count += len(_WORD.findall(message.content))
        lengths.append(count)
    return lengths


def _sources(paths: Sequence[str | Path]) -> list[Source]:
    return [Source(name=Path(path).stem, path=str(path)) for path in paths]


def _columns(source: Source) -> set[str]:
    rows = islice(read_rows(source), LOOKED_AT)
    return {str(column) for raw in rows if raw.row is not None for column in raw.row}
