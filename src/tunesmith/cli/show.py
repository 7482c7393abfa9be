"""Results in a terminal: the table of variants, and the verdicts in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.markup import escape
from rich.table import Table

from tunesmith.cli.output import out
from tunesmith.records import Comparison, Metric, Verdict

WHOLE = "all"
SHOWN_METRICS = 5  # columns that still fit beside one another
COLOURS = {
    Verdict.BETTER: "green",
    Verdict.WORSE: "red",
    Verdict.NO_EVIDENCE: "yellow",
    Verdict.EQUIVALENT: "cyan",
}


def show_metrics(metrics: Iterable[Metric], *, confidence: float) -> None:
    """One row a variant, one column a metric, each with its interval, on the whole test set."""
    whole = [m for m in metrics if m.slice == WHOLE]
    names = list(dict.fromkeys(m.name for m in whole))[:SHOWN_METRICS]
    n = max((m.estimate.n for m in whole), default=0)
    table = Table(
        title=f"Scores on {n:,} test examples ({100 * confidence:g} % intervals)",
        title_justify="left",
    )
    table.add_column("variant")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    found = {(m.variant, m.name): m.estimate for m in whole}
    for variant in dict.fromkeys(m.variant for m in whole):
        cells = []
        for name in names:
            e = found.get((variant, name))
            cells.append("–" if e is None else f"{e.value:.3f} [dim]{e.ci[0]:.2f}–{e.ci[1]:.2f}[/]")
        table.add_row(escape(variant), *cells)
    out.print(table)


def show_verdicts(comparisons: Sequence[Comparison], *, confidence: float) -> None:
    """The verdicts that the report leads with, each with the sentence that bears it."""
    from tunesmith.pipeline import plain_words

    for comparison in comparisons:
        if comparison.primary and comparison.slice == WHOLE:
            colour = COLOURS[comparison.verdict]
            words = plain_words(comparison, confidence=confidence)
            out.print(
                f"[bold {colour}]{comparison.verdict.value}[/] {escape(words)}", highlight=False
            )
