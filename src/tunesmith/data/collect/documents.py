"""The documents of a collection on disk: appended to, and changed without ever standing twice.

    documents.jsonl   each document once, in the order in which they came
    changes.jsonl     changed and removed ones of this sitting, until they are worked in

Whoever reads documents.jsonl sees each id once, whenever the process ends.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path

from tunesmith.data.collect.document import Document, from_json, to_json
from tunesmith.errors import DataError
from tunesmith.store.whole import whole_file

DOCUMENTS, CHANGES = "documents.jsonl", "changes.jsonl"


def read_documents(file: Path) -> Iterator[Document]:
    """The documents of a file; DataError names the line that holds none."""
    with file.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                yield from_json(line)
            except DataError as error:
                raise DataError(f"{file}:{number}: {error.message}", hint=error.hint) from error


class Writer:
    """The documents of a folder: mended on opening, to be closed."""

    def __init__(self, folder: Path) -> None:
        self.file, self._changes = folder / DOCUMENTS, folder / CHANGES
        self._known: dict[str, tuple[str, str]] = {}  # id -> hash and licence
        self._gone: set[str] = set()
        for file in (self.file, self._changes):
            _mend(file)
        self.close()
        for document in read_documents(self.file):
            self._known[document.id] = _short(document)

    @property
    def ids(self) -> Set[str]:
        return self._known.keys()

    @property
    def count(self) -> int:
        return len(self._known)

    @property
    def licences(self) -> Mapping[str, int]:
        return Counter(licence for _, licence in self._known.values())

    def write(self, documents: Iterable[Document]) -> tuple[int, int]:
        """Take in documents, each once; how many are new, and how many have changed."""
        new, changed = list[Document](), list[Document]()
        for document in documents:
            known = self._known.get(document.id)
            if known is None:
                (changed if document.id in self._gone else new).append(document)
            elif known != _short(document):
                changed.append(document)
            self._known[document.id] = _short(document)
        _append(self.file, map(to_json, new))
        _append(self._changes, map(to_json, changed))
        self._gone -= {document.id for document in changed}
        return len(new), len(changed)

    def remove(self, names: Iterable[str]) -> int:
        """Take out the documents with these ids; how many."""
        gone = [name for name in names if self._known.pop(name, None)]
        _append(self._changes, (json.dumps({"gone": name}) for name in gone))
        self._gone.update(gone)
        return len(gone)

    def close(self) -> None:
        """Work the changes in. Done twice, it does no more than once."""
        if not self._changes.is_file():
            return
        changes: dict[str, str] = {}
        for line in self._changes.read_text("utf-8").splitlines(keepends=True):
            value = json.loads(line)
            changes[value.get("gone") or value["id"]] = "" if "gone" in value else line
        if changes:
            with self.file.open(encoding="utf-8") as old, whole_file(self.file) as file:
                file.writelines(changes.get(json.loads(line)["id"], line) for line in old)
        self._changes.unlink()


def _append(file: Path, lines: Iterable[str]) -> None:
    data = "".join(f"{line}\n" for line in lines).encode()
    if not data:
        return
    with file.open("ab") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _mend(file: Path) -> None:
    """Take off a last line that was cut short; a collection of nothing has files, too."""
    file.touch()
    with file.open("rb+") as stream:
        stream.truncate(stream.read().rfind(b"\n") + 1)


def _short(document: Document) -> tuple[str, str]:
    return hashlib.sha256(to_json(document).encode()).hexdigest()[:16], document.licence
