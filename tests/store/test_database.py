"""Several processes at one store, kills, full disks, damaged files, wrong URLs, newer schemas."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tunesmith.errors import StoreError
from tunesmith.records import Answer, Outcome
from tunesmith.store.database import FILE
from tunesmith.store.nouns import Status
from tunesmith.store.schema import REVISION, Table
from tunesmith.store.store import Store

WRITER = """
import sys
from pathlib import Path
from tunesmith.records import Answer, Outcome
from tunesmith.store.store import Store

with Store.open(sys.argv[1]) as store:
    run = store.start_run("writer", runs=Path("runs"))
    for batch in range(20):
        answers = [Answer(f"{batch}-{i}", "x" * 200, Outcome.SCORED) for i in range(20)]
        store.record_answers(run.id, "baseline", answers)
    print(run.id)
"""


def test_several_processes_create_and_write_one_store(tmp_path: Path) -> None:
    home = tmp_path / "home"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(home)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    said = [writer.communicate() for writer in writers]
    assert [error for _, error in said] == ["", "", ""]
    with Store.open(home) as store:
        assert {run.id for run in store.runs()} == {out.strip() for out, _ in said}
        for run in store.runs():
            assert len(store.answers(run.id, "baseline")) == 400
            # The process is gone without having ended the run: that is an interrupted one.
            assert run.status is Status.INTERRUPTED


KILLED = """
import sys
from pathlib import Path
from tunesmith.records import Answer, Outcome
from tunesmith.store.store import Store

store = Store.open(sys.argv[1])
run = store.start_run("killed", runs=Path("runs"))
def answers():
    for i in range(10):
        yield Answer(str(i), "kept", Outcome.SCORED)
store.record_answers(run.id, "baseline", answers())
print(run.id, flush=True)
while True:
    store.record_answers(run.id, "baseline", answers())
"""


def test_what_was_stored_survives_a_kill(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        os.kill(process.pid, signal.SIGKILL)
    with Store.open(tmp_path) as store:
        assert len(store.answers(run_id, "baseline")) == 10
        assert store.resume_run(run_id).id == run_id


def test_a_run_that_another_process_works_on_is_not_taken_from_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        try:
            with Store.open(tmp_path) as store, pytest.raises(StoreError, match=str(process.pid)):
                store.resume_run(run_id)
        finally:
            os.kill(process.pid, signal.SIGKILL)


LIMITED = """
import resource, sys
from pathlib import Path
from tunesmith.errors import StoreError
from tunesmith.records import Answer, Outcome
from tunesmith.store.store import Store

store = Store.open(sys.argv[1])
run = store.start_run("full", runs=Path("runs"))
store.record_answers(run.id, "baseline", [Answer("first", "kept", Outcome.SCORED)])
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    for i in range(1000):
        store.record_answers(run.id, "baseline", [Answer(str(i), "x" * 50_000, Outcome.SCORED)])
except StoreError as error:
    print(error.message, "|", error.hint)
"""


def test_a_disk_that_takes_no_more_is_told_and_the_store_stays_whole(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert str(tmp_path / FILE) in done.stdout
    assert "disk" in done.stdout
    assert "--home" in done.stdout
    with Store.open(tmp_path) as store:
        [run] = store.runs()
        assert "first" in {answer.example_id for answer in store.answers(run.id, "baseline")}
    with sqlite3.connect(tmp_path / FILE) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_place_that_is_no_store_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"a letter to a friend\n" * 100)
    with pytest.raises(StoreError, match="no SQLite database") as caught:
        Store.open(tmp_path)
    assert str(tmp_path / FILE) in caught.value.message
    assert "move it away" in caught.value.hint
    with pytest.raises(StoreError, match=r"Not a directory|File exists"):
        Store.open(tmp_path / FILE / "home")


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        run_id = store.start_run("r", runs=tmp_path).id
        store.record_answers(
            run_id, "v", [Answer(str(i), "x" * 900, Outcome.SCORED) for i in range(200)]
        )
    file = tmp_path / FILE
    content = bytearray(file.read_bytes())
    for page in range(20, len(content) // 4096):
        content[page * 4096 : page * 4096 + 512] = b"\xff" * 512
    file.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"), Store.open(tmp_path) as store:
        store.answers(run_id, "v")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nosuch://x", "no database is called 'nosuch'"),
        ("://", "cannot read the store's URL"),
        ("postgresql+asyncpgx://u:secret@h/x", "no database is called"),
    ],
)
def test_a_wrong_url_is_told_without_its_password(url: str, said: str) -> None:
    with pytest.raises(StoreError, match=said) as caught:
        Store.open(url)
    assert caught.value.hint
    assert "secret" not in caught.value.message


def test_a_url_of_sqlite_works(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'deep' / 'other.db'}") as store:
        store.start_run("r", runs=tmp_path)
    assert (tmp_path / "deep" / "other.db").is_file()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_place_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match=r"cannot be opened|Permission denied"):
        Store.open(tmp_path)


def test_a_newer_store_is_left_alone(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'from_the_future'")
    connection.close()
    with pytest.raises(StoreError, match="newer Tunesmith") as caught:
        Store.open(tmp_path)
    assert "upgrade Tunesmith" in caught.value.hint


def test_migrations_lead_to_the_tables_of_the_schema(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "tunesmith:store/migrations")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]
    with Store.open(tmp_path) as store, store.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Table.metadata) == []
