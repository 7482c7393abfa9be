"""What weakens a verdict, in sentences made from counts by rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tunesmith.compare.facts import ALL, OVERLAP, UNPARSED, CompareSettings, Weaknesses
from tunesmith.compare.measure import Measured
from tunesmith.compare.sheets import Board, shared
from tunesmith.records import Comparison, Verdict
from tunesmith.stats.arrays import Floats, Ints

FEW_EXAMPLES = 50
FEW_CHANGED = 10
FEW_OF_CLASS = 10
MANY_UNPARSED = 0.05
MOST_NAMED = 5
FEW_RIGHT = 0.1  # share of answers; a better score on fewer right ones is no success yet
CLAIMS = (Verdict.BETTER, Verdict.WORSE)


def of_rows(
    board: Board, pair: tuple[str, str], part: str, metric: str, weaknesses: Weaknesses
) -> tuple[str, ...]:
    """What is wrong with the rows that the two are compared on."""
    rows = shared(board, *pair, part, metric)
    wanted = int(board.rows(part, metric).sum())
    said = []
    if rows.size < wanted:
        said.append(
            f"{wanted - rows.size} of {wanted} examples are left out:"
            f" {pair[0]} or {pair[1]} gave no answer."
        )
    said += of_size(rows.size)
    if board.labels:
        gold = np.bincount(board.gold[rows], minlength=len(board.labels))
        said += of_classes(dict(zip(board.labels, gold.tolist(), strict=True)))
    for name in pair:
        share = float(board.sheets[name].scores[UNPARSED][rows].mean())
        if share >= MANY_UNPARSED:
            said.append(f"{share:.0%} of {name}'s answers could not be read and count as wrong.")
    return (*said, *_of_twins(board, rows, part, weaknesses), *of_data(weaknesses))


def _of_twins(board: Board, rows: Ints, part: str, weaknesses: Weaknesses) -> list[str]:
    """Which prompts training has seen: row by row where that is known, else the counts."""
    if board.twins.any():
        seen = int(board.twins[rows].sum())
        having = "has" if seen == 1 else "have"
        said = f"{seen:,} of {rows.size:,} test prompts {having} a twin in training."
        return [said] if seen else []
    if part != ALL:
        return []
    said_of = []
    if weaknesses.leaked:
        k = weaknesses.leaked
        said_of.append(f"{k:,} of {rows.size:,} test prompts also {_stand(k)} in training.")
    if weaknesses.leaked_near:
        k = weaknesses.leaked_near
        said_of.append(f"{_count(k, 'test prompt')} nearly {_stand(k)} in training.")
    return said_of


def of_size(n: int) -> list[str]:
    """Few examples at all."""
    return [f"Only {_count(n, 'test example')}."] if n < FEW_EXAMPLES else []


def of_classes(gold: Mapping[str, int]) -> list[str]:
    """Classes of which there are few rows, or none."""
    rare = sorted((k, label) for label, k in gold.items() if k < FEW_OF_CLASS)
    named = [f"{label} ({k})" for k, label in rare[:MOST_NAMED]]
    if len(rare) > MOST_NAMED:
        named.append(f"and {len(rare) - MOST_NAMED} more")
    return [f"Few examples of a class: {', '.join(named)}."] if rare else []


def of_data(weaknesses: Weaknesses) -> tuple[str, ...]:
    """What is known to be wrong with the whole test set."""
    said = []
    if weaknesses.duplicates:
        k = weaknesses.duplicates
        said.append(
            f"{_count(k, 'test row')} {'repeats' if k == 1 else 'repeat'} another's prompt:"
            " there are fewer independent examples than rows."
        )
    if weaknesses.contradicting:
        k = weaknesses.contradicting
        said.append(f"{_count(k, 'test prompt')} {'has' if k == 1 else 'have'} several labels.")
    if weaknesses.dirty_labels:
        said.append(f"{_count(weaknesses.dirty_labels, 'test label')} had to be repaired.")
    if weaknesses.gold_failures:
        failures = _count(weaknesses.gold_failures, "gold answer")
        said.append(f"The scorer does not give full marks to {failures}.")
    return tuple(said)


def of_result(
    measured: Measured, verdict: Verdict, p_adjusted: float, settings: CompareSettings
) -> tuple[str, ...]:
    """What the figures themselves leave open."""
    said = []
    if measured.discordant is not None:
        changed = sum(measured.discordant)
        if not changed:
            said.append("On no example does the score of one differ from the other's.")
        elif changed < FEW_CHANGED:
            said.append(f"The two differ on only {_count(changed, 'example')}.")
    claimed = verdict in CLAIMS
    if p_adjusted <= settings.alpha and not claimed:
        said.append("The test finds a difference that the interval does not: take it as open.")
    if claimed and settings.margin is not None and abs(measured.difference) < settings.margin:
        said.append(
            f"The difference is real, and smaller than the {settings.margin:g} that matters."
        )
    return tuple(said)


def of_scores(judged: Comparison, others: Sequence[Comparison]) -> tuple[str, ...]:
    """Where other scores of the same pair, on the same rows, do not say what the judged one says.

    A score that went from one figure to the other without a verdict of its own takes from a claim;
    a claim of another score is told beside a verdict that claims nothing. How often an answer
    could not be read has a caveat of its own.
    """
    apart: dict[Verdict, list[str]] = {}
    for other in others:
        if other.metric == UNPARSED or other.verdict is judged.verdict:
            continue
        if judged.verdict in CLAIMS or other.verdict in CLAIMS:
            apart.setdefault(other.verdict, []).append(f"{other.metric} ({_both(other)})")
    told = {
        Verdict.BETTER: f"{judged.b} is better",
        Verdict.WORSE: f"{judged.b} is worse",
        Verdict.NO_EVIDENCE: "there is no evidence of a difference",
        Verdict.EQUIVALENT: "the two are equivalent",
    }
    return tuple(
        f"By {' and '.join(named)} {told[verdict]}; by {judged.metric} {_both(judged)}."
        for verdict, named in apart.items()
    )


def _both(c: Comparison) -> str:
    return f"{value_words(c, c.value_b)} against {value_words(c, c.value_a)}"


def of_part_marks(judged: Comparison, right: Floats) -> tuple[str, ...]:
    """What a better score that gives part marks leaves open; `right`: 1 where b's answer is
    exactly right, else 0, shape (n,).
    """
    if judged.verdict is not Verdict.BETTER or is_share(judged):
        return ()
    hits, n = int(right.sum()), right.size
    if hits > FEW_RIGHT * n:
        return ()
    found = "None" if hits == 0 else f"Only {hits:,}"
    of_all = f"{found} of {judged.b}'s {_count(n, 'answer')} {'is' if hits < 2 else 'are'}"
    why = (
        "rewards the frame of a sentence, whatever figure or name stands in it"
        if judged.metric in OVERLAP
        else "gives marks for a part"
    )
    return (f"{of_all} exactly right: {judged.metric} also {why}.",)


def is_share(c: Comparison) -> bool:
    """Whether a comparison's figures are shares of right answers, told in percent."""
    return c.discordant is not None and c.metric not in OVERLAP


def value_words(c: Comparison, value: float) -> str:
    """A comparison's figure: a share in percent, another score as it is."""
    return f"{100 * value:.1f}%" if is_share(c) else f"{value:.3f}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _stand(number: int) -> str:
    return "stands" if number == 1 else "stand"
