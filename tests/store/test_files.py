"""JSONL files that grow: what a killed process leaves, and how the next one goes on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from tunesmith.records import Answer, Outcome
from tunesmith.store.files import open_log, read_answers


def line(i: int) -> str:
    return json.dumps(asdict(Answer(str(i), "naïve – ✓", Outcome.SCORED))) + "\n"


def test_a_line_cut_short_is_taken_off_before_the_next(tmp_path: Path) -> None:
    whole = (line(0) + line(1)).encode()
    for cut in range(len(line(0).encode()) + 1, len(whole)):
        file = tmp_path / "answers.jsonl"
        file.write_bytes(whole[:cut])
        assert [a.example_id for a in read_answers(file)] == ["0"]
        with open_log(file) as log:
            log.write(line(2))
        assert [a.example_id for a in read_answers(file)] == ["0", "2"]


def test_a_file_that_is_not_there_begins(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    assert list(read_answers(file)) == []
    with open_log(file) as log:
        log.write(line(7))
    assert [a.response for a in read_answers(file)] == ["naïve – ✓"]
