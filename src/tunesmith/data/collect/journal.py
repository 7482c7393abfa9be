"""Drive a collector into a folder, page by page, so that a killed collection goes on.

    documents.jsonl   documents, appended and synced page by page
    state.json        settings, cursor, counts; replaced as a whole after each page

A page is first appended, then the state moves on: a process killed between the two reads that page
again and writes nothing twice, because ids that stand in the file are passed over. A last line that
was cut short is taken off.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tunesmith.config.collect import CollectorSettings
from tunesmith.data.collect.document import Document, from_json, to_json
from tunesmith.data.collect.page import Cursor, Page
from tunesmith.errors import CollectError, DataError, TunesmithError
from tunesmith.store.whole import whole_file

DOCUMENTS, STATE, LOCK = "documents.jsonl", "state.json", ".lock"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class State:
    """What state.json holds. `cursor` is None at the beginning and, with `done`, at the end."""

    settings: Mapping[str, Any]
    cursor: Cursor | None = None
    pages: int = 0
    documents: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    done: bool = False
    started: str = ""
    changed: str = ""
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Collected:
    """A collection as it stands: `new` documents of this call, `documents` in all."""

    folder: Path
    documents: int
    new: int
    repeated: int  # met again, not written again
    pages: int  # of this call
    skipped: Mapping[str, int]
    licences: Mapping[str, int]
    done: bool

    @property
    def file(self) -> Path:
        """The documents, one JSON object a line."""
        return self.folder / DOCUMENTS


def drive(
    folder: Path,
    settings: CollectorSettings,
    pages: Callable[[Cursor | None], Iterator[Page]],
    *,
    limit: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Collected:
    """Write the pages of a collector into `folder`, from where it stands to `limit` documents.

    Raises CollectError where the folder holds another collection or another process writes in it;
    errors of the collector come through with what was saved and how to go on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            return _drive(folder, settings, pages, limit, say)
    except Timeout as error:
        raise CollectError(
            f"{folder}: another process collects into this folder.",
            hint="Wait for it, stop it, or choose another folder with --out.",
        ) from error


def key_of(settings: CollectorSettings) -> str:
    """A short hash of what is asked for, for a folder's name."""
    text = json.dumps(settings.wishes(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def read_documents(file: Path) -> Iterator[Document]:
    """The documents of a file; DataError names the line that holds none."""
    with file.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                yield from_json(line)
            except DataError as error:
                raise DataError(f"{file}:{number}: {error.message}", hint=error.hint) from error


def _drive(
    folder: Path,
    settings: CollectorSettings,
    pages: Callable[[Cursor | None], Iterator[Page]],
    limit: int | None,
    say: Callable[[str], None],
) -> Collected:
    state = _state(folder, settings)
    writer = _Writer(folder)
    before = writer.count
    tally = {"new": 0, "repeated": 0, "pages": 0}

    def collected() -> Collected:
        return Collected(
            folder=folder, documents=writer.count, skipped=state.skipped,
            licences=dict(writer.licences), done=state.done, **tally,
        )  # fmt: skip

    if state.done or (limit is not None and before >= limit):
        return collected()
    try:
        for page in pages(state.cursor):
            new = writer.unknown(page.documents)
            room = len(new) if limit is None else max(0, limit - writer.count)
            writer.write(new[:room])
            tally["new"] += len(new[:room])
            tally["repeated"] += len(page.documents) - len(new)
            if room < len(new):  # the page is met again under a higher limit
                break
            state = _after(state, page, writer.count)
            _save(folder, state)
            tally["pages"] += 1
            say(f"{writer.count:,} documents{', ' + page.note if page.note else ''}")
            if limit is not None and writer.count >= limit:
                break
    except TunesmithError as error:
        raise _with_saved(error, folder, writer.count) from error
    return collected()


def _after(state: State, page: Page, count: int) -> State:
    return State(
        settings=state.settings,
        cursor=page.cursor,
        pages=state.pages + 1,
        documents=count,
        skipped=dict(Counter(state.skipped) + Counter(page.skipped)),
        done=page.cursor is None,
        started=state.started,
        changed=_now(),
    )


def _with_saved(error: TunesmithError, folder: Path, count: int) -> TunesmithError:
    """The same error, with what is safe and how to go on."""
    if count:
        error.message = f"{error.message} {count:,} documents are saved in {folder}."
        error.hint = f"{error.hint} The same command goes on from there.".lstrip()
    else:
        error.message = f"{error.message} Nothing was saved yet."
    error.args = (error.message,)
    return error


def _state(folder: Path, settings: CollectorSettings) -> State:
    """The state of a folder, new where it holds none; CollectError where it is another's."""
    file = folder / STATE
    wishes = settings.wishes()
    if not file.is_file():
        if (folder / DOCUMENTS).is_file() and (folder / DOCUMENTS).stat().st_size:
            raise CollectError(
                f"{folder}: holds {DOCUMENTS}, but no {STATE} that says what of.",
                hint="Choose another folder with --out, or remove this one to begin anew.",
            )
        state = State(settings=wishes, started=_now(), changed=_now())
        _save(folder, state)
        return state
    try:
        values = json.loads(file.read_text("utf-8"))
        if values["format"] != FORMAT:
            raise ValueError(f"its format is {values['format']}")
        state = State(**values)
    except (ValueError, TypeError, KeyError) as error:
        raise CollectError(
            f"{file}: cannot be read: {error}.", hint="Remove the folder to begin anew."
        ) from error
    if state.settings != wishes:
        raise CollectError(
            f"{folder}: holds another collection: {_difference(state.settings, wishes)}.",
            hint="Choose another folder with --out, or remove this one to begin anew.",
        )
    return state


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    keys = [k for k in dict.fromkeys([*old, *new]) if old.get(k) != new.get(k)]
    said = [f"{k} was {json.dumps(old.get(k))}, now {json.dumps(new.get(k))}" for k in keys]
    return "; ".join(said)


def _save(folder: Path, state: State) -> None:
    """Replace state.json as a whole; what was written stands after a power cut, too."""
    with whole_file(folder / STATE) as file:
        json.dump(asdict(state), file, ensure_ascii=False, indent=1)


class _Writer:
    """documents.jsonl: mended on opening, appended to and synced."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / DOCUMENTS
        self.ids: set[str] = set()
        self.licences: Counter[str] = Counter()
        self._mend()
        self._note(read_documents(self.file))

    @property
    def count(self) -> int:
        return len(self.ids)

    def unknown(self, documents: Iterable[Document]) -> list[Document]:
        """Those that do not stand here yet, each once."""
        first: dict[str, Document] = {}
        for document in documents:
            if document.id not in self.ids:
                first.setdefault(document.id, document)
        return list(first.values())

    def write(self, documents: Iterable[Document]) -> None:
        written = list(documents)
        if not written:
            return
        with self.file.open("ab") as stream:
            stream.write("".join(to_json(d) + "\n" for d in written).encode("utf-8"))
            stream.flush()
            os.fsync(stream.fileno())
        self._note(written)

    def _note(self, documents: Iterable[Document]) -> None:
        for document in documents:
            self.ids.add(document.id)
            self.licences[document.licence] += 1

    def _mend(self) -> None:
        """Take off a last line that was cut short; a collection of nothing has a file, too."""
        self.file.touch()
        with self.file.open("rb+") as stream:
            stream.truncate(stream.read().rfind(b"\n") + 1)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
