"""`tunesmith study`: methods against one another, over tasks and seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from tunesmith.cli.options import Home, Json
from tunesmith.cli.output import err, out, print_json, verb
from tunesmith.cli.watch import Watch, duration

if TYPE_CHECKING:
    from tunesmith.pipeline.studying import Studied
    from tunesmith.records import StudyRun

INCOMPLETE = 1  # exit code where a run that counts failed


@verb
def study(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A study's YAML file, or a shipped study's name.")
    ],
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="METHOD", help="This method alone; may be repeated."),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option("--task", metavar="NAME", help="This task alone; may be repeated."),
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", metavar="NAME", help="Where the trainings run: local, ray.")
    ] = "local",
    ray_address: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            envvar="RAY_ADDRESS",
            help="With ray: the cluster's head; one is started on this machine where none is said.",
        ),
    ] = "",
    cpus: Annotated[
        float, typer.Option(metavar="N", min=0.1, help="With ray: processors of each training.")
    ] = 1,
    gpus: Annotated[
        float | None,
        typer.Option(
            metavar="N", min=0, help="With ray: GPUs of each training; 1 where there are any."
        ),
    ] = None,
    again: Annotated[
        Literal["failed", "all"] | None,
        typer.Option(
            "--again",
            help="Do the failed ones, or all that are asked for, again; what this very code has "
            "made of the same data and settings is found again, and not trained anew.",
        ),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Compare methods: each searched for its learning rate alike, then trained over seeds.

    Every training goes to the store as it ends. After an interruption the same command goes on;
    one that fails is recorded with its reason. Exit code 1: a run that counts has failed.

    Examples:

    - `tunesmith study methods`
    - `tunesmith study methods --only lora --only grit --task statqa`
    - `tunesmith study mine.yaml --again failed --json`
    - `tunesmith study methods --engine ray --cpus 2`
    """
    from contextlib import closing

    from tunesmith.config.study import load_study
    from tunesmith.pipeline import home_of
    from tunesmith.pipeline.engines import get_engine
    from tunesmith.pipeline.studying import run_study

    resolved, place = load_study(file), home_of(home)
    with (
        Watch() as watch,
        closing(
            get_engine(
                engine,
                study=resolved.study.name,
                home=place,
                address=ray_address,
                cpus=cpus,
                gpus=gpus,
                say=watch.say,
            )
        ) as chosen,
    ):
        done = run_study(
            resolved,
            home=place,
            only=only or (),
            tasks=tasks or (),
            engine=chosen,
            listener=watch,
            again=again or "",
        )
    if as_json:
        print_json(_told(done))
    else:
        _show(done)
    if any(run.error for run in done.runs):
        raise typer.Exit(INCOMPLETE)


def _show(done: Studied) -> None:
    for task in dict.fromkeys(run.task for run in done.runs):
        rows = _rows(done, task)
        title = f"{task}: mean ± SD over seeds"
        table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
        longest = max(len(row["method"]) for row in rows)
        table.add_column("method", style="bold", min_width=longest)
        primary = done.primary[task]
        for name in ("rate", "search", "seeds", "held-out", primary, "general", "s"):
            table.add_column(name, justify="right")
        for row in rows:
            table.add_row(
                row["method"],
                _figure(row["learning_rate"], ".2g"),
                _figure(row["search_loss"], ".4f"),
                f"{row['seeds']} of {row['seeds'] + row['failed']}",
                _spread(row["held_out_loss"], ".4f"),
                _spread(row["score"], ".1%"),
                _spread(row["general_perplexity"], ".2f"),
                _figure(row["seconds"]["mean"], ".1f"),
            )
        out.print(table)
    out.print(
        "[dim]search, held-out: loss in nats per answer token, of the best trial on the validation "
        "part (choices go by it) and on the test part; general: perplexity of general text "
        "afterwards; s: of training[/]",
        soft_wrap=True,
    )
    for note in done.notes:
        err.print(note, markup=False, highlight=False, soft_wrap=True)
    found = len(done.runs) + len(done.trials)
    out.print(
        f"{done.name}: {found:,} trainings, {done.made:,} of them now, in {duration(done.seconds)}",
        highlight=False,
    )


def _told(done: Studied) -> dict[str, Any]:
    """What `--json` prints."""
    names = dict.fromkeys(run.task for run in done.runs)
    return {
        "study": done.name,
        "tasks": {
            task: {"primary": done.primary[task], "methods": _rows(done, task)} for task in names
        },
        "runs": len(done.runs),
        "trials": len(done.trials),
        "made": done.made,
        "seconds": done.seconds,
        "failures": [
            {"task": r.task, "method": r.method, "seed": r.seed, "trial": r.trial, "why": r.error}
            for r in (*done.trials, *done.runs)
            if r.error
        ],
        "notes": list(done.notes),
    }


def _rows(done: Studied, task: str) -> list[dict[str, Any]]:
    """One row for each method, in the file's order: the test part is not for choosing by."""
    rows = []
    for method in dict.fromkeys(run.method for run in done.runs if run.task == task):
        every = [run for run in done.runs if (run.task, run.method) == (task, method)]
        ended = [run for run in every if not run.error]
        trials = [run for run in done.trials if (run.task, run.method) == (task, method)]
        tried = [run.validation_loss for run in trials if run.validation_loss is not None]
        general = [r.general_perplexity[1] for r in ended if r.general_perplexity is not None]
        rows.append(
            {
                "method": method,
                "learning_rate": every[0].learning_rate,
                "search_loss": min(tried, default=math.nan),
                "seeds": len(ended),
                "failed": len(every) - len(ended),
                "held_out_loss": _over_seeds([_loss(run) for run in ended]),
                "score": _over_seeds([r.scores.get(done.primary[task], math.nan) for r in ended]),
                "general_perplexity": _over_seeds(general),
                "drift": _over_seeds([r.drift for r in ended if r.drift is not None]),
                "seconds": _over_seeds([run.seconds for run in ended]),
                "trainable_parameters": ended[0].trainable_parameters if ended else None,
            }
        )
    return rows


def _loss(run: StudyRun) -> float:
    return math.nan if run.held_out_loss is None else run.held_out_loss


def _over_seeds(values: Sequence[float]) -> dict[str, float]:
    """Mean, and standard deviation over seeds; NaN where there is too little."""
    return {
        "mean": fmean(values) if values else math.nan,
        "sd": stdev(values) if len(values) > 1 else math.nan,
    }


def _figure(value: float, form: str) -> str:
    return "–" if math.isnan(value) else format(value, form)


def _spread(found: dict[str, float], form: str) -> str:
    mean, sd = _figure(found["mean"], form), _figure(found["sd"], form)
    return mean if sd == "–" else f"{mean} ± {sd}"
