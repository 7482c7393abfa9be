"""Calls of language models in the store: kept by content, counted by job, lost and dropped ones."""

from __future__ import annotations

from pathlib import Path

from tunesmith.store.database import FILE
from tunesmith.store.store import Store


def opened(store: Store, key: str, job: str = "job", worst: float = 1.0) -> int:
    return store.open_call(
        key,
        job=job,
        endpoint="openai host",
        model="m",
        request={"messages": [{"role": "user", "content": "Wörter"}]},
        worst_usd=worst,
    )


def close(store: Store, number: int, text: str = "text", cost: float = 0.25) -> None:
    store.close_call(
        number,
        text=text,
        stop_reason="done",
        served_model="m-2026",
        tokens_in=10,
        tokens_out=5,
        cost_usd=cost,
        seconds=0.5,
    )


def test_an_answer_is_found_by_its_content_and_by_any_job(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert store.answered_call("k") is None
        close(store, opened(store, "k"), "first")
        close(store, opened(store, "k", job="other"), "second")
        found = store.answered_call("k")
        assert found is not None
        assert (found.text, found.job, found.cost_usd) == ("first", "job", 0.25)
        assert (found.tokens_in, found.tokens_out, found.stop_reason) == (10, 5, "done")


def test_a_call_without_an_answer_counts_at_its_worst_and_is_not_an_answer(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        close(store, opened(store, "a", worst=2.0))
        opened(store, "b", worst=2.0)
        store.drop_call(opened(store, "c", worst=4.0))
        close(store, opened(store, "d", job="other"))
        assert store.answered_call("b") is None
        cost = store.job_cost("job")
        assert (cost.answered, cost.spent_usd) == (1, 0.25)
        assert (cost.unanswered, cost.unsure_usd) == (1, 2.0)
        none = store.job_cost("nobody")
        assert (none.answered, none.spent_usd, none.unanswered, none.unsure_usd) == (0, 0, 0, 0)


def test_an_answered_call_is_not_dropped(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        number = opened(store, "k")
        close(store, number)
        store.drop_call(number)
        assert store.answered_call("k") is not None


def test_text_that_no_database_holds_is_kept_readable(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        close(store, opened(store, "k"), "a\0b\ud800c")
        found = store.answered_call("k")
        assert found is not None
        assert found.text == "a\ufffdb\ufffdc"


def test_a_store_of_the_first_schema_gets_the_table(tmp_path: Path) -> None:
    """As an older Tunesmith left it."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine, inspect

    config = Config()
    config.set_main_option("script_location", "tunesmith:store/migrations")
    config.set_main_option("path_separator", "os")
    engine = create_engine(f"sqlite:///{tmp_path / FILE}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "first_schema")
    assert not inspect(engine).has_table("llm_calls")
    engine.dispose()
    with Store.open(tmp_path) as store:
        close(store, opened(store, "k"))
        assert store.answered_call("k") is not None


def test_an_answer_that_cannot_be_used_is_paid_for_and_is_no_answer(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.charge_call(opened(store, "a", worst=2.0), 100, 50, cost_usd=0.5)
        assert store.answered_call("a") is None
        cost = store.job_cost("job")
        assert (cost.answered, cost.spent_usd) == (0, 0.5)
        assert (cost.unanswered, cost.unsure_usd) == (0, 0.0)


def test_answers_longer_than_asked_for_are_known_of_a_job(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        for asked, told in ((10, 9), (10, 70), (10, 40), (1000, 900)):
            number = store.open_call(
                "k", job="job", endpoint="e", model="m",
                request={"max_tokens": asked}, worst_usd=1.0,
            )  # fmt: skip
            store.charge_call(number, 1, told, cost_usd=0.1)
        assert store.job_cost("job").overlong == 70
        assert store.job_cost("other").overlong == 0
