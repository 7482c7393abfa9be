"""Reading: every format gives the same rows, and bad input is named with its place."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.data.read import names, read_rows, resolve
from tunesmith.data.source import RawRow, Source
from tunesmith.errors import DataError

ROWS = [
    {"prompt": "What is α?", "completion": 'a "letter",\nGreek'},
    {"prompt": "And β?", "completion": "another"},
    {"prompt": "γ", "completion": "a third"},
]


def rows(path: Path | str, **rest: object) -> list[RawRow]:
    return list(read_rows(Source("s", str(path), **rest)))  # type: ignore[arg-type]


def refused(path: Path | str, **rest: object) -> str:
    with pytest.raises(DataError) as caught:
        rows(path, **rest)
    assert caught.value.hint
    return f"{caught.value.message} {caught.value.hint}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    table = pa.Table.from_pylist(ROWS)
    dataset = datasets.Dataset.from_list(ROWS)
    dataset.to_csv(tmp_path / "a.csv")
    dataset.to_csv(tmp_path / "a.tsv", sep="\t")
    dataset.to_json(tmp_path / "a.jsonl")
    (tmp_path / "a.json").write_text(json.dumps(ROWS), encoding="utf-8")
    (tmp_path / "inside.json").write_text(json.dumps({"version": 1, "data": ROWS}))
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_stream(str(tmp_path / "stream.arrow"), table.schema) as writer:
        writer.write_table(table)
    dataset.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"train": dataset, "other": dataset.select([0])}).save_to_disk(
        tmp_path / "parted"
    )
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "a.csv",
        "a.tsv",
        "a.jsonl",
        "a.json",
        "inside.json",
        "a.parquet",
        "a.arrow",
        "stream.arrow",
        "saved",
    ],
)
def test_every_format_gives_the_same_rows(folder: Path, name: str) -> None:
    found = rows(folder / name)
    assert [raw.row for raw in found] == ROWS
    assert all(raw.error is None for raw in found)
    # A CSV record is told by its first line; the first one here spans two lines below the header.
    lines = [2, 4, 5] if name in ("a.csv", "a.tsv") else [1, 2, 3]
    assert [raw.place for raw in found] == [f"{name}:{line}" for line in lines]


def test_local_files_read_as_the_datasets_library_reads_them(folder: Path) -> None:
    for kind, name in (("csv", "a.csv"), ("json", "a.jsonl"), ("parquet", "a.parquet")):
        theirs = datasets.load_dataset(
            kind, data_files=str(folder / name), split="train", cache_dir=str(folder / "cache")
        )
        assert [raw.row for raw in rows(folder / name)] == list(theirs)


def test_a_split_of_a_saved_folder_is_named(folder: Path) -> None:
    assert [raw.row for raw in rows(folder / "parted", split="other")] == ROWS[:1]
    assert "no split was named; it has train, other" in refused(folder / "parted")
    assert "no split 'test'" in refused(folder / "parted", split="test")


def test_a_glob_reads_its_files_in_order_and_rows_bounds_them(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"x": "{name}1"}}\n{{"x": "{name}2"}}\n')
    found = rows(tmp_path / "*.jsonl", rows=3)
    assert [raw.place for raw in found] == ["a.jsonl:1", "a.jsonl:2", "b.jsonl:1"]


def test_files_of_one_name_are_told_apart() -> None:
    paths = [Path("/x/a/t.csv"), Path("/x/b/t.csv"), Path("/x/b/u.csv")]
    assert list(names(paths).values()) == ["a/t.csv", "b/t.csv", "u.csv"]


def test_resolve_hashes_each_file(folder: Path) -> None:
    pinned = resolve(Source("s", str(folder / "a.jsonl")))
    raw = (folder / "a.jsonl").read_bytes()
    assert (pinned.kind, pinned.revision) == ("files", None)
    assert [(f.sha256, f.bytes) for f in pinned.files] == [
        (hashlib.sha256(raw).hexdigest(), len(raw))
    ]


def test_null_and_nan_are_none(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"x": [1.5, float("nan"), None], "y": [[{"z": float("nan")}], [], None]}),
        tmp_path / "n.parquet",
    )
    assert [raw.row for raw in rows(tmp_path / "n.parquet")] == [
        {"x": 1.5, "y": [{"z": None}]},
        {"x": None, "y": []},
        {"x": None, "y": None},
    ]
    (tmp_path / "n.jsonl").write_text('{"x": NaN, "y": {"z": [null, -Infinity]}}\n')
    assert rows(tmp_path / "n.jsonl")[0].row == {"x": None, "y": {"z": [None, None]}}


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"x": "1"}\n')
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf[{"x": "1"}]')
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfx,y\r\n1,2\r\n")
    assert rows(tmp_path / "a.jsonl")[0].row == {"x": "1"}
    assert rows(tmp_path / "a.json")[0].row == {"x": "1"}
    assert rows(tmp_path / "a.csv")[0].row == {"x": "1", "y": "2"}


def test_bad_lines_of_jsonl_are_set_aside_with_their_line(tmp_path: Path) -> None:
    lines = [b'{"x": "1"}', b'{"x": ', b"", b"[1]", b'{"x": "\xe9"}', b"[" * 100_000, b'{"x": "2"}']
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    found = rows(tmp_path / "a.jsonl")
    assert [raw.place for raw in found] == [f"a.jsonl:{n}" for n in (1, 2, 4, 5, 6, 7)]
    assert [raw.row for raw in found if raw.row] == [{"x": "1"}, {"x": "2"}]
    errors = [raw.error or "" for raw in found]
    assert "not JSON: Expecting value" in errors[1]
    assert "an array" in errors[2]
    offset = (tmp_path / "a.jsonl").read_bytes().index(b"\xe9")
    assert errors[3] == f"not UTF-8: byte 0xe9 in line 5, at byte {offset} of the file"
    assert "deep" in errors[4]


def test_bad_records_of_csv_are_set_aside_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(
        b'x,y\n1,2\n1\n1,2,3\n"two\nlines",\xff\n"a"b,2\n\n5,6\n"never closed,7\n'
    )
    found = rows(tmp_path / "a.csv")
    assert [raw.row for raw in found if raw.row] == [{"x": "1", "y": "2"}, {"x": "5", "y": "6"}]
    told = {raw.place: raw.error for raw in found if raw.error}
    assert told["a.csv:3"] == "ragged: 1 fields where the header names 2"
    assert told["a.csv:4"] == "ragged: 3 fields where the header names 2"
    assert "byte 0xff in line 6" in str(told["a.csv:5"])
    assert "not CSV" in str(told["a.csv:7"])
    assert "unexpected end of data" in str(told["a.csv:10"])


def test_a_semicolon_and_a_long_field_are_read(tmp_path: Path) -> None:
    long = "a" * 200_000
    (tmp_path / "a.csv").write_text(f"x;y\n1;{long}\n")
    assert rows(tmp_path / "a.csv")[0].row == {"x": "1", "y": long}


def test_a_header_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,x\n1,2\n")
    assert "'x' more than once" in refused(tmp_path / "a.csv")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.jsonl")
    assert "no file matches" in refused(tmp_path / "*.jsonl")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv", "a.parquet", "a.json"):
        (tmp_path / name).write_bytes(b"" if name != "a.csv" else b"\xef\xbb\xbf \n")
        assert "empty" in refused(tmp_path / name)


def test_a_parquet_that_is_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text('{"x": 1}\n')
    assert "Rename it to a.jsonl" in refused(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_text("x,y\n1,2\n")
    assert "Rename it to b.csv" in refused(tmp_path / "b.parquet")


def test_a_parquet_that_is_cut_is_refused(folder: Path) -> None:
    raw = (folder / "a.parquet").read_bytes()
    (folder / "cut.parquet").write_bytes(raw[: len(raw) // 2])
    assert "not a readable parquet file" in refused(folder / "cut.parquet")


def test_text_that_is_parquet_is_refused(folder: Path) -> None:
    (folder / "a.parquet").rename(folder / "x.csv")
    assert "Rename it to x.parquet" in refused(folder / "x.csv")


def test_json_that_is_jsonl_and_the_reverse_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"x": 1}\n{"x": 2}\n')
    assert "Rename it to a.jsonl" in refused(tmp_path / "a.json")
    (tmp_path / "b.jsonl").write_text('[\n{"x": 1}]')
    assert "Rename it to b.json" in refused(tmp_path / "b.jsonl")
    (tmp_path / "c.jsonl").write_text('[{"x": 1}]')
    assert "Rename it to c.json" in refused(tmp_path / "c.jsonl")


def test_broken_json_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"x": 1},\n{"x": }]')
    assert "a.json:2: not JSON" in refused(tmp_path / "a.json")
    (tmp_path / "b.json").write_bytes(b'[\n{"x": "\xff"}]')
    assert "byte 0xff in line 2, at byte 9" in refused(tmp_path / "b.json")
    (tmp_path / "c.json").write_text("3")
    assert "not an array of objects" in refused(tmp_path / "c.json")


def test_utf_16_and_packed_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n", encoding="utf-16")
    assert "UTF-16" in refused(tmp_path / "a.csv")
    (tmp_path / "b.jsonl").write_bytes(b"\x1f\x8b\x08\x00rest")
    assert "Rename it to b.jsonl.gz" in refused(tmp_path / "b.jsonl")
    (tmp_path / "d.jsonl").write_bytes(b"PK\x03\x04rest")
    assert "zip data, not jsonl. Unpack it" in refused(tmp_path / "d.jsonl")
    (tmp_path / "c.xlsx").write_bytes(b"PK\x03\x04")
    assert "no reader" in refused(tmp_path / "c.xlsx")


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.tsv"])
@pytest.mark.parametrize(
    ("head", "byte"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "byte 0x00 at 8"),
        (b"prompt,completion\n\x00,x\n", "byte 0x00 at 18"),
        ("prompt,completion\nx,y\n".encode("utf-16-le"), "byte 0x00 at 1"),
        (b"\x80\x03}q\x01x", "byte 0x03 at 1"),
    ],
)
def test_what_is_no_text_is_told_with_the_byte(
    tmp_path: Path, name: str, head: bytes, byte: str
) -> None:
    (tmp_path / name).write_bytes(head)
    ending = name.partition(".")[2]
    assert f"{name}: this is no text ({byte}), not {ending}. Check" in refused(tmp_path / name)


def test_text_with_a_bad_byte_or_cut_in_a_character_stays_text(tmp_path: Path) -> None:
    for number, text in enumerate([b"x,y\ncaf\xe9,2\n3,4\n", b"x,y\n1,a\x1bb\n3,4\n"]):
        (tmp_path / f"{number}.csv").write_bytes(text)
        assert rows(tmp_path / f"{number}.csv")[1].row == {"x": "3", "y": "4"}
    long = "x,y\n\x1b," + "é" * 600 + "\n"  # the 512th byte lies within a character
    for shift in ("", "a"):
        (tmp_path / "long.csv").write_text(shift + long, encoding="utf-8")
        assert len(rows(tmp_path / "long.csv")) == 1


def test_a_parquet_with_broken_text_loses_only_that_row(tmp_path: Path) -> None:
    text = pa.array([b"fine", b"caf\xe9", b"well"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"x": text}), tmp_path / "a.parquet")
    found = rows(tmp_path / "a.parquet")
    assert [raw.row for raw in found] == [{"x": "fine"}, None, {"x": "well"}]
    assert found[1].place == "a.parquet:2"
    assert "utf-8" in str(found[1].error)


def test_a_folder_that_is_no_arrow_folder_is_refused(tmp_path: Path) -> None:
    assert "no Arrow folder" in refused(tmp_path)
    (tmp_path / "a.jsonl").write_text("{}")
    assert "*.jsonl" in refused(tmp_path)
    (tmp_path / "state.json").write_text("{}")
    assert "not a readable folder" in refused(tmp_path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv"])
def test_gzipped_text_is_read(folder: Path, name: str) -> None:
    packed = folder / f"{name}.gz"
    packed.write_bytes(gzip.compress((folder / name).read_bytes()))
    assert [raw.row for raw in rows(packed)] == ROWS
    assert rows(packed)[0].place.startswith(f"{name}.gz:")


def test_gzip_that_breaks_off_or_is_none_is_refused(tmp_path: Path) -> None:
    text = b"".join(b'{"x": "%064d"}\n' % (i * 2654435761) for i in range(5000))
    packed = gzip.compress(text)
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    said = refused(tmp_path / "cut.jsonl.gz")
    assert "breaks off or is damaged after line" in said
    assert "gzip -t" in said
    (tmp_path / "stub.jsonl.gz").write_bytes(packed[:12])
    assert "breaks off" in refused(tmp_path / "stub.jsonl.gz")
    (tmp_path / "bent.jsonl.gz").write_bytes(packed[:2000] + b"\0" * 200 + packed[2200:])
    assert "damaged" in refused(tmp_path / "bent.jsonl.gz")
    (tmp_path / "plain.jsonl.gz").write_bytes(text)
    assert "Rename it to plain.jsonl." in refused(tmp_path / "plain.jsonl.gz")
    (tmp_path / "empty.jsonl.gz").write_bytes(gzip.compress(b""))
    assert "empty" in refused(tmp_path / "empty.jsonl.gz")
    (tmp_path / "rows.parquet.gz").write_bytes(packed)
    assert "no reader" in refused(tmp_path / "rows.parquet.gz")


def test_a_key_that_stands_twice_costs_its_row_alone(tmp_path: Path) -> None:
    broken = '{"x": {"y": 1, "z": [{"q": 1, "q": 2}]}}'
    (tmp_path / "a.jsonl").write_text(f'{{"x": 1}}\n{{"x": 1, "x": 2}}\n{broken}\n')
    (tmp_path / "a.json").write_text(f'[{{"x": 1}}, {{"x": 1, "x": 2}}, {broken}]')
    for name in ("a.jsonl", "a.json"):
        found = rows(tmp_path / name)
        assert [raw.row for raw in found] == [{"x": 1}, None, None]
        assert [raw.error for raw in found[1:]] == [
            "the key 'x' stands twice in one object",
            "the key 'q' stands twice in one object",
        ]


def test_json_that_is_one_object_or_an_empty_array_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    assert rows(tmp_path / "a.json") == []
    (tmp_path / "b.json").write_text('{"x": 1}')
    assert "holds an object, not an array of objects" in refused(tmp_path / "b.json")
    (tmp_path / "c.json").write_text('{"a": [{"x": 1}], "b": [{"x": 1}]}')
    assert "not an array of objects" in refused(tmp_path / "c.json")


def test_arrow_that_is_cut_is_refused(folder: Path) -> None:
    for name in ("a.arrow", "stream.arrow"):
        raw = (folder / name).read_bytes()
        (folder / name).write_bytes(raw[: len(raw) // 2])
        assert "not a readable Arrow file" in refused(folder / name)


def test_an_unreadable_source_is_no_source(tmp_path: Path) -> None:
    assert "names no path" in refused("")
    (tmp_path / "rows.jsonl.d").mkdir()
    assert "no Arrow folder" in refused(tmp_path / "rows.jsonl.d")
    assert "no such file" in refused(tmp_path / "rows" / "data.jsonl")
