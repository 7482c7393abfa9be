"""Drive a collector into a folder, page by page, so that a killed collection goes on.

    documents.jsonl   documents, appended and synced page by page (`documents`)
    state.json        settings, cursor, counts; replaced as a whole after each page

A page is first appended, then the state moves on: a process killed between the two reads that page
again and writes nothing twice, because a document is known by its id. One that has changed takes
the place of what it was. To refresh is to walk through the source once more from its beginning.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tunesmith.config.collect import CollectorSettings
from tunesmith.data.collect.document import Document
from tunesmith.data.collect.documents import DOCUMENTS, Writer, read_documents
from tunesmith.data.collect.page import Cursor, Page
from tunesmith.errors import CollectError, TunesmithError
from tunesmith.store.whole import whole_file

__all__ = ["DOCUMENTS", "Collected", "drive", "key_of", "read_documents", "refreshing"]

STATE, LOCK = "state.json", ".lock"
FORMAT = 2


@dataclass(frozen=True, slots=True)
class State:
    """What state.json holds. `cursor` is None at the beginning and, with `done`, mostly at the end.

    `met` counts the documents of the walk, `documents` all; `refreshing` says that the walk is not
    the first one; `finished` is when a walk last came to its end.
    """

    settings: Mapping[str, Any]
    cursor: Cursor | None = None
    pages: int = 0
    documents: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    done: bool = False
    refreshing: bool = False
    met: int = 0
    started: str = ""
    changed: str = ""
    finished: str = ""
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Collected:
    """A collection as it stands: `new`, `changed` and `removed` documents of this call, `documents`
    in all; `finished` is when it last came to the end of its source (ISO 8601), or empty."""

    folder: Path
    documents: int
    new: int
    changed: int
    removed: int
    repeated: int  # met again as they stand, not written again
    pages: int  # of this call
    skipped: Mapping[str, int]
    licences: Mapping[str, int]
    done: bool
    finished: str

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
    refresh: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Collected:
    """Write the pages of a collector into `folder`, from where it stands to `limit` documents.

    To `refresh` is to begin a new walk, or to go on with one that was stopped; the limit then
    counts what this walk meets.
    Raises CollectError where the folder holds another collection or another process writes in it;
    errors of the collector come through with what was saved and how to go on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            state = _state(folder, settings)
            if refresh and not settings.WATCHED:
                state = _walk_again(state, limit)
                _save(folder, state)
            return _Drive(folder, state, limit, settings).run(pages, say)
    except Timeout as error:
        raise CollectError(
            f"{folder}: another process collects into this folder.",
            hint="Wait for it, stop it, or choose another folder with --out.",
        ) from error


def key_of(settings: CollectorSettings) -> str:
    """A short hash of what is asked for, for a folder's name."""
    text = json.dumps(settings.wishes(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def refreshing(folder: Path) -> bool:
    """Whether the walk that a folder stands in is not its first one."""
    file = folder / STATE
    return file.is_file() and json.loads(file.read_text("utf-8")).get("refreshing") is True


class _Drive:
    """One sitting."""

    def __init__(
        self, folder: Path, state: State, limit: int | None, settings: CollectorSettings
    ) -> None:
        self.folder, self.state, self.limit = folder, state, limit
        self.watched, self.snapshot = settings.WATCHED, settings.SNAPSHOT
        self.writer = Writer(folder)
        self.met = set[str]()
        self.tally = Counter(new=0, changed=0, removed=0, repeated=0, pages=0)

    def run(
        self, pages: Callable[[Cursor | None], Iterator[Page]], say: Callable[[str], None]
    ) -> Collected:
        whole = self.state.refreshing and self.state.cursor is None
        if self.watched or not (self.state.done or self._room() == 0):
            try:
                for page in pages(self.state.cursor):
                    if not self._take(page):
                        break
                    say(f"{self.writer.count:,} documents{', ' + page.note if page.note else ''}")
                    # Files that have changed come first, and are taken in whatever the limit is.
                    if not self.watched and self._room() == 0:
                        break
                if whole and self.snapshot and self.state.done:
                    self.tally["removed"] += self.writer.remove(self.writer.ids - self.met)
            except TunesmithError as error:
                raise _with_saved(error, self.folder, self.writer.count) from error
            finally:
                self.writer.close()
        return Collected(
            folder=self.folder, documents=self.writer.count, skipped=self.state.skipped,
            licences=self.writer.licences, done=self.state.done, finished=self.state.finished,
            **self.tally,
        )  # fmt: skip

    def _room(self) -> int | None:
        """How many more documents the limit has room for."""
        if self.limit is None:
            return None
        stood = self.state.met if self.state.refreshing else self.writer.count
        return max(0, self.limit - stood)

    def _take(self, page: Page) -> bool:
        """Write a page and move on; False where it was cut, and is met again under a higher limit.

        In the first walk known documents cost no room, in a later one all do.
        """
        known = self.writer.ids
        first: dict[str, Document] = {}
        for document in page.documents:
            first.setdefault(document.id, document)
        each = list(first.values())
        costly = each if self.state.refreshing else [d for d in each if d.id not in known]
        room = self._room()
        left = set() if room is None else {d.id for d in costly[room:]}
        unwritten = len(first.keys() - known)
        new, changed = self.writer.write(d for d in each if d.id not in left)
        self.tally["new"] += new
        self.tally["changed"] += changed
        self.tally["repeated"] += len(page.documents) - unwritten - changed
        self.met.update(first)
        if page.files:
            stale = [n for n in known if _file_of(n) in page.files and n not in self.met]
            self.tally["removed"] += self.writer.remove(stale)
        if left:
            return False
        self.state = _after(self.state, page, self.writer.count, len(each))
        _save(self.folder, self.state)
        self.tally["pages"] += 1
        return True


def _file_of(name: str) -> str:
    """The file that a document is of, by its id (KIND:FILE#NUMBER)."""
    return name.partition(":")[2].rpartition("#")[0]


def _walk_again(state: State, limit: int | None) -> State:
    """The state at the beginning of a new walk; the same where one is under way."""
    if state.refreshing and not state.done and (limit is None or state.met < limit):
        return state
    return replace(state, cursor=None, done=False, refreshing=True, met=0, pages=0, skipped={})


def _after(state: State, page: Page, count: int, met: int) -> State:
    before = {k: n for k, n in state.skipped.items() if k.partition(": ")[0] not in page.files}
    return replace(
        state,
        cursor=page.cursor,
        pages=state.pages + 1,
        documents=count,
        met=state.met + met,
        skipped=dict(Counter(before) + Counter(page.skipped)),
        done=page.done,
        changed=_now(),
        finished=_now() if page.done else state.finished,
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
