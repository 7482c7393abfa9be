"""`tunesmith compare-training`: which method of training was worth its cost, over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tunesmith.cli.options import Home, Json
from tunesmith.cli.output import err, out, print_json, verb
from tunesmith.cli.show import COLOURS

if TYPE_CHECKING:
    from tunesmith.pipeline.comparing import Compared


@verb
def compare_training(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY|RUN...",
            help="A study by name, or runs of one recipe that differ in their seed alone: each"
            " variant is a method.",
        ),
    ],
    task: Annotated[
        str | None, typer.Option("--task", metavar="NAME", help="Only this task of the study.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where to write the page and its tables."),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option("--score", metavar="NAME", help="The score asked about; the task's own."),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option("--loss", help="Measure convergence to this loss; one that all come to."),
    ] = None,
    loss_margin: Annotated[
        float | None,
        typer.Option(
            "--loss-margin", help="Differences in loss below it do not matter: 'equivalent'."
        ),
    ] = None,
    score_margin: Annotated[
        float | None, typer.Option("--score-margin", help="The same for the score.")
    ] = None,
    alpha: Annotated[float, typer.Option("--alpha", help="Error rate of a family.")] = 0.05,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Compare methods of training over seeds: loss, score, time, memory, stability, and verdicts.

    Methods are paired by seed; Holm corrects over all pairs of a task. With one seed nothing is
    tested. Methods that saw other data, or another budget, are refused.

    Examples:

    - `tunesmith compare-training methods` (a study)
    - `tunesmith compare-training methods --task anecdot --loss-margin 0.01`
    - `tunesmith compare-training 20261121-0937 20261121-0951 --out seeds/` (two runs)
    """
    from tunesmith.compare.training_measures import SeedSettings
    from tunesmith.pipeline import home_of
    from tunesmith.pipeline.comparing import compare_trainings

    settings = SeedSettings(
        alpha=alpha,
        loss_margin=loss_margin,
        score_margin=score_margin,
        target=target,
        score=score,
    )
    done = compare_trainings(home_of(home), names, settings, task=task, out=to)
    if as_json:
        print_json(told(done))
    else:
        show(done)


def told(done: Compared) -> dict[str, Any]:
    """What `--json` prints."""
    from dataclasses import asdict

    from tunesmith.compare import comparison_json

    found = done.found
    tests = []
    for test in found.tests:
        plain = comparison_json(test.found, confidence=found.confidence)
        tests.append(
            plain
            | {
                "task": plain.pop("slice"),
                "p_sign_flips": test.p_permutation,
                "effect_ci": list(test.effect_ci),
                "words": test.words,
            }
        )
    return {
        "study": found.name,
        "report": str(done.page),
        "tasks": found.tasks,
        "methods": found.methods,
        "targets": [{"task": t, "loss": loss, "why": why} for t, loss, why in found.targets],
        "figures": [asdict(figure) for figure in found.figures],
        "comparisons": tests,
        "fronts": [asdict(front) for front in found.fronts],
        "when_to_use_which": [asdict(row) for row in found.advice],
        "failed": [
            {"task": r.task, "method": r.method, "seed": r.seed, "error": r.error}
            for r in found.failed
        ],
        "notes": found.notes,
    }


def show(done: Compared) -> None:
    """The matrix, the verdicts on the loss, and where the page is."""
    found = done.found
    for task in found.tasks:
        title = f"{task}: when to use which"
        table = Table("what matters", "methods", "evidence", title=title, title_justify="left")
        for row in found.advice:
            if row.task == task:
                table.add_row(row.wish, escape(", ".join(row.methods)), escape(row.evidence))
        if table.row_count:
            out.print(table)
    for test in found.tests:
        if test.found.primary:
            head, colon, rest = test.words.partition(": ")
            colour = COLOURS[test.found.verdict]
            said = f"[bold {colour}]{escape(head)}[/]{colon}{escape(rest)}"
            out.print(said, highlight=False, soft_wrap=not out.is_terminal)
            for caveat in test.found.caveats:
                out.print(f"• {caveat}", style="dim", markup=False, highlight=False, soft_wrap=True)
    for note in found.notes:
        err.print(note, markup=False, highlight=False, soft_wrap=True)
    out.print(str(done.page), highlight=False, soft_wrap=True)
