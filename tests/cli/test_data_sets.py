"""freeze, versions, diff, export, show and report, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from tunesmith.cli.data import data
from tunesmith.cli.show_data import page, visible
from tunesmith.pipeline.showing import Piece, Seen, Slot
from tunesmith.records import Example, Message

RECIPE = """
name: faq
task: text
seed: 3
data:
  sources:
    asked: {path: asked.jsonl, licence: CC-BY-SA-4.0, origin: human, weight: 1}
    made: {path: made.jsonl, licence: MIT, origin: generated, weight: 2}
  test: 0.2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe with two sources, and a home."""
    place = tmp_path_factory.mktemp("sets")
    for name, count in (("asked", 30), ("made", 100)):
        rows = [{"question": f"{name} {i}?", "answer": f"It is {7 * i}."} for i in range(count)]
        (place / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (place / "faq.yaml").write_text(RECIPE)
    return place


def typed(folder: Path, *arguments: str) -> Result:
    env = {"COLUMNS": "100", "TUNESMITH_HOME": str(folder / "home")}
    return CliRunner().invoke(data, list(arguments), env=env)


def told(folder: Path, *arguments: str) -> dict[str, Any]:
    found = typed(folder, *arguments, "--json")
    assert found.exit_code == 0, found.stderr
    value: dict[str, Any] = json.loads(found.stdout)
    return value


@pytest.fixture(scope="module")
def frozen(folder: Path) -> dict[str, Any]:
    return told(folder, "freeze", str(folder / "faq.yaml"), "--out", str(folder / "v1"))


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_frozen_files_hold_every_row_once(folder: Path, frozen: dict[str, Any]) -> None:
    assert frozen["new"] is True
    assert frozen["sources"] == {"asked": 30, "made": 61}
    v1 = folder / "v1"
    for part, count in frozen["parts"].items():
        whole = lines(v1 / f"{part}.jsonl")
        assert len(whole) == count
        assert all(set(row) == {"messages"} for row in whole)
        apart = [r for f in v1.glob(f"sources/*/{part}.jsonl") for r in lines(f)]
        assert sorted(map(json.dumps, apart)) == sorted(map(json.dumps, whole))
    manifest = json.loads((v1 / "manifest.json").read_text())
    assert manifest["key"] == frozen["version"]
    assert {"train.jsonl", "arrow/train.arrow", "DATASET_CARD.md"} <= set(manifest["files"])
    assert all(len(file["sha256"]) == 64 for file in manifest["files"].values())


def test_the_card_is_one_that_the_hub_and_datasets_read(
    folder: Path, frozen: dict[str, Any]
) -> None:
    from datasets import load_dataset

    card = (folder / "v1" / "DATASET_CARD.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == "other"
    assert front["size_categories"] == ["n<1K"]
    for words in (
        "| human | 30 | 33.0% |",
        "| generated | 61 | 67.0% |",
        "| CC-BY-SA-4.0 | 30 |",
        "weight 2, 61 of 100",
        frozen["version"],
        "tunesmith data freeze faq.yaml",
    ):
        assert words in card
    for name, count in {None: 91, "asked": 30, "made": 61}.items():
        loaded = load_dataset(str(folder / "v1"), name, cache_dir=str(folder / "cache"))
        assert sum(part.num_rows for part in loaded.values()) == count


def test_the_same_again_is_the_same_and_writes_nothing(
    folder: Path, frozen: dict[str, Any]
) -> None:
    def state() -> dict[str, int]:
        kept = [folder / "v1", Path(frozen["directory"])]
        return {str(f): f.stat().st_mtime_ns for place in kept for f in place.rglob("*")}

    before = state()
    again = told(folder, "freeze", str(folder / "faq.yaml"), "--out", str(folder / "v1"))
    assert again == frozen | {"new": False}
    assert state() == before
    [version] = told(folder, "versions")["versions"]
    assert (version["version"], version["name"], version["there"]) == (
        frozen["version"],
        "faq",
        True,
    )
    assert frozen["version"][:12] in typed(folder, "versions").stdout
    (folder / "full").mkdir(exist_ok=True)
    (folder / "full" / "mine").write_text("")
    refused = typed(folder, "freeze", str(folder / "faq.yaml"), "--out", str(folder / "full"))
    assert refused.exit_code == 2
    assert "holds something else" in refused.stderr


def test_fewer_rows_keep_the_shares(folder: Path) -> None:
    few = told(
        folder, "freeze", str(folder / "faq.yaml"), "--set", "data.rows=30", "--set", "name=few"
    )
    assert few["sources"] == {"asked": 10, "made": 20}
    capped = "data.sources.made.cap=20"
    few = told(folder, "freeze", str(folder / "faq.yaml"), "--set", capped, "--set", "name=other")
    assert few["sources"] == {"asked": 10, "made": 20}


def test_versions_are_compared(folder: Path, frozen: dict[str, Any]) -> None:
    rows = lines(folder / "v1" / "train.jsonl")
    rows[0]["messages"][-1]["content"] = "Something else."
    changed = folder / "changed.jsonl"
    changed.write_text("".join(json.dumps(row) + "\n" for row in rows[:-1]))
    found = told(folder, "diff", str(folder / "v1" / "train.jsonl"), str(changed))
    assert (found["changed"], found["removed"], found["added"], found["moved"]) == (1, 1, 0, 0)
    assert told(folder, "diff", frozen["version"][:8], str(folder / "v1"))["changes"] == []
    words = typed(folder, "diff", str(folder / "v1" / "train.jsonl"), str(changed))
    assert "+ Something else." in words.stdout
    unknown = typed(folder, "diff", "absent", str(changed))
    assert unknown.exit_code == 2
    assert "tunesmith data versions" in unknown.stderr


def test_exported_and_read_again(folder: Path, frozen: dict[str, Any]) -> None:
    whole = folder / "whole.jsonl"
    sent = told(folder, "export", "faq", "--format", "jsonl", "--out", str(whole))
    assert (sent["part"], sent["rows"], sent["lost"]) == ("train", frozen["parts"]["train"], {})
    found = told(folder, "diff", str(whole), str(folder / "v1" / "train.jsonl"))
    assert (found["same"], found["changes"]) == (sent["rows"], [])
    sent = told(
        folder, "export", "faq", "--format", "openai", "--part", "test", "--out", str(whole)
    )
    assert sent["rows"] == frozen["parts"]["test"]
    assert sent["lost"] == {"meta.source": sent["rows"], "meta.licence": sent["rows"]}
    chat = folder / "chat.jsonl"
    turns = [{"role": r, "content": r} for r in ("system", "user", "assistant")]
    chat.write_text(json.dumps({"messages": turns}) + "\n{\n")
    sent = told(folder, "export", str(chat), "--format", "trl", "--out", str(whole))
    assert (sent["rows"], sent["unusable"]) == (1, 1)
    assert "1 unusable rows" in typed(folder, "show", str(chat)).stderr
    refused = typed(folder, "export", str(chat), "--format", "alpaca", "--out", str(whole))
    assert refused.exit_code == 2
    assert "1 rows hold a system turn (chat.jsonl:1)" in " ".join(refused.stderr.split())
    wrong = typed(folder, "export", str(chat), "--format", "arrow", "--out", str(whole))
    assert "chatml, openai" in wrong.stderr


def test_a_recipe_is_exported_with_whom_to_credit(folder: Path) -> None:
    chat = folder / "recipe.jsonl"
    recipe = str(folder / "faq.yaml")
    sent = told(
        folder, "export", recipe, "--part", "test", "--format", "trl", "--out", str(chat),
        "--set", "data.rows=30",
    )  # fmt: skip
    assert (sent["rows"], len(lines(chat))) == (6, 6)
    credits = Path(sent["attribution"]).read_text("utf-8")
    assert sent["attribution"] == f"{chat}.ATTRIBUTION.md"
    assert "## CC-BY-SA-4.0" in credits
    assert "recipe.jsonl:1" in credits
    whole = folder / "kept.jsonl"
    sent = told(folder, "export", recipe, "--format", "jsonl", "--out", str(whole))
    assert sent["attribution"] is None


def test_columns_of_other_names_are_told(folder: Path) -> None:
    odd, even, chat = (folder / name for name in ("odd.jsonl", "even.jsonl", "named.jsonl"))
    odd.write_text('{"Q": "a?", "A": "It is a."}\n{"Q": "b?", "A": "It is b."}\n')
    even.write_text('{"Q": "a?", "A": "It is a."}\n')
    named = ("--field", "question=Q", "--field", "answer=A")
    sent = told(folder, "export", str(odd), "--format", "chatml", "--out", str(chat), *named)
    assert sent["rows"] == 2
    assert lines(chat)[0]["messages"][0] == {"role": "user", "content": "a?"}
    found = told(folder, "diff", str(odd), str(even), *named)
    assert (found["same"], found["removed"]) == (1, 1)


def test_licences_that_exclude_each_other_are_said_at_once(folder: Path) -> None:
    closed = ("--set", "data.sources.made.licence=CC-BY-NC-4.0", "--set", "name=closed")
    found = typed(folder, "freeze", str(folder / "faq.yaml"), *closed)
    assert found.exit_code == 0, found.stderr
    assert "error" in found.stderr
    assert "CC-BY-NC-4.0" in found.stderr
    assert "CC-BY-NC-4.0" not in found.stdout
    [error] = told(folder, "freeze", str(folder / "faq.yaml"), *closed)["errors"]
    assert error["code"] == "incompatible_licences"
    assert told(folder, "freeze", str(folder / "faq.yaml"))["errors"] == []


def test_a_version_is_removed_by_its_id(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = told(folder, "freeze", str(folder / "faq.yaml"), "--home", str(home))
    by_name = typed(folder, "versions", "--remove", "faq", "--home", str(home))
    assert by_name.exit_code == 2
    assert made["version"][:12] in by_name.stderr
    begun = made["version"][:9]
    gone = told(folder, "versions", "--remove", begun, "--home", str(home))
    assert gone == {"removed": made["version"]}
    assert not Path(made["directory"]).exists()
    assert told(folder, "versions", "--home", str(home))["versions"] == []
    again = typed(folder, "versions", "--remove", begun, "--home", str(home))
    assert again.exit_code == 2
    assert "tunesmith data versions" in again.stderr


def test_shown_as_the_model_sees_them(folder: Path, frozen: dict[str, Any]) -> None:
    from tunesmith.config import ModelSettings
    from tunesmith.models.load import load_renderer

    found = told(folder, "show", "faq", "--row", "2")
    [row] = found["rows"]
    renderer = load_renderer(ModelSettings())
    content = [piece["text"] for piece in row["pieces"] if piece["kind"] == "answer"]
    assert content == [json.loads(json.dumps(content[0]))]
    assert row["text"].endswith(content[0] + "<|im_end|>")
    assert renderer.tokenizer(row["text"], add_special_tokens=False)["input_ids"]
    assert sum(piece["tokens"] for piece in row["pieces"]) == row["tokens"]
    trained = [p["tokens"] for p in row["pieces"] if "answer" in p["kind"]]
    assert sum(trained) == row["supervised"] > 0
    made = told(folder, "show", str(folder / "faq.yaml"), "--source", "made", "--limit", "3")
    assert (made["kind"], made["matching"], len(made["rows"])) == ("recipe", 61, 3)
    assert {row["meta"]["source"] for row in made["rows"]} == {"made"}
    orders = [
        [row["row"] for row in told(folder, "show", "faq", "--shuffle", "--seed", seed)["rows"]]
        for seed in ("1", "1", "2")
    ]
    assert orders[0] == orders[1] != orders[2]
    words = typed(folder, "show", str(folder / "asked.jsonl"), "--limit", "1")
    assert "<|im_start|>user" in words.stdout
    assert "supervised" in words.stdout
    none = typed(folder, "show", str(folder / "asked.jsonl"), "--source", "papers")
    assert none.exit_code == 2
    assert "asked.jsonl" in none.stderr


def test_keys_page_forth_and_back() -> None:
    slots = [Slot(i, "all", Example((Message("user", "q"),), "a")) for i in range(1, 4)]
    looked: list[int] = []

    def look(slot: Slot) -> Seen:
        looked.append(slot.row)
        return Seen(slot.row, slot.part, slot.example, (Piece("answer", "a", 1),), 1, 1)

    keys = iter("\r\rbxq")
    page(slots, look, lambda: next(keys))
    assert looked == [1, 2, 3, 2, 2]
    looked.clear()
    page(slots, look, lambda: "\r")
    assert looked == [1, 2, 3]


def test_a_row_cannot_steer_the_terminal() -> None:
    assert visible("a\x1b[2J\tb\n\x7f\x9bé") == "a␛[2J\tb\n\ufffd\ufffdé"


def test_the_report_of_a_recipe_and_of_files(folder: Path, frozen: dict[str, Any]) -> None:
    page_at = folder / "page.html"
    told(folder, "report", str(folder / "faq.yaml"), "--out", str(page_at), "--examples", "2")
    html = page_at.read_text("utf-8")
    for words in ("91 examples", "CC-BY-SA-4.0", "generated", "im_start"):
        assert words in html
    files = [str(folder / f"{name}.jsonl") for name in ("asked", "made")]
    told(folder, "report", *files, "--out", str(page_at))
    assert "130 examples" in page_at.read_text("utf-8")
    refused = typed(folder, "report", str(folder / "faq.yaml"), files[0], "--out", str(page_at))
    assert refused.exit_code == 2
    assert "a report of its own" in refused.stderr


def test_the_report_hides_what_is_private(folder: Path) -> None:
    rows = [
        {"instruction": f"How do I reach person {i}?", "response": f"Write to ann{i}@posteo.net."}
        for i in range(8)
    ]
    file, page_at = folder / "people.jsonl", folder / "people.html"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    told(folder, "report", str(file), "--out", str(page_at))
    html = page_at.read_text("utf-8")
    assert "How do I reach person" in html
    assert "[email" in html
    assert "@posteo.net" not in html
