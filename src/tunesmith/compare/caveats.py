"""What weakens a verdict, in sentences made from counts by rules."""

from __future__ import annotations

import numpy as np

from tunesmith.compare.facts import ALL, UNPARSED, CompareSettings, Weaknesses
from tunesmith.compare.measure import Measured
from tunesmith.compare.sheets import Board, shared
from tunesmith.records import Verdict

FEW_EXAMPLES = 50
FEW_CHANGED = 10
FEW_OF_CLASS = 10
MANY_UNPARSED = 0.05


def of_rows(
    board: Board, pair: tuple[str, str], part: str, weaknesses: Weaknesses
) -> tuple[str, ...]:
    """What is wrong with the rows that the two are compared on."""
    rows = shared(board, *pair, part)
    wanted = int(board.slices[part].sum())
    said = []
    if rows.size < wanted:
        said.append(
            f"{wanted - rows.size} of {wanted} examples are left out:"
            f" {pair[0]} or {pair[1]} gave no answer."
        )
    if rows.size < FEW_EXAMPLES:
        said.append(f"Only {_count(rows.size, 'test example')}.")
    if board.labels:
        gold = np.bincount(board.gold[rows], minlength=len(board.labels))
        rare = [
            f"{label} ({gold[i]})" for i, label in enumerate(board.labels) if gold[i] < FEW_OF_CLASS
        ]
        if rare:
            said.append(f"Few examples of a class: {', '.join(rare)}.")
    for name in pair:
        share = float(board.sheets[name].scores[UNPARSED][rows].mean())
        if share >= MANY_UNPARSED:
            said.append(f"{share:.0%} of {name}'s answers could not be read and count as wrong.")
    twins = int(board.twins[rows].sum())
    if twins == 0 and part == ALL:
        twins = weaknesses.leaked
    if twins:
        said.append(f"{twins} of {rows.size} test prompts also {_stand(twins)} in training.")
    return (*said, *of_data(weaknesses))


def of_data(weaknesses: Weaknesses) -> tuple[str, ...]:
    """What is known to be wrong with the whole test set."""
    said = []
    if weaknesses.leaked_near:
        k = weaknesses.leaked_near
        said.append(f"{_count(k, 'test prompt')} nearly {_stand(k)} in training.")
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
        if changed < FEW_CHANGED:
            said.append(f"The two differ on only {_count(changed, 'example')}.")
    claimed = verdict in (Verdict.BETTER, Verdict.WORSE)
    if p_adjusted <= settings.alpha and not claimed:
        said.append("The test finds a difference that the interval does not: take it as open.")
    if claimed and settings.margin is not None and abs(measured.difference) < settings.margin:
        said.append(
            f"The difference is real, and smaller than the {settings.margin:g} that matters."
        )
    return tuple(said)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _stand(number: int) -> str:
    return "stands" if number == 1 else "stand"
