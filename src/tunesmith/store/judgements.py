"""What evaluating and comparing found: figures, paired tests, the scorers' own check."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tunesmith.records import Comparison, Estimate, Metric, Verdict
from tunesmith.store.database import Database
from tunesmith.store.nouns import GoldCheck
from tunesmith.store.schema import ComparisonRow, GoldCheckRow, MetricRow
from tunesmith.store.variants import present


class Judgements(Database):
    """Questions about figures and verdicts."""

    def record_metrics(self, run_id: str, metrics: Iterable[Metric]) -> None:
        """Keep the figures of a run; they take the place of all that stood there before."""
        wanted = list(metrics)

        def change(session: Session) -> None:
            session.execute(delete(MetricRow).where(MetricRow.run_id == run_id))
            for variant in dict.fromkeys(metric.variant for metric in wanted):
                present(session, run_id, variant, "cheap")
            session.add_all(
                MetricRow(
                    run_id=run_id,
                    variant=metric.variant,
                    metric=metric.name,
                    slice=metric.slice,
                    position=position,
                    value=metric.estimate.value,
                    n=metric.estimate.n,
                    ci_low=metric.estimate.ci[0],
                    ci_high=metric.estimate.ci[1],
                )
                for position, metric in enumerate(wanted)
            )

        self._write(change)

    def metrics(self, run_id: str) -> list[Metric]:
        """The figures of a run, as they were given."""
        statement = select(MetricRow).where(MetricRow.run_id == run_id).order_by(MetricRow.position)
        return self._read(lambda session: [_metric(row) for row in session.scalars(statement)])

    def record_comparisons(self, run_id: str, comparisons: Iterable[Comparison]) -> None:
        """Keep the paired tests of a run; one family, so they replace all that stood there."""
        wanted = list(comparisons)

        def change(session: Session) -> None:
            session.execute(delete(ComparisonRow).where(ComparisonRow.run_id == run_id))
            session.add_all(_comparison_row(run_id, comparison) for comparison in wanted)

        self._write(change)

    def comparisons(self, run_id: str) -> list[Comparison]:
        """The paired tests of a run, as they were given."""
        statement = (
            select(ComparisonRow).where(ComparisonRow.run_id == run_id).order_by(ComparisonRow.id)
        )
        return self._read(lambda session: [_comparison(row) for row in session.scalars(statement)])

    def record_gold_checks(self, run_id: str, checks: Iterable[GoldCheck]) -> None:
        """Keep what the scorers said of the gold answers; replaces what stood there before."""
        wanted = list(checks)

        def change(session: Session) -> None:
            session.execute(delete(GoldCheckRow).where(GoldCheckRow.run_id == run_id))
            session.add_all(
                GoldCheckRow(
                    run_id=run_id,
                    metric=check.metric,
                    n=check.n,
                    value=check.value,
                    expected=check.expected,
                    problems=list(check.problems),
                )
                for check in wanted
            )

        self._write(change)

    def gold_checks(self, run_id: str) -> list[GoldCheck]:
        """What the scorers said of the gold answers, by metric."""
        statement = (
            select(GoldCheckRow).where(GoldCheckRow.run_id == run_id).order_by(GoldCheckRow.metric)
        )
        return self._read(
            lambda session: [
                GoldCheck(r.metric, r.n, r.value, r.expected, tuple(r.problems))
                for r in session.scalars(statement)
            ]
        )


def _metric(row: MetricRow) -> Metric:
    estimate = Estimate(row.value, row.n, (row.ci_low, row.ci_high))
    return Metric(row.variant, row.metric, row.slice, estimate)


def _comparison_row(run_id: str, comparison: Comparison) -> ComparisonRow:
    return ComparisonRow(
        run_id=run_id,
        metric=comparison.metric,
        a=comparison.a,
        b=comparison.b,
        slice=comparison.slice,
        n=comparison.n,
        value_a=comparison.value_a,
        value_b=comparison.value_b,
        difference=comparison.difference,
        ci_low=comparison.ci[0],
        ci_high=comparison.ci[1],
        test=comparison.test,
        p=comparison.p,
        p_adjusted=comparison.p_adjusted,
        effect=comparison.effect,
        effect_name=comparison.effect_name,
        verdict=comparison.verdict.value,
        detectable=comparison.detectable,
        needed=comparison.needed,
        discordant=None if comparison.discordant is None else list(comparison.discordant),
        is_primary=comparison.primary,
        caveats=list(comparison.caveats),
    )


def _comparison(row: ComparisonRow) -> Comparison:
    return Comparison(
        metric=row.metric,
        a=row.a,
        b=row.b,
        slice=row.slice,
        n=row.n,
        value_a=row.value_a,
        value_b=row.value_b,
        difference=row.difference,
        ci=(row.ci_low, row.ci_high),
        test=row.test,
        p=row.p,
        p_adjusted=row.p_adjusted,
        effect=row.effect,
        effect_name=row.effect_name,
        verdict=Verdict(row.verdict),
        detectable=row.detectable,
        needed=row.needed,
        discordant=None if row.discordant is None else (row.discordant[0], row.discordant[1]),
        primary=row.is_primary,
        caveats=tuple(row.caveats),
    )
