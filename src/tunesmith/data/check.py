"""Check: what the owner of a data set should know before training on it, counted and placed.

Duplicates and contradictions are counted over the rendered prompt, not over a column: that is what
the model sees. What is wrong with single rows is seen by `data.quality`. Nothing is changed, and
what is private is masked in every finding. `check_files` is `tunesmith data check`.
"""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from tunesmith.config.quality import CODES, QualitySettings
from tunesmith.data import findings
from tunesmith.data.clean import Cleaned, TokenLengths, clean
from tunesmith.data.lengths import estimate, summary
from tunesmith.data.near import near_duplicates, prompt_text
from tunesmith.data.quality import overlap
from tunesmith.data.quality.flags import told
from tunesmith.data.quality.mask import masked, masked_finding
from tunesmith.data.quality.panel import look
from tunesmith.data.read import names, read_rows
from tunesmith.data.sample import within
from tunesmith.data.shape import LOOKED_AT, guess_task
from tunesmith.data.source import RawRow, Source
from tunesmith.records import Example, Quality, Reject
from tunesmith.tasks.base import Task, get_task

GOLD_ROWS = 200  # answers that a task's own rules are tried on


def check(
    cleaned: Cleaned,
    against: Cleaned | None = None,
    *,
    task: Task | None = None,
    settings: QualitySettings | None = None,
    deep: bool = False,
    tests: Mapping[str, Sequence[str]] | None = None,
    only: Collection[str] = CODES,
    raw: Iterable[RawRow] = (),
) -> Quality:
    """What is true of `cleaned`; with `against`, also which of its prompts stand there.

    `deep` lets the costly detectors look at every row; `tests` are texts of public test sets by
    name; `only` are the codes of the findings about single rows that are wanted; `raw` are the rows
    as they stand in their files, in which secrets are looked for in every column.

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
    asked = settings or QualitySettings()
    seen = look(
        cleaned.examples,
        cleaned.prompt_keys,
        asked,
        deep=deep,
        tests=tests,
        only=only,
        raw=raw,
    )
    found = (
        *findings.shapes(cleaned),
        *findings.rejected(cleaned),
        *findings.labels(cleaned, task),
        *findings.repeats(repeated, len(rows)),
        *findings.contradictions(cleaned, contradicting, differing),
        *findings.leaks(exact, near, len(rows)),
        *(findings.unread(against) if against is not None else ()),
        *(overlap.leaked_answers(cleaned.examples, against.examples) if against else ()),
        *overlap.between(cleaned.examples, cleaned.prompt_keys),
        *findings.texts(cleaned),
        *(told(flag, cleaned.examples) for flag in seen.flags),
        *seen.findings,
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
        tokens={
            **summary(cleaned.lengths or estimate(cleaned.examples)),
            "estimated": float(cleaned.lengths is None),  # words and signs: nobody counted tokens
        },
        findings=tuple(masked_finding(finding, asked.phone_region) for finding in found),
    )


def check_files(
    paths: Sequence[str | Path],
    *,
    task: str | Task | None = None,
    against: Sequence[str | Path] = (),
    fields: Mapping[str, str] | None = None,
    split: str | None = None,
    token_lengths: TokenLengths | None = None,
    max_length: int | None = None,
    deep: bool = False,
    tests: Sequence[str | Path] = (),
) -> Quality:
    """Check files (globs, folders, hub ids) as they stand; `task` is guessed where it is None.

    `tests` are files of public test sets, in any columns: every text in them counts. `deep`
    lets the costly detectors look at every row. `fields` and `split` are those of a Source, for
    all of `paths` and `against`. `max_length` is in tokens and needs `token_lengths`
    (ValueError without); longer rows are told, none is set aside for it. Raises DataError where
    a file cannot be read or has no usable row, ConfigError for an unknown task.
    """
    cleaned, chosen = open_files(
        paths, task=task, fields=fields, split=split, token_lengths=token_lengths
    )
    guessed = chosen.name if task is None else ""
    other = clean(sources_of(against, fields, split), chosen) if against else None
    quality = check(
        cleaned, other, task=chosen, deep=deep, tests=test_texts(tests), raw=raw_rows(cleaned)
    )
    found = (
        *(findings.guessed(guessed, cleaned.rows) if guessed else ()),
        *quality.findings,
        *(() if max_length is None else findings.overlong(_overlong(cleaned, max_length))),
        *findings.broken_answers(_spread(cleaned.examples, GOLD_ROWS), chosen),
    )
    return replace(quality, findings=tuple(map(masked_finding, found)))


def open_files(
    paths: Sequence[str | Path],
    *,
    task: str | Task | None = None,
    fields: Mapping[str, str] | None = None,
    split: str | None = None,
    token_lengths: TokenLengths | None = None,
) -> tuple[Cleaned, Task]:
    """The files' rows as examples, and their task: told from the columns where it is None."""
    sources = sources_of(paths, fields, split)
    named = guess_task(_columns(sources[0])) if task is None else str(task)
    chosen = task if isinstance(task, Task) else get_task(named)
    return clean(sources, chosen, token_lengths=token_lengths), chosen


def raw_rows(cleaned: Cleaned) -> Iterator[RawRow]:
    """The rows as they stand in their files, read again, under the places of the examples."""
    named = names(path for pinned in cleaned.resolved for path in pinned.paths)
    for pinned in cleaned.resolved:
        yield from read_rows(pinned, named)


def test_texts(paths: Sequence[str | Path]) -> dict[str, list[str]]:
    """Every text of each file (or pattern, or hub id) of a public test set, by its name."""
    return {
        source.name: [
            text
            for raw in read_rows(source)
            if raw.row is not None
            for text in overlap.texts_of(raw.row)
        ]
        for source in sources_of(paths, None, None)
    }


def quality_json(quality: Quality) -> dict[str, Any]:
    """The object that `tunesmith data check --json` prints."""
    tokens: dict[str, Any] = {k: v for k, v in quality.tokens.items() if k != "estimated"}
    tokens["unit"] = "words" if quality.tokens.get("estimated") else "tokens"
    return {
        "rows": quality.rows,
        "usable": quality.usable,
        "rejected": quality.rejected,
        "labels": dict(quality.labels),
        "repaired_labels": {masked(k): n for k, n in quality.repaired_labels.items()},
        "unknown_labels": {masked(k): n for k, n in quality.unknown_labels.items()},
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
    texts = [*map(prompt_text, cleaned.examples), *cleaned.aside_texts]
    open_ = [(place, t) for (place, key), t in zip(rows, texts, strict=True) if key not in known]
    theirs = [*map(prompt_text, against.examples), *against.aside_texts]
    near = near_duplicates([text for _, text in open_], theirs)
    return exact, [place for (place, _), hit in zip(open_, near, strict=True) if hit]


def _overlong(cleaned: Cleaned, max_length: int) -> Sequence[Reject]:
    if cleaned.lengths is None:
        raise ValueError("max_length is in tokens: it needs token_lengths")
    return within(cleaned.examples, cleaned.lengths, max_length).overlong


def _spread(examples: Sequence[Example], wanted: int) -> Sequence[Example]:
    """At most `wanted` examples, evenly spaced."""
    return examples[:: -(-len(examples) // wanted)]


def sources_of(
    paths: Sequence[str | Path], fields: Mapping[str, str] | None, split: str | None
) -> list[Source]:
    """A source for each path, called by its name without the ending where that is its alone."""
    given = list(dict.fromkeys(map(str, paths)))
    stems = Counter(Path(path).stem for path in given)
    return [
        Source(
            name=path if stems[Path(path).stem] > 1 or glob.has_magic(path) else Path(path).stem,
            path=path,
            split=split,
            fields=fields or {},
        )
        for path in given
    ]


def _columns(source: Source) -> set[str]:
    rows = islice(read_rows(source), LOOKED_AT)
    seen = {str(column) for raw in rows if raw.row is not None for column in raw.row}
    return seen | set(source.fields)
