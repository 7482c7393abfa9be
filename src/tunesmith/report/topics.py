"""Topic after topic: the matrix of scores behind each session, and what each session cost the
earlier topics."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.report import figures
from tunesmith.report.evidence import EMPTY, Cell, Grid
from tunesmith.report.facts import Facts
from tunesmith.store.chain import Chain


@dataclass(frozen=True, slots=True)
class Topics:
    """What the page says of a session's lineage."""

    lineage: str
    matrix: Grid
    forgetting: Grid | None
    transfer: str


def topics(facts: Facts) -> Topics | None:
    """The lineage up to this run's session; None where the run is no session."""
    chain = facts.chain
    if chain is None:
        return None
    share = chain.metric in facts.shares
    moved = chain.backward_transfer
    return Topics(
        lineage=chain.name,
        matrix=_matrix(chain, share, facts.level),
        forgetting=_forgetting(chain, share, facts.level) if chain.forgetting else None,
        transfer="" if moved is None else figures.difference(moved, share),
    )


def _matrix(chain: Chain, share: bool, level: str) -> Grid:
    names = list(dict.fromkeys(session.topic for session in chain.path))
    found = {(cell.session, cell.topic): cell.estimate for cell in chain.cells}
    general = dict(chain.general)
    rows = []
    for number, name in [(0, "base"), *((s.number, f"{s.number} {s.topic}") for s in chain.path)]:
        cells = []
        for topic in names:
            e = found.get((number, topic))
            cells.append(
                EMPTY
                if e is None
                else Cell(figures.score(e.value, share), figures.interval(*e.ci, share))
            )
        if general:
            e = general.get(number)
            cells.append(EMPTY if e is None else Cell(figures.number(e.value, 2)))
        rows.append((name, "", tuple(cells)))
    heads = (*names, "perplexity of general text") if general else tuple(names)
    return Grid(
        f"{chain.metric} by topic behind each session, {level} intervals", heads, tuple(rows)
    )


def _forgetting(chain: Chain, share: bool, level: str) -> Grid:
    rows = []
    for number, c in chain.forgetting:
        gap = figures.difference_interval(*c.ci, share)
        cells = (
            Cell(figures.score(c.value_a, share)),
            Cell(figures.score(c.value_b, share)),
            Cell(figures.difference(c.difference, share), gap),
            Cell(figures.probability(c.p_adjusted)),
            Cell(figures.integer(c.n)),
            Cell(c.verdict.value),
        )
        rows.append((f"{c.slice.partition('=')[2]}, session {number}", "", cells))
    heads = ("before", "behind", f"difference, {level} interval", "p", "n", "verdict")
    return Grid("Earlier topics before and behind each session", heads, tuple(rows))
