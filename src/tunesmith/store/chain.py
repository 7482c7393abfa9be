"""A lineage as a whole: its chain of sessions, each topic's score behind each, what was forgotten.

A session is a run whose baseline is its parent and whose test part holds every topic so far, so
the figures of forgetting are that run's own: its comparison on each earlier topic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunesmith.errors import StoreError
from tunesmith.records import Comparison, Estimate, Verdict
from tunesmith.stats.multiple import holm
from tunesmith.store.lineages import LearnedSession
from tunesmith.store.store import Store

TOPIC = "source"  # the slice that is a topic
PARENT = "baseline"  # the variant that is the session before


@dataclass(frozen=True, slots=True)
class Cell:
    """The score of one topic behind one session; `session` 0 is the base before anything."""

    session: int
    topic: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Chain:
    """A lineage as it stands. `path` leads from the base to the current session, `others` are the
    sessions of other branches.

    `cells` are the scores (the task's first metric, in [0, 1]); `forgetting` compares each earlier
    topic before and behind each session of the path, p corrected over those topics; `general` is
    the perplexity of general text behind each, where the recipe asked for it. `backward_transfer`:
    mean over the earlier topics of the last score less the one just after learning (Lopez-Paz and
    Ranzato 2017, arXiv 1706.08840, eq. 3); None for fewer than two sessions.
    """

    name: str
    current: int
    metric: str
    path: tuple[LearnedSession, ...]
    others: tuple[LearnedSession, ...]
    cells: tuple[Cell, ...]
    forgetting: tuple[tuple[int, Comparison], ...]
    general: tuple[tuple[int, Estimate], ...]
    backward_transfer: float | None


def path_to(sessions: Sequence[LearnedSession], number: int) -> tuple[LearnedSession, ...]:
    """The sessions from the base to `number`, in order; StoreError where one is missing."""
    known = {session.number: session for session in sessions}
    path: list[LearnedSession] = []
    while number:
        if number not in known:
            raise StoreError(
                f"session {number} is missing: "
                + (f"session {path[-1].number} stands on it" if path else "it is the current one"),
                hint="restore the store from a copy, or tunesmith rollback to an earlier session",
            )
        path.append(known[number])
        number = known[number].parent
    return tuple(reversed(path))


def chain_behind(store: Store, run_id: str) -> Chain | None:
    """The lineage up to the session that a run was; None where it was none."""
    session = store.session_of(run_id)
    return None if session is None else chain_of(store, session.lineage, session.number)


def chain_of(store: Store, name: str, current: int | None = None) -> Chain:
    """A lineage as the store has it, up to its current session or another."""
    sessions = store.sessions(name)
    current = store.lineages()[name] if current is None else current
    path = path_to(sessions, current)
    cells: list[Cell] = []
    forgetting: list[tuple[int, Comparison]] = []
    general: list[tuple[int, Estimate]] = []
    metric = ""
    topics = {session.topic for session in path}
    for index, session in enumerate(path):
        comparisons = store.comparisons(session.run_id)
        metric = next((c.metric for c in comparisons if c.primary), metric)
        behind = {PARENT: session.parent, session.variant: session.number}
        metrics = store.metrics(session.run_id)
        own = f"{TOPIC}={session.topic}"
        whole = all(found.slice != own for found in metrics)  # one topic has no slice of its own
        for found in metrics:
            named = own if whole and found.slice == "all" else found.slice
            key, _, topic = named.partition("=")
            # What the parent knows of the earlier topics stands behind its own session already.
            known = found.variant == PARENT and index > 0
            if found.variant not in behind:
                continue
            if key == TOPIC and topic not in topics:  # a source that only tests
                continue
            if found.name == metric and key == TOPIC and not (known and topic != session.topic):
                cells.append(Cell(behind[found.variant], topic, found.estimate))
            if found.name == "general_perplexity" and not known:
                general.append((behind[found.variant], found.estimate))
        earlier = {f"{TOPIC}={before.topic}" for before in path[:index]} - {own}
        asked = [
            c
            for c in comparisons
            if c.slice in earlier and (c.a, c.b, c.metric) == (PARENT, session.variant, metric)
        ]
        wishes = store.run(session.run_id).resolved["evaluation"]
        forgetting += [(session.number, c) for c in _own_family(asked, float(wishes["alpha"]))]
    return Chain(
        name=name,
        current=current,
        metric=metric,
        path=path,
        others=tuple(s for s in sessions if s not in path),
        cells=tuple(cells),
        forgetting=tuple(forgetting),
        general=tuple(general),
        backward_transfer=_backward_transfer(path, cells),
    )


def _own_family(asked: Sequence[Comparison], alpha: float) -> list[Comparison]:
    """The comparisons with p corrected (Holm) over themselves alone, and the verdict that follows.

    Whether an earlier topic was forgotten is a session's own question: among all the slices of its
    run, a loss of ten points would be corrected out of sight.
    """
    family = []
    for c, p in zip(asked, holm([c.p for c in asked]), strict=True):
        if p <= alpha:
            verdict = Verdict.BETTER if c.difference > 0 else Verdict.WORSE
        else:
            verdict = c.verdict if c.verdict is Verdict.EQUIVALENT else Verdict.NO_EVIDENCE
        family.append(replace(c, p_adjusted=p, verdict=verdict))
    return family


def _backward_transfer(path: Sequence[LearnedSession], cells: Sequence[Cell]) -> float | None:
    score = {(cell.session, cell.topic): cell.estimate.value for cell in cells}
    if len(path) < 2:
        return None
    last = path[-1].number
    pairs = [
        (score.get((last, s.topic)), score.get((s.number, s.topic)))
        for s in path[:-1]
        if s.topic != path[-1].topic
    ]
    known = [after - before for after, before in pairs if after is not None and before is not None]
    return sum(known) / len(known) if known else None
