"""Cleaning: every row is kept, repaired or set aside, and none is lost."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.clean import clean, write_rejects
from tunesmith.data.source import Source
from tunesmith.errors import DataError
from tunesmith.records import Example
from tunesmith.tasks.base import get_task

GOOD = {"permissions": "{}", "query": "Show", "expected_response": "full", "rationale": "Because"}
TEXT = get_task("text")
DECISION = get_task("access_decision")


def write(folder: Path, lines: Sequence[str | bytes], name: str = "rows.jsonl") -> Source:
    path = folder / name
    path.write_bytes(b"\n".join(x.encode() if isinstance(x, str) else x for x in lines) + b"\n")
    return Source(path.stem, str(path))


def qa(question: str, answer: str) -> str:
    return json.dumps({"prompt": question, "completion": answer})


def words(examples: Sequence[Example]) -> list[int]:
    """A stand-in for a tokenizer: words of prompt and answer."""
    return [len(f"{e.messages[-1].content} {e.target}".split()) for e in examples]


def decision(query: str, label: object) -> str:
    return json.dumps({**GOOD, "query": query, "expected_response": label})


LINE = st.one_of(
    st.builds(
        decision,
        st.sampled_from(["Show", "Edit", "", "Delete all"]),
        st.sampled_from(
            ["full", "Full", "reject", "partial ", "approve_budget", None, 7, ["full"]]
        ),
    ).map(str.encode),
    st.sampled_from(
        [b"{", b"[1, 2]", b'"text"', b'{"query": "\xff"}', b'{"query": 3}', b'{"a": 1, "a": 2}']
    ),
)


@settings(max_examples=60)
@given(st.lists(LINE, min_size=1, max_size=20))
def test_every_row_is_kept_repaired_or_set_aside(lines: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = write(Path(folder), [decision("Always there", "full"), *lines])
        cleaned = clean([source], DECISION)
    assert cleaned.rows == len(lines) + 1 == len(cleaned.examples) + len(cleaned.rejects)
    places = [e.place for e in cleaned.examples] + [r.place for r in cleaned.rejects]
    assert Counter(places) == Counter(f"rows.jsonl:{i}" for i in range(1, len(lines) + 2))
    assert all(r.reason for r in cleaned.rejects)
    assert all(e.label in DECISION.labels for e in cleaned.examples)
    kept = {e.place for e in cleaned.examples}
    assert all(repair.place in kept for repair in cleaned.repairs)
    assert cleaned.prompt_keys == tuple(e.prompt_key for e in cleaned.examples)
    assert len(cleaned.aside_keys) == len(cleaned.aside_texts) <= len(cleaned.rejects)
    told = sum(r.reason.startswith("unknown label") for r in cleaned.rejects)
    assert told == sum(cleaned.unknown_labels.values())


def test_each_reason_is_told_with_its_place(tmp_path: Path) -> None:
    lines = [
        decision("Show", "full"),
        decision("Show", "reject"),
        decision("Show", "approve_budget"),
        json.dumps({**GOOD, "rationale": 3}),
        json.dumps({"query": "Show"}),
        b'{"query": "caf\xe9"}',
        '{"query": ',
        '{"query": "a", "query": "b"}',
    ]
    cleaned = clean([write(tmp_path, lines)], DECISION)
    assert [(r.place, r.reason.split(":")[0]) for r in cleaned.rejects] == [
        ("rows.jsonl:3", "unknown label 'approve_budget'"),
        ("rows.jsonl:4", "rationale is int, not text"),
        ("rows.jsonl:5", "no permissions"),
        ("rows.jsonl:6", "not UTF-8"),
        ("rows.jsonl:7", "not JSON"),
        ("rows.jsonl:8", "the key 'query' stands twice in one object"),
    ]
    assert [(r.place, r.written, r.label) for r in cleaned.repairs] == [
        ("rows.jsonl:2", "reject", "rejected")
    ]
    assert cleaned.repaired_labels == {"reject": 1}
    assert cleaned.unknown_labels == {"approve_budget": 1}


def test_files_of_one_name_and_several_sources_keep_their_places(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    sources = [write(tmp_path / f, [qa(f"Why {f}?", "So"), qa("?", "")]) for f in ("a", "b")]
    cleaned = clean(sources, TEXT)
    assert [e.place for e in cleaned.examples] == ["a/rows.jsonl:1", "b/rows.jsonl:1"]
    assert [r.place for r in cleaned.rejects] == ["a/rows.jsonl:2", "b/rows.jsonl:2"]


def test_lengths_are_asked_for_where_somebody_can_tell(tmp_path: Path) -> None:
    source = write(tmp_path, [qa("Why?", "So"), "{", qa("Who?", "word " * 50)])
    assert clean([source], TEXT, token_lengths=words).lengths == (2, 51)
    assert clean([source], TEXT).lengths is None


def test_no_usable_row_is_an_error_that_helps(tmp_path: Path) -> None:
    source = write(tmp_path, ['{"question_text": "Why?", "reply": "So"}'] * 3)
    with pytest.raises(DataError, match="none of 3 rows is usable") as caught:
        clean([source], TEXT)
    assert "question_text, reply" in caught.value.hint
    assert "rows.jsonl:1" in caught.value.message
    mapped = Source("s", source.path, fields={"prompt": "question_text", "completion": "reply"})
    assert len(clean([mapped], TEXT).examples) == 3
    wrong = Source("s", source.path, fields={"prompt": "questions", "completion": "reply"})
    with pytest.raises(DataError, match="no column 'questions'") as caught:
        clean([wrong], TEXT)
    assert "question_text, reply" in caught.value.hint
    header_only = tmp_path / "rows.csv"
    header_only.write_text("prompt,completion\n")
    with pytest.raises(DataError, match="no rows"):
        clean([Source("s", str(header_only))], TEXT)


def test_rows_of_unknown_labels_are_told_the_known_ones(tmp_path: Path) -> None:
    five = [decision(f"Show {n}", "approve_budget") for n in range(5)]
    with pytest.raises(DataError, match=r"5 of them: unknown label 'approve_budget'") as caught:
        clean([write(tmp_path, five)], DECISION)
    assert caught.value.hint.startswith(
        "The labels of access_decision are full, partial, rejected; "
        "it also takes reject (for rejected). Rename them"
    )
    # Where each row has a label of its own, no reason is common, and it is the labels all the same.
    each = [decision("Show", f"label {n}") for n in range(5)]
    with pytest.raises(DataError, match="none of 6 rows") as caught:
        clean([write(tmp_path, [*each, "{"])], DECISION)
    assert "The labels of access_decision are" in caught.value.hint


def test_a_null_label_is_missing_and_a_label_none_is_unknown(tmp_path: Path) -> None:
    lines = [decision("Show", None), decision("Edit", "None"), decision("Show", "full")]
    cleaned = clean([write(tmp_path, lines)], DECISION)
    assert [r.reason for r in cleaned.rejects] == [
        "the label is missing: its value is null",
        "unknown label 'None'",
    ]
    assert cleaned.unknown_labels == {"None": 1}
    # Its prompt was seen all the same.
    assert cleaned.aside_keys[0] == ("rows.jsonl:1", cleaned.prompt_keys[0])
    with pytest.raises(DataError, match="2 of them: the label is missing") as caught:
        clean([write(tmp_path, [lines[0]] * 2)], DECISION)
    assert "full, partial, rejected" in caught.value.hint


def test_rejects_are_written_as_they_stood(tmp_path: Path) -> None:
    lines: list[str | bytes] = [
        qa("Why?", "So"),
        '{"prompt": "half \\ud83d", "completion": "x", "n": 1.5}',
        '{"prompt": "ä", "completion": null}',
        "{",
    ]
    cleaned = clean([write(tmp_path, lines)], TEXT)
    write_rejects(tmp_path / "rejects.jsonl", cleaned.rejects)
    raw = (tmp_path / "rejects.jsonl").read_bytes()
    written: list[dict[str, Any]] = [json.loads(line) for line in raw.decode().splitlines()]
    assert [record["place"] for record in written] == [f"rows.jsonl:{i}" for i in (2, 3, 4)]
    assert written[0]["row"] == {"prompt": "half \ud83d", "completion": "x", "n": 1.5}
    assert written[1]["row"] == {"prompt": "ä", "completion": None}
    assert "not JSON" in written[2]["reason"]
    assert "ä".encode() in raw
