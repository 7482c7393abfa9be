"""Judge answers that another program produced: `tunesmith compare a.jsonl b.jsonl`.

Each line is an object with `id`, `response`, and `target` or `label`. The two files are paired by
id, scored by one scorer, and compared as variants are. Nothing is guessed: a line that cannot be
read, an id that stands twice, a reference that is missing or differs between the files is an error
that names the file and the line. Ids on one side only are left out, and counted.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.compare.estimates import mean_estimate
from tunesmith.compare.facts import CompareSettings
from tunesmith.compare.measure import measure_scores
from tunesmith.compare.verdict import Question, judge
from tunesmith.compare.words import comparison_json
from tunesmith.errors import ConfigError, DataError, EvaluationError
from tunesmith.records import Comparison, Estimate
from tunesmith.stats.arrays import Floats

Score = Callable[[str, str], float]
WITHOUT_REFERENCE = frozenset({"dot_valid", "refusal"})
LABELLED = frozenset({"label"})  # scorers that read `label` before `target`


@dataclass(frozen=True, slots=True)
class Line:
    """One answer as the file has it; `number` is counted from 1."""

    number: int
    response: str
    target: str | None
    label: str | None

    def reference(self, scorer: str) -> str | None:
        """What the answer is held against: the label for `label`, the target for the others."""
        first, second = self.target, self.label
        if scorer in LABELLED:
            first, second = second, first
        return first if first is not None else second


@dataclass(frozen=True, slots=True)
class FileComparison:
    """Two files judged: each side's figure on the shared ids, the comparison, who was left out."""

    scorer: str
    a: Estimate
    b: Estimate
    comparisons: tuple[Comparison, ...]
    only_a: int
    only_b: int

    def to_json(self) -> dict[str, Any]:
        """The contract of `compare --json`, and how many ids stood on one side only."""
        return {
            "scorer": self.scorer,
            "a": _estimate_json(self.a),
            "b": _estimate_json(self.b),
            "comparisons": [comparison_json(c) for c in self.comparisons],
            "only_a": self.only_a,
            "only_b": self.only_b,
        }


def _estimate_json(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "n": estimate.n, "ci": list(estimate.ci)}


def compare_files(
    a: Path, b: Path, *, scorer: str, settings: CompareSettings | None = None
) -> FileComparison:
    """Judge the answers of file `b` against those of file `a`.

    ConfigError for an unknown scorer, DataError for a file or a line that cannot be used,
    EvaluationError where the files share no id or the scorer gives no number in [0, 1].
    """
    score = scorer_named(scorer)
    wish = settings or CompareSettings()
    left, right = read_answers(a), read_answers(b)
    ids = [identifier for identifier in left if identifier in right]
    if not ids:
        raise EvaluationError(
            f"{a} and {b} share no id ({len(left)} and {len(right)} answers)",
            hint="give the answers to one example the same id in both files",
        )
    scores_a, scores_b = np.empty(len(ids)), np.empty(len(ids))
    for i, identifier in enumerate(ids):
        one, two = left[identifier], right[identifier]
        reference_a = _reference(one, a, scorer)
        reference_b = _reference(two, b, scorer)
        if reference_a != reference_b:
            raise DataError(
                f"{a}:{one.number} and {b}:{two.number} disagree about the reference of"
                f" id {identifier!r}",
                hint="both files must hold answers to the same test set",
            )
        scores_a[i] = _scored(score, scorer, one.response, reference_a, f"{a}:{one.number}")
        scores_b[i] = _scored(score, scorer, two.response, reference_b, f"{b}:{two.number}")
    only_a, only_b = len(left) - len(ids), len(right) - len(ids)
    names = (a.stem, b.stem) if a.stem != b.stem else (str(a), str(b))
    comparison = _judged(scores_a, scores_b, scorer, names, wish, left_out=(only_a, only_b))
    return FileComparison(
        scorer,
        mean_estimate(scores_a, wish),
        mean_estimate(scores_b, wish),
        (comparison,),
        only_a,
        only_b,
    )


def _judged(
    a: Floats,
    b: Floats,
    scorer: str,
    names: tuple[str, str],
    settings: CompareSettings,
    *,
    left_out: tuple[int, int],
) -> Comparison:
    measured = measure_scores(a, b, settings)
    known = tuple(
        f"{count} {'id stands' if count == 1 else 'ids stand'} only in {name}: left out."
        for name, count in zip(names, left_out, strict=True)
        if count
    )
    return judge(
        measured,
        Question(names, scorer),
        settings,
        p_adjusted=measured.p,
        level=settings.alpha,
        primary=True,
        known=known,
    )


def scorer_named(name: str) -> Score:
    """The scorer of that name; ConfigError with the nearest one where there is none."""
    from tunesmith.tasks.scorers import SCORERS

    known: Mapping[str, Score] = SCORERS
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise ConfigError(
            f"there is no scorer {name!r}; there are {', '.join(known)}",
            hint=f"did you mean {near[0]}?" if near else "name one of them with --scorer",
        )
    return known[name]


def read_answers(path: Path) -> dict[str, Line]:
    """The lines of a JSONL file by id, in order; blank lines are passed over.

    DataError, with file and line, for a file that cannot be read, a line that is no JSON object,
    lacks `id` or `response`, or has an id that stood before; and for a file without an answer.
    """
    lines: dict[str, Line] = {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror}", hint="check the file's name and rights"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text (byte {error.start})",
            hint="give JSON lines in UTF-8, one answer on each",
        ) from error
    for number, raw in enumerate(text.split("\n"), start=1):
        if not raw.strip():
            continue
        identifier, line = _line(raw, number, path)
        if identifier in lines:
            raise DataError(
                f"{path}:{number}: id {identifier!r} stands already on line"
                f" {lines[identifier].number}",
                hint="give each example one answer",
            )
        lines[identifier] = line
    if not lines:
        raise DataError(f"{path} holds no answer", hint="give one JSON object on each line")
    return lines


def _line(raw: str, number: int, path: Path) -> tuple[str, Line]:
    where = f"{path}:{number}"
    shape = 'a line is {"id": ..., "response": "...", "target": "..."}'
    try:
        row = json.loads(raw)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error})", hint=shape) from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: a {type(row).__name__}, not a JSON object", hint=shape)
    identifier = row.get("id")
    if isinstance(identifier, bool) or not isinstance(identifier, str | int):
        raise DataError(f"{where}: no `id` (a string or an integer)", hint=shape)
    response = row.get("response")
    if not isinstance(response, str):
        raise DataError(f"{where}: no `response` (a string)", hint=shape)
    return str(identifier), Line(
        number, response, _text(row, "target", where), _text(row, "label", where)
    )


def _text(row: Mapping[str, Any], key: str, where: str) -> str | None:
    value = row.get(key)
    if value is None or isinstance(value, str):
        return value
    raise DataError(
        f"{where}: `{key}` is a {type(value).__name__}, not a string",
        hint="write it as the text that the answer is held against",
    )


def _reference(line: Line, path: Path, scorer: str) -> str:
    reference = line.reference(scorer)
    if reference is None:
        if scorer in WITHOUT_REFERENCE:
            return ""
        raise DataError(
            f"{path}:{line.number}: neither `target` nor `label`",
            hint=f"the scorer {scorer} holds the response against one of them",
        )
    return "" if scorer in WITHOUT_REFERENCE else reference


def _scored(score: Score, name: str, response: str, reference: str, where: str) -> float:
    value = float(score(response, reference))
    if not 0 <= value <= 1:  # NaN is neither
        raise EvaluationError(
            f"{where}: the scorer {name} gives {value}, which is not in 0 to 1",
            hint="mend the scorer",
        )
    return value
