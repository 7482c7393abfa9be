"""The connection: opening, migrating, transactions, and errors a person can act on.

SQLite is set up for several processes (https://sqlite.org/wal.html): write-ahead log, foreign keys
enforced, writers take the write lock at BEGIN so that none can deadlock half-way, and wait for it.
Any other SQLAlchemy URL works as it comes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    delete,
    event,
    exc,
    insert,
    inspect,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.orm import Session

from tunesmith.errors import StoreError, first_line
from tunesmith.store.schema import REVISION, Table

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Noun = TypeVar("Noun", bound=DataclassInstance)

T = TypeVar("T")
Rows = Iterable[Mapping[str, Any]]

FILE = "tunesmith.db"
BUSY_SECONDS = 30
ATTEMPTS = 5
BATCH = 400  # rows in one statement; SQLite takes 32,766 variables, others fewer
WRITING = "tunesmith_writing"

# What SQLite says (its message, lower case) -> what to tell the person.
REMEDIES: tuple[tuple[str, str, str], ...] = (
    ("disk is full", "the disk is full", "free some space, or choose another place with --home"),
    (
        "disk i/o error",
        "the disk did not take the data (full, over quota, or failing)",
        "check free space and quota, or choose another place with --home",
    ),
    ("readonly", "it cannot be written", "make it writable, or choose another place with --home"),
    (
        "unable to open",
        "it cannot be opened",
        "check that the folder exists and is yours to write, or choose another place with --home",
    ),
    (
        "malformed",
        "the database file is damaged",
        "restore it from a backup, or move it away and start a new one",
    ),
    (
        "not a database",
        "the file is no SQLite database",
        "move it away, or choose another place with --home",
    ),
    (
        "foreign key",
        "the run it belongs to is not there",
        "it may have been removed; `tunesmith runs` lists those that are left",
    ),
    (
        "locking protocol",
        "the file system cannot lock files",
        "put the store on a local disk with --home",
    ),
    ("locked", "another process keeps it locked", "wait for the other process, or end it"),
)


def _plain(value: Any) -> Any:
    """What JSON does not know of the values that callers hand in."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return value.item()  # a numpy scalar
    return str(value)


def dumps(value: Any) -> str:
    """JSON for a column; ASCII only, so that any database takes it."""
    return json.dumps(value, default=_plain)


def columns(noun: DataclassInstance, *, but: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a record that are columns of the same name: all `but` these."""
    return {f.name: getattr(noun, f.name) for f in fields(noun) if f.name not in but}


def read_noun(kind: type[Noun], row: Table, **others: Any) -> Noun:
    """A record from a row whose columns have its fields' names; `others` are stored otherwise."""
    same = {f.name: getattr(row, f.name) for f in fields(kind) if f.name not in others}
    return kind(**same, **others)


class Database:
    """An open, migrated database; the base of `Store`."""

    def __init__(self, engine: Engine, place: str) -> None:
        self.engine = engine
        self.place = place

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()

    def _read(self, question: Callable[[Session], T]) -> T:
        """Answer a question inside one read transaction."""
        return self._attempt(question, self.engine)

    def _write(self, change: Callable[[Session], T]) -> T:
        """Make a change inside one write transaction: all of it, or none."""
        return self._attempt(change, self.engine.execution_options(**{WRITING: True}))

    def _attempt(self, work: Callable[[Session], T], engine: Engine) -> T:
        def transaction() -> T:
            with Session(engine) as session, session.begin():
                return work(session)

        return patiently(transaction, self.place)


def patiently(work: Callable[[], T], place: str) -> T:
    """Do something with the database, and again if somebody else has it locked.

    SQLite's own busy timeout does not cover everything: a log being recovered or switched on by
    another process answers "locked" at once.
    """
    for attempt in range(ATTEMPTS):
        try:
            with telling(place):
                return work()
        except StoreError as error:
            if not is_locked(error.__cause__):
                raise
            time.sleep(0.05 * 2**attempt)
    with telling(place):
        return work()


def replace(
    session: Session, table: type[Table], fixed: Mapping[str, str], key: str, rows: Rows
) -> None:
    """Put rows in, each instead of the one with the same `fixed` columns and `key`.

    Delete and insert, in one transaction: unlike an upsert, every database means the same by it.
    """
    columns = table.__table__.c
    same = [columns[name] == value for name, value in fixed.items()]
    last = list({row[key]: {**fixed, **row} for row in rows}.values())  # the last of twins wins
    for start in range(0, len(last), BATCH):
        batch = last[start : start + BATCH]
        session.execute(delete(table).where(*same, columns[key].in_([row[key] for row in batch])))
        session.execute(insert(table), batch)


def connect(where: str | Path) -> Database:
    """Open the store at a home folder or a SQLAlchemy URL, and bring its tables up to date.

    Raises StoreError where the URL is wrong, a driver is missing, or the place cannot be used.
    """
    url, place = _locate(where)
    with telling(place):
        try:
            engine = create_engine(url, json_serializer=dumps, pool_pre_ping=not _is_sqlite(url))
        except exc.NoSuchModuleError as error:
            raise StoreError(
                f"{place}: no database is called {url.drivername!r}",
                hint="write sqlite:///FILE, postgresql+psycopg://…, or give a folder",
            ) from error
        except ModuleNotFoundError as error:
            raise StoreError(
                f"{place}: the driver {error.name!r} is not installed",
                hint=f"pip install {error.name}",
            ) from error
        if _is_sqlite(url):
            _set_up_sqlite(engine)
        try:
            patiently(lambda: _migrate(engine, url, place), place)
        except BaseException:
            engine.dispose()
            raise
    return Database(engine, place)


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _locate(where: str | Path) -> tuple[URL, str]:
    """The URL for a home folder or URL, and how to name it in errors (never with a password)."""
    if isinstance(where, str) and "://" in where:
        try:
            url = make_url(where)
        except exc.ArgumentError as error:
            raise StoreError(
                f"cannot read the store's URL: {error}",
                hint="write sqlite:///FILE, postgresql+psycopg://user@host/name, or give a folder",
            ) from error
        if not (_is_sqlite(url) and url.database):
            return url, url.render_as_string(hide_password=True)
        file = Path(url.database)
    else:
        file = Path(where).expanduser() / FILE
        url = URL.create("sqlite", database=str(file))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{file.parent}: {error.strerror}",
            hint="choose another place with --home or TUNESMITH_HOME",
        ) from error
    return url, str(file)


def _set_up_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        # The driver must not open transactions by itself: BEGIN IMMEDIATE below does.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        cursor.execute("PRAGMA foreign_keys = ON")
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")  # safe with WAL: the last commits may be lost
        cursor.close()  #                                to a power cut, the file stays whole

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get(WRITING, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _migrate(engine: Engine, url: URL, place: str) -> None:
    """Bring the tables to `REVISION`; a store that is there already costs one SELECT."""
    if _revision(engine) == REVISION:
        return
    with _alone(url), engine.execution_options(**{WRITING: True}).begin() as connection:
        found = _revision(connection)
        if found == REVISION:  # another process was faster
            return
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", "tunesmith:store/migrations")
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if found is not None and found not in known:
            raise StoreError(
                f"{place}: written by a newer Tunesmith (its schema {found}, ours {REVISION})",
                hint="upgrade Tunesmith, or choose another place with --home",
            )
        command.upgrade(config, "head")


def _revision(bind: Engine | Connection) -> str | None:
    """The schema's revision, None for an empty database."""
    if not inspect(bind).has_table("alembic_version"):
        return None
    statement = text("SELECT version_num FROM alembic_version")
    if isinstance(bind, Connection):
        return bind.execute(statement).scalar()
    with bind.connect() as connection:
        return connection.execute(statement).scalar()


@contextmanager
def _alone(url: URL) -> Iterator[None]:
    """Hold the file lock beside a SQLite store, so that two processes do not both create it."""
    if not (_is_sqlite(url) and url.database and url.database != ":memory:"):
        yield
        return
    from filelock import FileLock

    with FileLock(f"{url.database}.lock", timeout=BUSY_SECONDS):
        yield


def is_locked(error: BaseException | None) -> bool:
    """Whether an error of the database means that somebody else is writing."""
    return isinstance(error, exc.DBAPIError) and "database is locked" in str(error.orig).lower()


@contextmanager
def telling(place: str) -> Iterator[None]:
    """Turn what the database or the disk raises into a StoreError naming place and remedy."""
    try:
        yield
    except exc.DBAPIError as error:
        said = str(error.orig).strip()
        for sign, meaning, hint in REMEDIES:
            if sign in said.lower():
                raise StoreError(f"{place}: {meaning} ({said})", hint=hint) from error
        raise StoreError(
            f"{place}: the database refused: {first_line(error.orig or error)}",
            hint="check the URL, the server and your rights on it",
        ) from error
    except exc.SQLAlchemyError as error:
        raise StoreError(f"{place}: {first_line(error)}", hint="check the store's URL") from error
    except TimeoutError as error:
        raise StoreError(
            f"{place}: another process is setting the store up",
            hint="wait for it; if none is alive, remove the .lock file beside the store",
        ) from error
    except OSError as error:
        raise StoreError(
            f"{place}: {error.strerror or error}",
            hint="choose another place with --home or TUNESMITH_HOME",
        ) from error
