"""Preparing: what was asked for and nothing else, with a reason for every row that goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from data.quality.examples import example
from tunesmith.config.quality import QualitySettings
from tunesmith.data.check import open_files, raw_rows
from tunesmith.data.prepare import apply, write_prepared
from tunesmith.errors import DataError

LONG = "A sentence that is long enough to be kept by a least of fifty characters."
TOLD = "Alphabet soup is cooked from letters, water and a little salt, said the cook to the guest"
ROWS = [
    example("Who is there?", LONG, "r:1"),
    example("What is it?", "Short.", "r:2"),
    example(f"{TOLD}.", LONG, "r:3"),
    example(f"{TOLD}!!", LONG, "r:4"),
    example("Who may I ask?", f"{LONG} Write to jane.doe@memphis-college.edu.", "r:5"),
    example("A test", "Short.", "r:6", meta={"role": "test"}),
]


def places(settings: QualitySettings) -> list[str]:
    return [e.place for e in apply(ROWS, settings).examples]


def test_nothing_is_changed_that_was_not_asked_for() -> None:
    applied = apply(ROWS, QualitySettings())
    assert applied.examples == tuple(ROWS)
    assert not applied.dropped
    assert applied.findings() == ()


def test_thresholds_drop_and_the_test_set_stays_whole() -> None:
    settings = QualitySettings(min_characters=50, max_near_duplicates_per_cluster=1)
    applied = apply(ROWS, settings)
    assert [e.place for e in applied.examples] == ["r:1", "r:3", "r:5", "r:6"]
    reasons = {r.place: r.reason for r in applied.dropped}
    assert reasons == {"r:2": "too_short: 6 characters", "r:4": "near_duplicates: like r:3"}
    assert applied.reasons == {"too_short": 1, "near_duplicates": 1}
    assert len(applied.examples) + len(applied.dropped) == len(ROWS)


def test_the_switch_for_an_ablation() -> None:
    assert len(places(QualitySettings(min_characters=50, enabled=False))) == len(ROWS)
    assert len(places(QualitySettings(min_characters=50, actions={"too_short": "keep"}))) == 6


def test_a_cluster_keeps_a_row_though_its_first_has_a_fault() -> None:
    rows = [example(f"{TOLD}.", "x", "r:1"), example(f"{TOLD}!", LONG, "r:2")]
    settings = QualitySettings(min_characters=50, max_near_duplicates_per_cluster=1)
    assert [e.place for e in apply(rows, settings).examples] == ["r:2"]


def test_masks_and_fails() -> None:
    applied = apply(ROWS, QualitySettings(actions={"personal_data": "mask"}))
    assert applied.masked == ("r:5",)
    assert applied.examples[4].target == f"{LONG} Write to [email]."
    assert applied.examples[:4] == tuple(ROWS[:4])
    with pytest.raises(DataError, match=r"personal_data is fail: 1 rows.*r:5") as caught:
        apply(ROWS, QualitySettings(actions={"personal_data": "fail"}))
    assert "jane" not in str(caught.value)


def test_dropped_rows_are_written_masked() -> None:
    applied = apply(ROWS, QualitySettings(actions={"personal_data": "drop"}))
    (gone,) = applied.dropped
    assert gone.reason == "personal_data: email x1"
    assert "jane" not in json.dumps(dict(gone.row))


@pytest.mark.parametrize(
    "wrong",
    [
        {"actions": {"refusal": "drop"}},
        {"actions": {"refusals": "mask"}},
        {"actions": {"secrets": "keep_first"}},
        {"min_characters": 0},
        {"min_characters": 9, "max_characters": 8},
        {"unknown": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        QualitySettings.model_validate(wrong)


def test_rows_are_written_as_they_stood(tmp_path: Path) -> None:
    file = tmp_path / "qa.jsonl"
    rows = [
        {"question": f"Question {i}?", "answer": LONG if i % 2 else "No.", "extra": [i, None]}
        for i in range(6)
    ]
    rows[3]["extra"] = ["call (901) 678-2169"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "not json\n", "utf-8")
    settings = QualitySettings(min_characters=50)
    cleaned, _ = open_files([file])
    facts = write_prepared(tmp_path / "out", cleaned, apply(cleaned.examples, settings), settings)
    kept = (tmp_path / "out/kept/qa.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in kept] == rows[1::2]
    dropped = [json.loads(x) for x in (tmp_path / "out/dropped.jsonl").read_text().splitlines()]
    assert [d["place"] for d in dropped] == ["qa.jsonl:7", "qa.jsonl:1", "qa.jsonl:3", "qa.jsonl:5"]
    assert (facts["rows"], facts["kept"], facts["dropped"], facts["unusable"]) == (7, 3, 3, 1)


FIFTY = QualitySettings(min_characters=50)


def prepare(files: list[Path], out: Path, settings: QualitySettings = FIFTY) -> dict[str, Any]:
    cleaned, _ = open_files(files)
    applied = apply(cleaned.examples, settings, raw=raw_rows(cleaned))
    return write_prepared(out, cleaned, applied, settings)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


TOKEN = "ghp_" + "A1b2" * 9  # put together, so that no scanner takes it for one


def with_token(folder: Path) -> Path:
    """Two rows, of which the first has a secret in columns that no example holds."""
    plain = {"question": "Which key?", "answer": LONG, "notes": {"by": ["none"]}}
    rows = [plain | {"notes": {"by": [f"made with {TOKEN}"]}}, plain]
    file = folder / "qa.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def test_secrets_are_masked_in_every_column(tmp_path: Path) -> None:
    settings = QualitySettings(actions={"secrets": "mask"})
    facts = prepare([with_token(tmp_path)], tmp_path / "out", settings)
    first, second = lines(tmp_path / "out/kept/qa.jsonl")
    assert first["notes"] == {"by": ["made with [github_token]"]}
    assert second["notes"] == {"by": ["none"]}
    assert (facts["masked"], facts["kept"]) == (1, 2)


def test_a_secret_in_any_column_drops_or_fails(tmp_path: Path) -> None:
    file = with_token(tmp_path)
    facts = prepare([file], tmp_path / "out", QualitySettings(actions={"secrets": "drop"}))
    assert facts["reasons"] == {"secrets": 1}
    with pytest.raises(DataError, match=r"secrets is fail.*GitHub Token in 'notes'"):
        prepare([file], tmp_path / "out", QualitySettings(actions={"secrets": "fail"}))


def test_a_dropped_row_can_be_put_back(tmp_path: Path) -> None:
    row = {"system": "Be brief.", "question": "Why?", "answer": "No.", "extra": [1, "a"], "id": 7}
    secret = row | {"question": "And now?", "extra": [TOKEN]}
    file = tmp_path / "qa.jsonl"
    file.write_text(json.dumps(row) + "\n" + json.dumps(secret) + "\n", "utf-8")
    prepare([file, questions(tmp_path / "other.jsonl", 1)], tmp_path / "out")
    one, other = lines(tmp_path / "out/dropped.jsonl")
    assert one == {"place": "qa.jsonl:1", "reason": "too_short: 3 characters", "row": row}
    assert other["row"] == secret | {"extra": ["[github_token]"]}


ANSWERS = [
    example("Is it?", "Yes.", "r:1"),
    example("Is it?", "No.", "r:2"),
    example("Who?", "Ann.", "r:3"),
    example("Is it?", "Yes.", "r:4"),
    example("Who?", "Ann.", "r:5"),
]


@pytest.mark.parametrize(
    ("action", "left"),
    [("keep", "12345"), ("drop", "35"), ("keep_first", "135")],
)
def test_several_answers_to_one_prompt(action: str, left: str) -> None:
    settings = QualitySettings.model_validate({"actions": {"differing_answers": action}})
    applied = apply(ANSWERS, settings)
    assert [e.place[2:] for e in applied.examples] == list(left)
    assert len(applied.dropped) == 5 - len(left)
    with pytest.raises(DataError, match=r"differing_answers is fail: 3 rows.*r:1"):
        apply(ANSWERS, QualitySettings(actions={"differing_answers": "fail"}))


def test_the_first_label_of_a_prompt_can_be_kept() -> None:
    rows = [example("a", x, f"r:{x}", label=x) for x in "xyx"]
    settings = QualitySettings(actions={"contradicting_prompts": "keep_first"})
    assert [e.place for e in apply(rows, settings).examples] == ["r:x"]


def test_an_answer_that_goes_for_a_fault_contradicts_nobody() -> None:
    rows = [example("a", LONG, "r:1"), example("a", "x", "r:2")]
    settings = QualitySettings(min_characters=50, actions={"differing_answers": "drop"})
    assert [e.place for e in apply(rows, settings).examples] == ["r:1"]


def questions(file: Path, count: int) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"question": f"Question {file} {i}?", "answer": LONG} for i in range(count)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def test_sources_of_one_name_have_a_file_each(tmp_path: Path) -> None:
    files = [questions(tmp_path / name / "train.jsonl", 3) for name in ("a", "b")]
    facts = prepare(files, tmp_path / "out")
    lines = [file.read_text("utf-8").count("\n") for file in (tmp_path / "out/kept").iterdir()]
    assert lines == [3, 3]
    assert facts["kept"] == 6


def test_an_input_is_never_replaced_by_what_is_made_of_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare([questions(tmp_path / "train.jsonl", 3)], out)
    kept = out / "kept" / "train.jsonl"
    before = kept.read_bytes()
    with pytest.raises(DataError, match="is to be replaced; nothing was written"):
        prepare([kept], out)
    assert kept.read_bytes() == before


def test_what_an_earlier_preparation_left_is_replaced_whole(tmp_path: Path) -> None:
    for name in ("old", "new"):
        prepare([questions(tmp_path / f"{name}.jsonl", 3)], tmp_path / "out")
    assert [file.name for file in (tmp_path / "out/kept").iterdir()] == ["new.jsonl"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.jsonl", "old.jsonl", "out"]
