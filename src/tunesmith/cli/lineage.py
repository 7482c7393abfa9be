"""`tunesmith lineage` and `tunesmith rollback`: the chain of sessions, and the way back."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from tunesmith.cli.options import Home, Json
from tunesmith.cli.output import out, print_json, verb
from tunesmith.cli.show import COLOURS

if TYPE_CHECKING:
    from tunesmith.store.chain import Chain
    from tunesmith.store.lineages import LearnedSession

LineageName = Annotated[
    str | None,
    typer.Option("--lineage", metavar="NAME", help="Which lineage; default: the recipe's name."),
]


@verb
def lineage(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Which one, where there are several.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Draw a lineage: its sessions, each topic's score behind each, and what was forgotten.

    Examples:

    - `tunesmith lineage`
    - `tunesmith lineage campus --json`
    """
    from tunesmith.pipeline import home_of
    from tunesmith.pipeline import lineage as lineages

    chain = lineages.show_chain(home_of(home), name)
    if as_json:
        print_json(chain_json(chain))
    else:
        show_chain(chain)


@verb
def rollback(
    session: Annotated[
        int | None,
        typer.Argument(metavar="[SESSION]", min=0, help="Its number; 0 is the base."),
    ] = None,
    lineage: LineageName = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make an earlier session the current one: by default the one before. Nothing is deleted.

    Examples:

    - `tunesmith rollback`
    - `tunesmith rollback 1 --lineage campus`
    """
    from tunesmith.pipeline import home_of
    from tunesmith.pipeline.lineage import roll_back

    chain = roll_back(home_of(home), lineage, session)
    if as_json:
        print_json(chain_json(chain))
    else:
        show_chain(chain)


def chain_json(chain: Chain) -> dict[str, Any]:
    """A chain as one JSON object."""

    def session(it: LearnedSession) -> dict[str, Any]:
        return asdict(it) | {"created": it.created.isoformat()}

    return {
        "lineage": chain.name,
        "current": chain.current,
        "metric": chain.metric,
        "sessions": [session(s) for s in chain.path],
        "other_branches": [session(s) for s in chain.others],
        "scores": [
            {"session": c.session, "topic": c.topic, **_estimate(c.estimate)} for c in chain.cells
        ],
        "forgetting": [
            {
                "session": number,
                "topic": c.slice.partition("=")[2],
                "before": c.value_a,
                "after": c.value_b,
                "difference": c.difference,
                "ci": list(c.ci),
                "n": c.n,
                "p": c.p,
                "p_adjusted": c.p_adjusted,
                "verdict": c.verdict.value,
            }
            for number, c in chain.forgetting
        ],
        "general_perplexity": [
            {"session": number, **_estimate(found)} for number, found in chain.general
        ],
        "backward_transfer": chain.backward_transfer,
    }


def _estimate(found: Any) -> dict[str, Any]:
    return {"value": found.value, "n": found.n, "ci": list(found.ci)}


def show_chain(chain: Chain) -> None:
    """The sessions as a tree, then the scores by session and topic, then what was forgotten."""
    base = chain.path[0].base if chain.path else "the base"
    tree = Tree(f"[bold]{escape(chain.name)}[/] on {escape(base)}", highlight=False)
    _grow(tree, 0, [*chain.path, *chain.others], chain.current)
    out.print(tree)
    if not chain.current:
        out.print("current: the base itself", highlight=False)
    if chain.cells:
        out.print(_matrix(chain))
    if chain.forgetting:
        out.print(_forgotten(chain))
    if chain.backward_transfer is not None:
        out.print(
            f"backward transfer {chain.backward_transfer:+.3f} (mean over the earlier topics of the"
            " score now less the score when just learned; below 0 is forgetting)",
            highlight=False,
        )


def _grow(tree: Tree, parent: int, sessions: list[LearnedSession], current: int) -> None:
    for it in sorted((s for s in sessions if s.parent == parent), key=lambda s: s.number):
        how = "merged" if it.merged else "continued" if it.continued else "beside"
        replay = f", replay {it.replay:g}" if it.replay else ""
        mark = " [green]← current[/]" if it.number == current else ""
        node = tree.add(
            f"{it.number} [bold]{escape(it.topic)}[/] {how}{replay}"
            f" [dim]{it.run_id} {it.created:%Y-%m-%d %H:%M}[/]{mark}"
        )
        _grow(node, it.number, sessions, current)


def _matrix(chain: Chain) -> Table:
    topics = list(dict.fromkeys(s.topic for s in chain.path))
    table = Table(title=f"{chain.metric} by topic, behind each session", title_justify="left")
    table.add_column("behind")
    for topic in topics:
        table.add_column(escape(topic), justify="right")
    general = dict(chain.general)
    if general:
        table.add_column("general text\nperplexity", justify="right")
    found = {(c.session, c.topic): c.estimate for c in chain.cells}
    for number, name in ((0, "base"), *((s.number, f"{s.number} {s.topic}") for s in chain.path)):
        cells = []
        for topic in topics:
            e = found.get((number, topic))
            cells.append("" if e is None else f"{e.value:.3f} [dim]{e.ci[0]:.2f}–{e.ci[1]:.2f}[/]")
        if general:
            cells.append(f"{general[number].value:.2f}" if number in general else "")
        table.add_row(escape(name), *cells)
    return table


def _forgotten(chain: Chain) -> Table:
    table = Table(
        title="Earlier topics, behind a session against before it (p corrected over them)",
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
    )
    for name in ("session", "topic", "difference", "p", "n", "verdict"):
        table.add_column(name, justify="left" if name in ("topic", "verdict") else "right")
    for number, c in chain.forgetting:
        table.add_row(
            str(number),
            escape(c.slice.partition("=")[2]),
            f"{c.difference:+.3f} [dim]{c.ci[0]:+.3f} to {c.ci[1]:+.3f}[/]",
            "< 0.001" if c.p_adjusted < 0.001 else f"{c.p_adjusted:.3f}",
            f"{c.n:,}",
            f"[bold {COLOURS[c.verdict]}]{c.verdict.value}[/]",
        )
    return table
