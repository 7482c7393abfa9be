"""The test set of a run, and what each variant answered to it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from tunesmith.records import Answer, Example, Message, Outcome
from tunesmith.store.database import BATCH, Database, columns, read_noun, replace
from tunesmith.store.nouns import TestExample
from tunesmith.store.schema import ExampleRow, ResponseRow, TestExampleRow
from tunesmith.store.variants import present


class Answers(Database):
    """Questions about test examples and answers."""

    def record_examples(
        self, run_id: str, examples: Iterable[Example], *, twins: Collection[str] = ()
    ) -> None:
        """Keep the test set of a run; `twins` are the ids of those with a twin in training."""
        by_id = {example.id: example for example in examples}
        marked = set(twins)

        def change(session: Session) -> None:
            session.execute(delete(TestExampleRow).where(TestExampleRow.run_id == run_id))
            known: set[str] = set()
            ids = list(by_id)
            for start in range(0, len(ids), BATCH):
                statement = select(ExampleRow.id).where(
                    ExampleRow.id.in_(ids[start : start + BATCH])
                )
                known.update(session.scalars(statement))
            _insert_texts(session, {i: by_id[i] for i in ids if i not in known})
            rows = [
                {
                    "run_id": run_id,
                    "example_id": example_id,
                    "position": position,
                    "place": example.place,
                    "meta": dict(example.meta),
                    "has_twin": example_id in marked,
                }
                for position, (example_id, example) in enumerate(by_id.items())
            ]
            if rows:
                session.execute(insert(TestExampleRow), rows)

        self._write(change)

    def examples(self, run_id: str) -> list[TestExample]:
        """The test set of a run, in its order."""
        statement = (
            select(TestExampleRow, ExampleRow)
            .join(ExampleRow, ExampleRow.id == TestExampleRow.example_id)
            .where(TestExampleRow.run_id == run_id)
            .order_by(TestExampleRow.position)
        )
        return self._read(
            lambda session: [_test_example(*row) for row in session.execute(statement)]
        )

    def record_answers(self, run_id: str, variant: str, answers: Iterable[Answer]) -> None:
        """Keep answers as they come; a new answer to the same example takes the old one's place."""
        rows = [{**columns(answer), "outcome": answer.outcome.value} for answer in answers]

        def change(session: Session) -> None:
            present(session, run_id, variant, "cheap")
            fixed = {"run_id": run_id, "variant": variant}
            replace(session, ResponseRow, fixed, "example_id", rows)

        self._write(change)

    def answers(self, run_id: str, variant: str) -> list[Answer]:
        """What a variant answered, in the order of the test set (others behind, by id)."""
        statement = (
            select(ResponseRow)
            .outerjoin(
                TestExampleRow,
                (TestExampleRow.run_id == ResponseRow.run_id)
                & (TestExampleRow.example_id == ResponseRow.example_id),
            )
            .where(ResponseRow.run_id == run_id, ResponseRow.variant == variant)
            .order_by(
                TestExampleRow.position.is_(None),
                TestExampleRow.position,
                ResponseRow.example_id,
            )
        )
        return self._read(lambda session: [_answer(row) for row in session.scalars(statement)])


def _insert_texts(session: Session, examples: dict[str, Example]) -> None:
    rows = [
        {
            "id": example_id,
            "messages": [{"role": m.role, "content": m.content} for m in example.messages],
            "target": example.target,
            "label": example.label,
        }
        for example_id, example in examples.items()
    ]
    if rows:
        session.execute(insert(ExampleRow), rows)


def _test_example(place: TestExampleRow, content: ExampleRow) -> TestExample:
    example = Example(
        messages=tuple(Message(m["role"], m["content"]) for m in content.messages),
        target=content.target,
        label=content.label,
        meta=place.meta,
        place=place.place,
    )
    return TestExample(example, place.has_twin)


def _answer(row: ResponseRow) -> Answer:
    return read_noun(Answer, row, outcome=Outcome(row.outcome))
