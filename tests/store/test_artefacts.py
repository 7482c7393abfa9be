"""Artefacts are whole or not there, whatever happens to the process or the disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.errors import StoreError
from tunesmith.records import Severity
from tunesmith.store.artefacts import MANIFEST, Artefacts, fingerprint, hash_file, read_manifest

KEY = fingerprint({"rows": "abc", "seed": 1})

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_fingerprint_is_that_of_the_value_as_read_back_from_json(value: object) -> None:
    assert fingerprint(json.loads(json.dumps(value))) == fingerprint(value)


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_fingerprint_does_not_see_the_order_of_keys(value: dict[str, int]) -> None:
    assert fingerprint(dict(reversed(value.items()))) == fingerprint(value)


def test_fingerprint_tells_values_apart_and_refuses_what_it_cannot_tell() -> None:
    @dataclass(frozen=True)
    class Knobs:
        rank: int
        names: tuple[str, ...]

    different = [1, 1.5, "1", True, None, [1], {"1": 1}, Knobs(1, ("a",)), b"1", Severity.INFO]
    assert len({fingerprint(value) for value in different}) == len(different)
    assert fingerprint(Knobs(1, ("a",))) == fingerprint({"rank": 1, "names": ["a"]})
    assert fingerprint({3, 1, 2}) == fingerprint([1, 2, 3])
    with pytest.raises(TypeError, match="text as keys"):
        fingerprint({1: "a"})
    with pytest.raises(TypeError, match="no fingerprint for a object"):
        fingerprint([object()])


def test_publish_builds_once_and_says_what_it_holds(tmp_path: Path) -> None:
    built = []

    def build(directory: Path) -> Mapping[str, Any]:
        built.append(directory)
        (directory / "sub").mkdir()
        (directory / "sub" / "data.bin").write_bytes(b"\0" * 1000)
        (directory / "text.txt").write_text("tunes")
        return {"rows": 7}

    artefacts = Artefacts(tmp_path)
    assert artefacts.get("split", KEY) is None
    place = artefacts.publish("split", KEY, build, inputs={"seed": 1})
    assert place == artefacts.publish("split", KEY, build) == artefacts.get("split", KEY)
    assert len(built) == 1
    assert place.name == f"split-{KEY[:16]}"
    manifest = read_manifest(place)
    assert manifest is not None
    assert manifest["inputs"] == {"seed": 1}
    assert manifest["facts"] == {"rows": 7}
    assert set(manifest["files"]) == {"sub/data.bin", "text.txt"}
    # SHA-256 of "tunes", from coreutils' sha256sum
    assert manifest["files"]["text.txt"] == {"bytes": 5, "sha256": hash_file(place / "text.txt")}
    printed = subprocess.run(
        ["sha256sum", place / "text.txt"], capture_output=True, text=True, check=True
    ).stdout
    assert printed.startswith(manifest["files"]["text.txt"]["sha256"])


@pytest.mark.parametrize("damage", ["shorter", "missing", "manifest", "other key"])
def test_a_damaged_artefact_is_not_used_and_not_thrown_away(tmp_path: Path, damage: str) -> None:
    def build(directory: Path) -> Mapping[str, Any]:
        (directory / "data").write_text("whole")
        return {}

    artefacts = Artefacts(tmp_path)
    place = artefacts.publish("train", KEY, build)
    if damage == "shorter":
        (place / "data").write_text("who")
    elif damage == "missing":
        (place / "data").unlink()
    elif damage == "manifest":
        (place / MANIFEST).write_text('{"stage": "tr')
    else:
        manifest = json.loads((place / MANIFEST).read_text())
        (place / MANIFEST).write_text(json.dumps({**manifest, "key": "0" * 64}))
    assert artefacts.get("train", KEY) is None
    assert artefacts.publish("train", KEY, build) == place
    assert (artefacts.get("train", KEY) or Path()) / "data" == place / "data"
    assert len(list(artefacts.folder.glob("*.damaged-*"))) == 1


def test_a_build_that_fails_leaves_nothing_unless_it_can_be_resumed(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path)

    def build(directory: Path) -> Mapping[str, Any]:
        checkpoint = directory / "checkpoint"
        if checkpoint.exists():
            return {"resumed": True}
        checkpoint.write_text("step 3")
        raise ValueError("a bug of the stage")

    with pytest.raises(ValueError, match="a bug of the stage"):
        artefacts.publish("clean", KEY, build)
    assert artefacts.get("clean", KEY) is None
    assert not artefacts.partial("clean", KEY).exists()

    with pytest.raises(ValueError, match="a bug of the stage"):
        artefacts.publish("train", KEY, build, resumable=True)
    assert artefacts.get("train", KEY) is None
    assert (artefacts.partial("train", KEY) / "checkpoint").is_file()
    place = artefacts.publish("train", KEY, build, resumable=True)
    assert (read_manifest(place) or {})["facts"] == {"resumed": True}


def _process(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


BUILDER = """
import sys
from pathlib import Path
from tunesmith.store.artefacts import Artefacts

def build(directory):
    (directory / "half").write_text("written")
    print("building", flush=True)
    sys.stdin.readline()
    return {}

Artefacts(Path(sys.argv[1])).publish("train", sys.argv[2], build)
"""


def test_a_kill_in_the_middle_leaves_no_artefact_and_no_lock(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path)
    with _process(BUILDER, str(tmp_path), KEY) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "building\n"
        with pytest.raises(StoreError, match=f"built by process {process.pid}"):
            artefacts.publish("train", KEY, lambda _: {})
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert artefacts.get("train", KEY) is None
    place = artefacts.publish("train", KEY, lambda _: {})
    assert [file.name for file in place.iterdir()] == [MANIFEST]


FULL = """
import resource, sys
from pathlib import Path
from tunesmith.errors import StoreError
from tunesmith.store.artefacts import Artefacts

def build(directory):
    (directory / "big").write_bytes(b"x" * 100_000)
    return {}

resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    Artefacts(Path(sys.argv[1])).publish("train", sys.argv[2], build)
except StoreError as error:
    print(error.message, "|", error.hint)
"""


def test_a_disk_that_takes_no_more_is_told_as_such(tmp_path: Path) -> None:
    with _process(FULL, str(tmp_path), KEY) as process:
        out, err = process.communicate()
    assert not err
    assert f"cannot write {tmp_path / 'artefacts' / 'train'}" in out
    assert "grew over the limit" in out
    assert [p.name for p in (tmp_path / "artefacts").iterdir()] == [".locks"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux' /dev/full")
def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    def build(directory: Path) -> Mapping[str, Any]:
        with Path("/dev/full").open("w") as stream:
            stream.write("no room")
        return {}

    with pytest.raises(StoreError, match="No space left") as caught:
        Artefacts(tmp_path).publish("train", KEY, build)
    assert "free some space" in caught.value.hint


def test_a_missing_input_of_the_build_is_not_blamed_on_the_store(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Artefacts(tmp_path).publish("train", KEY, lambda _: {"x": Path("absent").read_text()})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_place_gives_what_it_has_and_takes_nothing(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path)
    place = artefacts.publish("train", KEY, lambda _: {})
    for folder in (artefacts.folder / ".locks", artefacts.folder):
        folder.chmod(0o500)
    assert artefacts.publish("train", KEY, lambda _: {}) == place
    with pytest.raises(StoreError, match="Permission denied") as caught:
        artefacts.publish("train", "0" * 64, lambda _: {})
    assert "--home" in caught.value.hint


def test_removing_takes_what_was_begun_and_what_was_damaged_and_nothing_else(
    tmp_path: Path,
) -> None:
    artefacts = Artefacts(tmp_path)
    place = artefacts.publish("split", KEY, lambda directory: {})
    other = artefacts.publish("split", fingerprint("another"), lambda directory: {})
    (artefacts.partial("split", KEY)).mkdir()
    place.with_name(f"{place.name}.damaged-1").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    artefacts.remove(elsewhere)
    artefacts.remove(place)
    assert list(artefacts.folder.glob("split-*")) == [other]
    assert not list((artefacts.folder / ".locks").glob(f"{place.name}*"))
    assert elsewhere.is_dir()

    def build(directory: Path) -> Mapping[str, Any]:
        artefacts.remove(place)  # somebody removes the run that had it; another is building it
        assert directory.is_dir()
        return {}

    assert artefacts.publish("split", KEY, build) == place
