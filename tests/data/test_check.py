"""Checking: every figure against a count of its own, on real and on made-up rows."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tunesmith.data.check import check_files, quality_json
from tunesmith.data.near import normalised
from tunesmith.errors import ConfigError, DataError
from tunesmith.records import Quality, Severity

KEYS = {
    "rows",
    "usable",
    "rejected",
    "labels",
    "repaired_labels",
    "unknown_labels",
    "duplicate_prompts",
    "contradicting_prompts",
    "leaked_rows",
    "tokens",
    "findings",
}
LABELS = {"full": "full", "partial": "partial", "rejected": "rejected", "reject": "rejected"}


def finding(quality: Quality, code: str) -> Any:
    (found,) = [f for f in quality.findings if f.code == code]
    return found


def brute_force(path: Path) -> dict[str, Any]:
    """The contract's figures for an OrgAccess file, counted over its columns with pandas."""
    frame = pd.read_parquet(path)
    label = frame["expected_response"].map(LABELS)
    prompts = [frame["permissions"], frame["query"]]
    distinct = label.groupby(prompts).nunique()
    return {
        "rows": len(frame),
        "usable": int(label.notna().sum()),
        "rejected": int(label.isna().sum()),
        "labels": label.value_counts().to_dict(),
        "repaired_labels": {"reject": n}
        if (n := int((frame["expected_response"] == "reject").sum()))
        else {},
        "unknown_labels": frame["expected_response"][label.isna()].value_counts().to_dict(),
        "duplicate_prompts": int(frame.duplicated(["permissions", "query"]).sum()),
        "contradicting_prompts": int((distinct > 1).sum()),
        "leaked_rows": {"exact": 0, "near": 0},
    }


@pytest.mark.parametrize("name", ["easy", "medium"])
def test_the_figures_of_the_real_files_are_those_of_pandas(shared_data: Path, name: str) -> None:
    path = shared_data / "orgaccess" / f"{name}.parquet"
    found = quality_json(check_files([path]))
    assert set(found) == KEYS
    assert json.loads(json.dumps(found)) == found
    expected = brute_force(path)
    assert {key: found[key] for key in expected} == expected
    if name == "easy":
        assert found["duplicate_prompts"] == 4810
        assert found["rows"] == 26796


def test_leaks_between_parts_of_a_real_file(shared_data: Path, tmp_path: Path) -> None:
    """A few known edits, planted in rows that are apart otherwise."""
    frame = pd.read_parquet(shared_data / "orgaccess" / "medium.parquet").drop(columns=["id"])
    theirs, ours = frame[:1500], frame[1500:1900].reset_index(drop=True)
    columns = ["permissions", "query"]
    known = set(zip(*(theirs[c] for c in columns), strict=True))
    apart = [tuple(row) not in known for row in ours[columns].to_numpy()]
    assert all(apart)
    copies = theirs[:30].assign(expected_response="approve", user_role="another")
    edited = theirs[30:50].copy()
    edited["query"] = [text.upper().replace(",", " -") + "!!" for text in edited["query"]]
    theirs.to_parquet(tmp_path / "train.parquet")
    pd.concat([ours, copies, edited]).to_parquet(tmp_path / "test.parquet")
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    quality = check_files([tmp_path / "test.parquet"], against=[tmp_path / "train.parquet"])
    # Rows whose label nobody knows leak, too: their prompt is there.
    assert quality.leaked_exact == 30
    assert quality.unknown_labels["approve"] == 30
    assert finding(quality, "leaked_rows").examples[0] == "test.parquet:401"
    own = check_files(
        [tmp_path / "test.parquet"], against=[tmp_path / "test.parquet", tmp_path / "train.parquet"]
    )
    assert (own.leaked_exact, own.leaked_near) == (450, 0)
    assert quality.leaked_near >= 20
    assert finding(quality, "near_leaked_rows").count == quality.leaked_near
    plain = {normalised(f"{p} {q}") for p, q in known}
    assert all(normalised(f"{p} {q}") in plain for p, q in edited[columns].to_numpy())
    # Nothing was changed, nothing was left behind.
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def rows_file(folder: Path, rows: list[dict[str, Any]], name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_every_figure_on_made_up_rows(tmp_path: Path) -> None:
    draw = random.Random(0)
    rows = [
        {
            "permissions": draw.choice(["{}", "{1}"]),
            "query": f"Question {draw.randrange(60)}",
            "expected_response": draw.choice(["full", "partial", "reject", "FULL", "maybe", None]),
            "rationale": draw.choice(["Because.", ""]),
            "user_role": draw.choice("abc"),
        }
        for _ in range(300)
    ]
    quality = check_files([rows_file(tmp_path, rows)])
    known = {"full": "full", "FULL": "full", "partial": "partial", "reject": "rejected"}
    labelled: dict[tuple[Any, Any], set[str]] = {}
    for row in rows:
        if row["expected_response"] in known:
            key = (row["permissions"], row["query"])
            labelled.setdefault(key, set()).add(known[row["expected_response"]])
    written = Counter(row["expected_response"] for row in rows)
    assert quality.rows == 300
    assert quality.usable + quality.rejected == 300
    assert quality.unknown_labels == {"maybe": written["maybe"]}
    missing = next(f for f in quality.findings if "the label is missing" in f.message)
    assert missing.count == written[None]
    assert quality.repaired_labels == {"FULL": written["FULL"], "reject": written["reject"]}
    assert quality.duplicate_prompts == 300 - len({(r["permissions"], r["query"]) for r in rows})
    assert quality.contradicting_prompts == sum(len(seen) > 1 for seen in labelled.values())
    assert finding(quality, "contradicting_prompts").severity is Severity.WARNING


def test_answers_that_differ_without_labels_and_answers_in_prompts(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Who?", "response": "One of them, surely"},
        {"instruction": "Who?", "response": "Another one of them"},
        {"instruction": "Say: a long enough sentence.", "response": "a long enough sentence."},
    ]
    quality = check_files([rows_file(tmp_path, rows)])
    assert (quality.duplicate_prompts, quality.contradicting_prompts) == (1, 0)
    assert finding(quality, "differing_answers").count == 1
    assert finding(quality, "answer_in_prompt").examples == (
        "rows.jsonl:3: Say: a long enough sentence.",
    )
    assert "instruction/response" in finding(quality, "shape").message
    assert "the task text" in finding(quality, "guessed_task").message


def test_gold_graphs_that_are_none_are_told(shared_data: Path) -> None:
    quality = check_files([shared_data / "anecdot" / "pairs.jsonl"])
    assert quality.rows == 149
    broken = finding(quality, "broken_answers")
    assert broken.count >= 4
    assert "pairs.jsonl:135" in broken.examples[0]


def test_rows_that_cannot_be_compared_are_told(tmp_path: Path) -> None:
    ours = rows_file(tmp_path, [{"prompt": "Why?", "completion": "So"}])
    held_out = rows_file(
        tmp_path, [{"prompt": "Why?", "completion": "So"}, {"prompt": "Who?"}], "test.jsonl"
    )
    quality = check_files([ours], against=[held_out])
    assert quality.leaked_exact == 1
    assert finding(quality, "unread_rows").examples == ("test.jsonl:2",)


def test_rarest_and_missing_labels_are_told(tmp_path: Path) -> None:
    row = {"permissions": "{}", "rationale": "r"}
    labels = ["full"] * 10 + ["partial"]
    rows = [{**row, "query": f"{i}", "expected_response": x} for i, x in enumerate(labels)]
    quality = check_files([rows_file(tmp_path, rows)])
    assert "rejected" in finding(quality, "missing_labels").message
    assert finding(quality, "label_imbalance").count == 10


def test_tokens_are_counted_where_somebody_can(tmp_path: Path) -> None:
    rows = [{"prompt": "a " * n, "completion": "b"} for n in range(1, 101)]
    path = rows_file(tmp_path, rows)
    words = quality_json(check_files([path]))["tokens"]
    assert words == {"mean": 51.5, "p50": 51.5, "p99": 100.0, "max": 101.0, "unit": "words"}
    counted = check_files(
        [path], token_lengths=lambda examples: [len(examples[0].target)] * len(examples)
    )
    assert quality_json(counted)["tokens"]["unit"] == "tokens"
    assert counted.tokens["max"] == 1
    longer = check_files(
        [path],
        max_length=90,
        token_lengths=lambda examples: [len(e.messages[-1].content) // 2 for e in examples],
    )
    overlong = finding(longer, "overlong")
    assert (overlong.message, overlong.count) == ("rows longer than 90 tokens", 10)
    assert longer.usable == 100
    with pytest.raises(ValueError, match="token_lengths"):
        check_files([path], max_length=90)


def test_files_of_one_name_are_sources_of_their_own(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        rows_file(tmp_path / folder, [{"prompt": f"Why {folder}?", "completion": "So"}])
    quality = check_files([tmp_path / "a" / "rows.jsonl", tmp_path / "b" / "rows.jsonl"])
    shapes = [f for f in quality.findings if f.code == "shape"]
    assert [f.count for f in shapes] == [1, 1]
    again = check_files([str(tmp_path / "*" / "rows.jsonl")])
    assert (again.rows, again.duplicate_prompts) == (2, 0)


def test_a_copy_of_a_file_is_a_leak_whatever_its_format(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "alignment" / "preferred_prompts.csv"
    shutil.copy(source, tmp_path / "a.csv")
    rows = pd.read_csv(source).to_dict("records")
    (tmp_path / "a.json").write_text(json.dumps(rows))
    quality = check_files([tmp_path / "a.csv"], against=[tmp_path / "a.json"])
    assert quality.leaked_exact == quality.rows == len(rows)


def test_a_wrong_task_is_an_error(tmp_path: Path) -> None:
    path = rows_file(tmp_path, [{"prompt": "Why?", "completion": "So"}])
    with pytest.raises(ConfigError, match="acess_decision") as caught:
        check_files([path], task="acess_decision")
    assert "access_decision" in caught.value.hint
    with pytest.raises(DataError, match="none of 1 rows is usable"):
        check_files([path], task="access_decision")


def test_secrets_are_looked_for_in_every_row_and_column(tmp_path: Path) -> None:
    """More rows than any detector samples, and one key in a column that is no answer."""
    token = "ghp_" + "A1b2" * 9
    rows = [
        {"question": f"Question {i}?", "answer": f"It is {i}.", "notes": ""} for i in range(3001)
    ]
    rows[1]["notes"] = f"made with {token}"
    rows[2]["answer"] = f"Use {token}."
    file = tmp_path / "qa.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    quality = check_files([file])
    found = finding(quality, "secrets")
    assert found.count == 2
    assert found.examples == (
        "qa.jsonl:2: GitHub Token in 'notes' x1",
        "qa.jsonl:3: GitHub Token x1",
    )
    said = finding(quality, "not_all_looked")
    assert said.severity == Severity.WARNING
    assert "personal data in 2,000 rows" in said.message
    assert "secrets" not in said.message
