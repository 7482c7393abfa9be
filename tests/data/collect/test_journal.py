"""A collection's folder: what is in it after each kind of end, and how it goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tunesmith.config.collect import ArxivSettings, FilesSettings
from tunesmith.data.collect.document import KEYS, Document, from_json, to_json
from tunesmith.data.collect.journal import drive, key_of, read_documents
from tunesmith.data.collect.page import Cursor, Page
from tunesmith.errors import CollectError, DataError, Interrupted

SETTINGS = ArxivSettings(terms=("docs",))
FILES = FilesSettings(paths=("docs",))


def doc(number: int) -> Document:
    meta = {"kind": "x"}
    return Document(f"t:{number}", "files", "", "T", f"text {number}", licence="MIT", meta=meta)


class Source:
    """Pages of three documents, numbers 0 to 11; `broken` is the page that fails once."""

    def __init__(self, broken: int | None = None, error: Exception | None = None) -> None:
        self.asked: list[int] = []
        self.broken, self.error = broken, error

    def __call__(self, cursor: Cursor | None) -> Iterator[Page]:
        for number in range(cursor["page"] if cursor else 0, 4):
            self.asked.append(number)
            if number == self.broken:
                self.broken = None
                raise self.error or CollectError("host: gone.", hint="Look.")
            documents = tuple(doc(i) for i in range(3 * number, 3 * number + 3))
            yield Page(documents, {"page": number + 1} if number < 3 else None, {"bad": 1})


def ids(folder: Path) -> list[str]:
    return [d.id for d in read_documents(folder / "documents.jsonl")]


WHOLE = [f"t:{i}" for i in range(12)]


def test_a_document_is_one_line_with_always_the_same_keys() -> None:
    line = to_json(doc(1))
    assert tuple(json.loads(line)) == KEYS
    assert from_json(line) == doc(1)
    for bad in ("{", "[]", '{"id": "x"}', line.replace('"url"', '"uri"')):
        with pytest.raises(DataError, match="not a collected document"):
            from_json(bad)


def test_a_whole_collection(tmp_path: Path) -> None:
    heard: list[str] = []
    source = Source()
    found = drive(tmp_path / "c", SETTINGS, source, say=heard.append)
    assert ids(tmp_path / "c") == WHOLE
    assert (found.documents, found.new, found.repeated, found.pages) == (12, 12, 0, 4)
    assert (found.done, found.skipped, found.licences) == (True, {"bad": 4}, {"MIT": 12})
    assert heard == ["3 documents", "6 documents", "9 documents", "12 documents"]
    again = drive(tmp_path / "c", SETTINGS, source)
    assert source.asked == [0, 1, 2, 3]
    assert (again.documents, again.new, again.done) == (12, 0, True)


def test_an_error_says_what_is_saved_and_how_to_go_on(tmp_path: Path) -> None:
    source = Source(broken=2)
    with pytest.raises(CollectError) as caught:
        drive(tmp_path, SETTINGS, source)
    assert caught.value.message == f"host: gone. 6 documents are saved in {tmp_path}."
    assert caught.value.hint == "Look. The same command goes on from there."
    found = drive(tmp_path, SETTINGS, source)
    assert source.asked == [0, 1, 2, 2, 3]
    assert ids(tmp_path) == WHOLE
    assert (found.new, found.repeated, found.skipped) == (6, 0, {"bad": 4})


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted("stopped"), OSError("disk")])
def test_any_other_end_loses_nothing(tmp_path: Path, error: Exception) -> None:
    source = Source(broken=3, error=error)
    with pytest.raises(type(error)):
        drive(tmp_path, SETTINGS, source)
    drive(tmp_path, SETTINGS, source)
    assert ids(tmp_path) == WHOLE


def test_killed_between_the_documents_and_the_state(tmp_path: Path) -> None:
    with pytest.raises(CollectError):
        drive(tmp_path, SETTINGS, Source(broken=2))
    with (tmp_path / "documents.jsonl").open("a") as file:  # of page 2: two whole, one torn
        file.write(f"{to_json(doc(6))}\n{to_json(doc(7))}\n{to_json(doc(8))[:20]}")
    found = drive(tmp_path, SETTINGS, Source())
    assert ids(tmp_path) == WHOLE
    assert (found.new, found.repeated) == (4, 2)


def test_killed_while_the_state_was_written(tmp_path: Path) -> None:
    with pytest.raises(CollectError):
        drive(tmp_path, SETTINGS, Source(broken=2))
    (tmp_path / "state.json.new").write_text('{"settings": {')
    drive(tmp_path, SETTINGS, Source())
    assert ids(tmp_path) == WHOLE


def test_a_limit_may_be_raised(tmp_path: Path) -> None:
    source = Source()
    assert drive(tmp_path, SETTINGS, source, limit=5).documents == 5
    assert drive(tmp_path, SETTINGS, source, limit=5).new == 0
    assert drive(tmp_path, SETTINGS, source, limit=6).documents == 6
    found = drive(tmp_path, SETTINGS, source)
    assert ids(tmp_path) == WHOLE
    assert found.done
    assert source.asked == [0, 1, 1, 2, 3]


def test_the_same_document_twice_on_a_page(tmp_path: Path) -> None:
    page = Page((doc(1), doc(2), doc(1)), None)
    found = drive(tmp_path, SETTINGS, lambda _: iter([page]))
    assert ids(tmp_path) == ["t:1", "t:2"]
    assert found.repeated == 1


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    drive(tmp_path, FILES, Source())
    other = FilesSettings(paths=("docs", "more"), longest=900)
    with pytest.raises(CollectError) as caught:
        drive(tmp_path, other, Source())
    docs, more = (str(Path(name).absolute()) for name in ("docs", "more"))
    said = f'paths was ["{docs}"], now ["{docs}", "{more}"]; longest was 4000, now 900'
    assert said in str(caught.value)
    assert "--out" in caught.value.hint
    assert key_of(other) != key_of(FILES)
    assert key_of(FilesSettings(paths=("docs",))) == key_of(FILES)


def test_a_folder_that_is_no_collection_is_refused(tmp_path: Path) -> None:
    (tmp_path / "documents.jsonl").write_text(to_json(doc(1)) + "\n")
    with pytest.raises(CollectError, match=r"no state\.json"):
        drive(tmp_path, SETTINGS, Source())
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(CollectError, match="cannot be read"):
        drive(tmp_path, SETTINGS, Source())


def test_damaged_documents_are_named_by_their_line(tmp_path: Path) -> None:
    drive(tmp_path, SETTINGS, Source(), limit=3)
    with (tmp_path / "documents.jsonl").open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(DataError, match=r"documents\.jsonl:4"):
        drive(tmp_path, SETTINGS, Source())


def test_two_processes_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(CollectError, match="another process"):
        drive(tmp_path, SETTINGS, Source())


def test_the_same_words_in_another_folder_are_another_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        keys.add(key_of(FilesSettings(paths=("docs",))))
    assert len(keys) == 2


def test_killed_while_changes_wait_to_be_worked_in(tmp_path: Path) -> None:
    drive(tmp_path, SETTINGS, Source())
    better = from_json(to_json(doc(3)).replace("text 3", "better"))
    (tmp_path / "changes.jsonl").write_text(
        f"{to_json(better)}\n{json.dumps({'gone': 't:4'})}\n{to_json(doc(5))[:9]}"
    )
    assert ids(tmp_path) == WHOLE  # whoever reads meanwhile sees each once
    found = drive(tmp_path, SETTINGS, Source())
    assert ids(tmp_path) == [name for name in WHOLE if name != "t:4"]
    assert [d.text for d in read_documents(found.file)][3] == "better"
    assert not (tmp_path / "changes.jsonl").exists()
