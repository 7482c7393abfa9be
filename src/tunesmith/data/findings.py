"""Findings: what checking saw, put into words with a count, some places, and what to do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from tunesmith.data.clean import Cleaned
from tunesmith.data.near import prompt_text
from tunesmith.data.shape import prompt_of
from tunesmith.records import Example, Finding, Reject, Severity
from tunesmith.tasks.base import Task, gold_check

SHOWN = 5  # places or texts in a finding
LOPSIDED = 5  # times as many rows of the most frequent label as of the rarest
LONG_ANSWER = 20  # characters below which an answer may stand in its prompt by chance
_PARTICULARS = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")


def guessed(task: str, rows: int) -> Iterator[Finding]:
    """Which task the rows are read for, where nobody named one."""
    yield Finding(
        "guessed_task",
        Severity.INFO,
        f"rows read for the task {task}, as their columns suggest",
        rows,
        action="Name another with --task if that is wrong.",
    )


def shapes(cleaned: Cleaned) -> Iterator[Finding]:
    """The shape of each source, said aloud."""
    for name, shape in cleaned.shapes.items():
        if shape is not None:
            rows = sum(e.meta.get("source") == name for e in cleaned.examples)
            yield Finding("shape", Severity.INFO, f"rows of {name} read as {shape.says}", rows)


def rejected(cleaned: Cleaned) -> Iterator[Finding]:
    """Rows set aside for another reason than a label that nobody knows, by kind of reason."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for reject in cleaned.rejects:
        if not reject.reason.startswith("unknown label"):
            kind = _PARTICULARS.sub("…", reject.reason)
            kinds.setdefault(kind, []).append((reject.place, reject.reason))
    for members in sorted(kinds.values(), key=len, reverse=True):
        reason = members[0][1]
        yield Finding(
            "rejected_rows",
            Severity.WARNING,
            f"rows set aside, such as: {reason}",
            len(members),
            tuple(place for place, _ in members[:SHOWN]),
            "Mend them in the source, or do without them.",
        )


def overlong(rejects: Sequence[Reject]) -> Iterator[Finding]:
    """Rows that `sample.within` found too long."""
    if rejects:
        yield Finding(
            "overlong",
            Severity.WARNING,
            f"rows {rejects[0].reason}",
            len(rejects),
            tuple(reject.place for reject in rejects[:SHOWN]),
            "Raise training.max_length, or shorten them: no answer is ever cut.",
        )


def withheld(rejects: Sequence[Reject]) -> Iterator[Finding]:
    """Rows that `split.withheld` keeps from training."""
    if rejects:
        yield Finding(
            "withheld_rows",
            Severity.WARNING,
            "rows left out of training: their prompts or origins stand in a test source",
            len(rejects),
            tuple(reject.place for reject in rejects[:SHOWN]),
            "Nothing to do for this run; ask where the test source and the rest overlap.",
        )


def labels(cleaned: Cleaned, task: Task | None) -> Iterator[Finding]:
    """Labels that were repaired, that nobody knows, that are rare or missing."""
    if cleaned.repairs:
        spellings = Counter((r.written, r.label) for r in cleaned.repairs).most_common(SHOWN)
        yield Finding(
            "repaired_labels",
            Severity.INFO,
            "labels repaired through the task's aliases",
            len(cleaned.repairs),
            tuple(f"{written!r} -> {label} ({n})" for (written, label), n in spellings),
        )
    if cleaned.unknown_labels:
        known = f" ({', '.join(task.labels)})" if task is not None and task.labels else ""
        yield Finding(
            "unknown_labels",
            Severity.WARNING,
            f"rows set aside: their label is none of the task's{known}",
            sum(cleaned.unknown_labels.values()),
            tuple(f"{label!r} ({n})" for label, n in list(cleaned.unknown_labels.items())[:SHOWN]),
            "Correct them in the source, or add an alias to the task if the meaning is plain.",
        )
    counts = Counter(e.label for e in cleaned.examples if e.label is not None).most_common()
    if task is not None and counts:
        missing = [label for label in task.labels if label not in dict(counts)]
        if missing:
            yield Finding(
                "missing_labels",
                Severity.WARNING,
                f"labels of the task that no row has: {', '.join(missing)}",
                len(missing),
                action="A model learns nothing of a label that it never sees.",
            )
    if len(counts) > 1 and counts[0][1] >= LOPSIDED * counts[-1][1]:
        (most, n), (least, m) = counts[0], counts[-1]
        yield Finding(
            "label_imbalance",
            Severity.WARNING,
            f"rows with the label {most!r}, against {m:,} with {least!r}",
            n,
            action="Judge by macro F1, and look at the majority baseline.",
        )


def repeats(repeated: Sequence[tuple[str, str]], rows: int) -> Iterator[Finding]:
    """Rows whose prompt stood before."""
    if repeated:
        yield Finding(
            "duplicate_prompts",
            Severity.WARNING,
            f"rows repeat the prompt of an earlier row ({len(repeated) / rows:.1%} of all)",
            len(repeated),
            tuple(f"{place} = {first}" for place, first in repeated[:SHOWN]),
            "The split keeps them on one side; consider training on one of each.",
        )


def contradictions(
    cleaned: Cleaned, contradicting: Collection[str], differing: Collection[str]
) -> Iterator[Finding]:
    """Prompts with several labels, and prompts with several answers where there are no labels."""
    for keys, code, message, action in (
        (
            contradicting,
            "contradicting_prompts",
            "distinct prompts carry two or more labels",
            "No model can get all of them right; settle them in the source.",
        ),
        (
            differing,
            "differing_answers",
            "distinct prompts have two or more different answers",
            "Keep the best answer of each, unless variety is wanted.",
        ),
    ):
        if keys:
            by_key: dict[str, list[str]] = {}
            for example, key in zip(cleaned.examples, cleaned.prompt_keys, strict=True):
                if key in keys and (key in by_key or len(by_key) < SHOWN):
                    told = example.place + (f" {example.label}" if example.label else "")
                    by_key.setdefault(key, []).append(told)
            shown = tuple(", ".join(places[:4]) for places in by_key.values())
            yield Finding(code, Severity.WARNING, message, len(keys), shown, action)


def leaks(exact: Sequence[str], near: Sequence[str], rows: int) -> Iterator[Finding]:
    """Rows whose prompt, or one very like it, stands in the files checked against."""
    if exact:
        yield Finding(
            "leaked_rows",
            Severity.WARNING,
            f"rows have a prompt that stands word for word in the other files "
            f"({len(exact) / rows:.1%} of all)",
            len(exact),
            tuple(exact[:SHOWN]),
            "Leave them out of one side: a test row that was trained on measures memory.",
        )
    if near:
        yield Finding(
            "near_leaked_rows",
            Severity.WARNING,
            "rows have a prompt that nearly stands in the other files (5-character shingles, "
            "Jaccard similarity 0.8 or more)",
            len(near),
            tuple(near[:SHOWN]),
            "Read some; report scores with and without them.",
        )


def unread(against: Cleaned) -> Iterator[Finding]:
    """Rows of the other files whose prompt could not be made out, and so not be compared."""
    missing = len(against.rejects) - len(against.aside_keys)
    if missing:
        known = {place for place, _ in against.aside_keys}
        aside = [r for r in against.rejects if r.place not in known]
        yield Finding(
            "unread_rows",
            Severity.WARNING,
            f"rows of the other files could not be compared, such as: {aside[0].reason}",
            missing,
            tuple(r.place for r in aside[:SHOWN]),
            "Mend them, or count with more leaks than were found.",
        )


def broken_answers(examples: Sequence[Example], task: Task) -> Iterator[Finding]:
    """Gold answers of some examples that break the task's own rules, where it has any."""
    if type(task).verify is Task.verify or not examples:
        return
    broken = {place for check in gold_check(task, examples) for place in check.failures}
    shown = [e for e in examples if e.place in broken]
    if shown:
        yield Finding(
            "broken_answers",
            Severity.WARNING,
            f"gold answers do not get full marks from the task's own scorers (of "
            f"{len(examples):,} that were tried)",
            len(shown),
            tuple(f"{e.place}: {task.verify(e) or 'read otherwise'}" for e in shown[:SHOWN]),
            "Mend them: a model that learns them learns a fault, and is judged by it.",
        )


def texts(cleaned: Cleaned) -> Iterator[Finding]:
    """Answers that stand whole in their prompt."""
    copied = [
        example
        for example in cleaned.examples
        if len(example.target) >= LONG_ANSWER and example.target in prompt_text(example)
    ]
    if copied:
        yield Finding(
            "answer_in_prompt",
            Severity.WARNING,
            "rows hold their whole answer in the prompt",
            len(copied),
            tuple(f"{e.place}: {prompt_of(e.messages)}" for e in copied[:SHOWN]),
            "Copying solves them: check that this is what the task wants.",
        )
