"""Stage artefacts on disk, addressed by what went into them: whole, or not there at all.

An artefact is a directory `artefacts/STAGE-KEY` in the home folder with a `manifest.json`: what
went in, when, and every file with its size and SHA-256. It is built beside its place, flushed to
the disk, and renamed into it, the manifest last: a power cut, a kill or a full disk leaves either
nothing or all of it. The key is the `fingerprint` of everything that decides the content, so a
stage whose inputs did not change finds its artefact and is not run again.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from tunesmith.errors import StoreError

MANIFEST = "manifest.json"
FOLDER = "artefacts"
LOCKS = ".locks"
KEY_LENGTH = 16  # hex digits in a directory's name; the manifest holds the whole key
HINTS = {
    errno.ENOSPC: "the disk is full: free some space, or choose another place with --home",
    errno.EDQUOT: "the quota is used up: free some space, or choose another place with --home",
    errno.EFBIG: "a file grew over the limit (ulimit -f): raise it",
    errno.EROFS: "the file system is read-only: choose another place with --home",
    errno.EACCES: "the folder is not yours to write: choose another place with --home",
    errno.EPERM: "the folder is not yours to write: choose another place with --home",
    errno.EIO: "the disk is failing: choose another place with --home",
}

Build = Callable[[Path], Mapping[str, Any]]


def fingerprint(value: object) -> str:
    """SHA-256 of a value as canonical JSON, 64 hex digits; equal values give equal fingerprints.

    Takes what JSON knows, and dataclasses, enums, paths, bytes, sets and tuples (a tuple is a
    list). TypeError for anything else, and for keys that are not text: silently calling two
    things the same would run the wrong stage.
    """
    text = json.dumps(_canonical(value), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _canonical(value: Any) -> Any:
    plain: Any
    if isinstance(value, Enum):
        plain = _canonical(value.value)
    elif value is None or isinstance(value, (bool, int, float, str)):
        plain = value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain = {f.name: _canonical(getattr(value, f.name)) for f in dataclasses.fields(value)}
    elif isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"a fingerprint needs text as keys, not {key!r}")
        plain = {str(key): _canonical(item) for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        plain = [_canonical(item) for item in value]
    elif isinstance(value, (set, frozenset)):
        plain = sorted((_canonical(item) for item in value), key=json.dumps)
    elif isinstance(value, bytes):
        plain = {"bytes": hashlib.sha256(value).hexdigest()}
    elif isinstance(value, os.PathLike):
        plain = os.fspath(value)
    else:
        raise TypeError(f"no fingerprint for a {type(value).__name__}: {value!r}")
    return plain


class Artefacts:
    """The artefacts of a home folder."""

    def __init__(self, home: Path) -> None:
        self.folder = Path(home) / FOLDER

    def place(self, stage: str, key: str) -> Path:
        """Where the artefact is, or would be."""
        return self.folder / f"{stage}-{key[:KEY_LENGTH]}"

    def get(self, stage: str, key: str) -> Path | None:
        """The artefact, if it is there and whole: manifest readable, every file of its size."""
        place = self.place(stage, key)
        manifest = read_manifest(place)
        if manifest is None or manifest.get("key") != key:
            return None
        for name, facts in manifest.get("files", {}).items():
            file = place / name
            if not file.is_file() or file.stat().st_size != facts["bytes"]:
                return None
        return place

    def changed(self, stage: str, key: str) -> str:
        """The first file that does not hold what it was published with; "" where all do."""
        place = self.place(stage, key)
        manifest = read_manifest(place) or {}
        for name, facts in manifest.get("files", {}).items():
            if not (place / name).is_file() or hash_file(place / name) != facts["sha256"]:
                return str(name)
        return ""

    def facts(self, stage: str, key: str) -> Mapping[str, Any]:
        """What the build of a published artefact returned; StoreError where it is not there."""
        manifest = read_manifest(self.place(stage, key))
        if manifest is None:
            raise StoreError(
                f"{self.place(stage, key)} is not there",
                hint="run the recipe again: the stage is then done anew",
            )
        found: Mapping[str, Any] = manifest.get("facts", {})
        return found

    def partial(self, stage: str, key: str) -> Path:
        """Where the artefact is being built, or was when its stage was interrupted."""
        place = self.place(stage, key)
        return place.with_name(place.name + ".partial")

    def publish(
        self,
        stage: str,
        key: str,
        build: Build,
        *,
        inputs: Mapping[str, Any] | None = None,
        resumable: bool = False,
    ) -> Path:
        """The artefact of `key`: the one that is there, or built now by `build(directory)`.

        What `build` returns (figures, choices) goes into the manifest as `facts`; `inputs` are
        what went in (hashes, versions, seed). A `resumable` build finds in its directory what an
        interrupted one left. Raises StoreError where another process builds the same artefact,
        or the disk does not take it; what `build` raises goes through.
        """
        place = self.get(stage, key)
        if place is not None:
            return place
        place = self.place(stage, key)
        with self._alone(place):
            if self.get(stage, key) is not None:  # built while this process asked for the lock
                return place
            partial = self.partial(stage, key)
            try:
                with _telling(place):
                    if not resumable and partial.exists():
                        shutil.rmtree(partial)
                    partial.mkdir(exist_ok=True)
                    facts = build(partial)
                    _seal(partial, stage=stage, key=key, inputs=inputs or {}, facts=facts)
                    _move_damaged_away(place)
                    partial.rename(place)
                    _flush(self.folder)
            except BaseException:
                if not resumable:
                    shutil.rmtree(partial, ignore_errors=True)
                raise
        return place

    def reopen(self, stage: str, key: str) -> None:
        """Make a published artefact one that is being built: the next `publish` goes on with it."""
        place, partial = self.place(stage, key), self.partial(stage, key)
        with self._alone(place), _telling(place):
            shutil.rmtree(partial, ignore_errors=True)
            place.rename(partial)

    def remove(self, place: Path) -> None:
        """Delete an artefact, with what interrupted or damaged builds of it left beside it.

        A place outside the folder of artefacts is not touched; nor is one that is being built:
        whoever builds it needs it.
        """
        if place.parent != self.folder:
            return
        # Windows keeps the lock's file while it is open.
        with suppress(StoreError, PermissionError), self._alone(place):
            for left in self.folder.glob(f"{place.name}*"):
                shutil.rmtree(left, ignore_errors=True)
            (self.folder / LOCKS / f"{place.name}.lock").unlink(missing_ok=True)

    @contextmanager
    def _alone(self, place: Path) -> Iterator[None]:
        """Hold the artefact's lock; the process that holds it already is named in the error."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / LOCKS / f"{place.name}.lock", timeout=0)
        owner = Path(lock.lock_file).with_suffix(".pid")
        try:
            with _telling(place):
                owner.parent.mkdir(parents=True, exist_ok=True)
                lock.acquire()
        except Timeout as error:
            pid = owner.read_text("ascii").strip() if owner.is_file() else ""
            raise StoreError(
                f"{place} is being built by process {pid or 'unknown'}",
                hint="wait until it is done: its result will be found and used",
            ) from error
        try:
            with _telling(place):
                owner.write_text(str(os.getpid()), "ascii")
            yield
        finally:
            owner.unlink(missing_ok=True)
            lock.release()


def read_manifest(artefact: Path) -> dict[str, Any] | None:
    """The manifest of an artefact, None where there is none that can be read."""
    try:
        manifest = json.loads((artefact / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def hash_file(file: Path) -> str:
    """SHA-256 of a file's content, 64 hex digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _seal(
    partial: Path, *, stage: str, key: str, inputs: Mapping[str, Any], facts: Mapping[str, Any]
) -> None:
    """Flush every file to the disk, then write the manifest that lists them."""
    manifest_file = partial / MANIFEST
    files: dict[str, dict[str, Any]] = {}
    for file in sorted(partial.rglob("*")):
        if file.is_file() and file != manifest_file:
            _flush(file)
            name = file.relative_to(partial).as_posix()
            files[name] = {"bytes": file.stat().st_size, "sha256": hash_file(file)}
        elif file.is_dir():
            _flush(file)
    manifest = {
        "stage": stage,
        "key": key,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": dict(inputs),
        "facts": dict(facts),
        "files": files,
    }
    with manifest_file.open("w", encoding="utf-8") as stream:
        json.dump(manifest, stream, indent=2, ensure_ascii=False, default=_canonical)
        stream.write("\n")
    _flush(manifest_file)
    _flush(partial)


def _flush(path: Path) -> None:
    """fsync a file or a folder; Windows has no fsync for folders and needs none."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move_damaged_away(place: Path) -> None:
    """Make room where a damaged artefact stands; its files may be worth something to its owner."""
    if place.exists():
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        place.rename(place.with_name(f"{place.name}.damaged-{stamp}"))


@contextmanager
def _telling(place: Path) -> Iterator[None]:
    """Turn what only the disk can be blamed for into a StoreError naming place and remedy.

    Other errors of the operating system (a build that misses one of its inputs) go through.
    """
    try:
        yield
    except OSError as error:
        hint = HINTS.get(error.errno or 0)
        ours = error.filename is None or str(error.filename).startswith(str(place.parent))
        if hint is None or not ours:
            raise
        raise StoreError(f"cannot write {place}: {error.strerror}", hint=hint) from error
