"""`tunesmith data check` as it is typed: words or one JSON object, exit codes, clean stderr."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tunesmith.cli.data import data, repeat

ROWS = [
    {"instruction": "Who are you?", "response": "A model"},
    {"instruction": "Who are you?", "response": "Somebody [bold]else"},
    {"instruction": "Why?", "response": "Because"},
]


def typed(*arguments: str) -> Result:
    return CliRunner().invoke(data, ["check", *arguments], env={"COLUMNS": "100"})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + "{\n")
    return path


def test_in_words(file: Path) -> None:
    found = typed(str(file))
    assert found.exit_code == 0
    assert found.stderr == ""
    text = found.stdout
    assert re.search(r"rows +4", text)
    assert re.search(r"usable +3 +75\.0%", text)
    assert re.search(r"repeated prompts +1", text)
    assert "rows.jsonl:2 = rows.jsonl:1" in text
    assert "rows.jsonl:4" in text
    assert "→ The split keeps them on one side" in text
    assert "instruction/response" in text
    assert "leaked" not in text


def test_as_json(file: Path) -> None:
    found = typed(str(file), "--json")
    assert found.exit_code == 0
    assert found.stderr == ""
    value = json.loads(found.stdout)
    assert list(value) == [
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
    ]
    assert (value["rows"], value["usable"], value["rejected"]) == (4, 3, 1)
    assert value["leaked_rows"] == {"exact": 0, "near": 0}
    for finding in value["findings"]:
        assert set(finding) == {"code", "severity", "message", "count", "examples", "action"}


def test_against_takes_several_files(file: Path, tmp_path: Path) -> None:
    parts = [tmp_path / f"{name}.jsonl" for name in "ab"]
    for part, row in zip(parts, (ROWS[0], ROWS[2]), strict=True):
        part.write_text(json.dumps(row) + "\n")
    both = typed(str(file), "--against", *map(str, parts), "--json")
    assert json.loads(both.stdout)["leaked_rows"] == {"exact": 3, "near": 0}
    twice = typed(str(file), "--against", str(parts[0]), "--against", str(parts[1]), "--json")
    assert twice.stdout == both.stdout
    first = typed("--against", str(parts[0]), str(file), "--json")
    assert json.loads(first.stdout)["leaked_rows"] == {"exact": 2, "near": 0}
    none = typed("--against", str(parts[0]))
    assert none.exit_code == 2
    assert "FILE" in none.stderr
    words = typed(str(file), "--against", str(parts[0]))
    assert re.search(r"leaked +2 +rows stand word for word", words.stdout)


def test_the_spelling_of_repeated_options() -> None:
    assert repeat("--against", ["a", "--against", "b", "c", "--json"]) == [
        "a",
        "--against",
        "b",
        "--against",
        "c",
        "--json",
    ]
    assert repeat("--against", ["--against=b", "a", "--task", "t", "c"]) == [
        "--against=b",
        "a",
        "--task",
        "t",
        "c",
    ]


def test_fields_are_mapped(tmp_path: Path) -> None:
    path = tmp_path / "faq.csv"
    path.write_text("Question,Reply\nWhy?,Because\n")
    refused = typed(str(path))
    assert refused.exit_code == 2
    assert "Question, Reply" in refused.stderr
    mapped = typed(
        str(path), "--field", "instruction=Question", "--field", "response=Reply", "--json"
    )
    assert json.loads(mapped.stdout)["usable"] == 1
    wrong = typed(str(path), "--field", "instruction")
    assert wrong.exit_code == 2
    assert "NAME=COLUMN" in wrong.stderr


def test_tokens_of_a_model(file: Path, tmp_path: Path) -> None:
    """With a tokenizer of single words, a chat template, and so a length that can be counted."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<unk>": 0, "<end>": 1}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    template = (
        "{% for m in messages %}{{ m.role }} {{ m.content }} <end> {% endfor %}"
        "{% if add_generation_prompt %}assistant {% endif %}"
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", eos_token="<end>", chat_template=template
    )
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    found = typed(str(file), "--model", str(tmp_path / "model"), "--max-length", "10", "--json")
    assert found.exit_code == 0, found.stderr
    value = json.loads(found.stdout)
    # user Who are you ? <end> assistant Somebody [ bold ] else <end>
    assert value["tokens"]["unit"] == "tokens"
    assert value["tokens"]["max"] == 13
    overlong = [f for f in value["findings"] if f["code"] == "overlong"]
    assert [f["examples"] for f in overlong] == [["rows.jsonl:2"]]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_users_error_is_two_lines_and_exit_2(tmp_path: Path, as_json: bool) -> None:
    (tmp_path / "text.parquet").write_text('{"x": 1}\n')
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "rows.jsonl").write_text('{"x": 1}\n')
    flags = ["--json"] if as_json else []
    for arguments, said in (
        ([str(tmp_path / "none.jsonl")], "no such file"),
        ([str(tmp_path / "text.parquet")], "Rename it to text.jsonl"),
        ([str(tmp_path / "empty.jsonl")], "the file is empty"),
        ([str(tmp_path / "rows.jsonl")], "none of 1 rows is usable"),
        ([str(tmp_path / "rows.jsonl"), "--task", "txt"], "Did you mean text"),
        ([str(tmp_path / "rows.jsonl"), "--max-length", "9"], "--model NAME"),
    ):
        found = typed(*arguments, *flags)
        assert found.exit_code == 2
        assert found.stdout == ""
        assert said in found.stderr
        assert found.stderr.startswith("error: ")
        assert found.stderr.count("\n") == 2
        assert "Traceback" not in found.stderr


def test_the_real_command_finds_what_it_must(shared_data: Path) -> None:
    files = [str(shared_data / "orgaccess" / f"{name}.parquet") for name in ("easy", "medium")]
    code = "import sys; from tunesmith.cli import main; sys.argv[0] = 'tunesmith'; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "data", "check", *files, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    value = json.loads(done.stdout)
    assert value["rows"] == 31630
    assert value["duplicate_prompts"] == 4810
    assert value["repaired_labels"] == {"reject": 139}


def test_a_row_is_shown_masked_unless_it_is_asked_for_whole(tmp_path: Path) -> None:
    token = "ghp_" + "A1b2" * 9
    file = tmp_path / "rows.jsonl"
    row = {"question": "Which key?", "answer": f"Use {token}.", "topic": f"key {token}"}
    file.write_text(json.dumps(row) + "\n")

    def shown(*arguments: str) -> str:
        found = CliRunner().invoke(data, ["show", str(file), *arguments], env={"COLUMNS": "200"})
        assert found.exit_code == 0, found.stderr
        return found.stdout

    for arguments in ([], ["--json"]):
        assert token[:12] not in shown(*arguments)
        assert "Use [github_token]." in shown(*arguments)
        assert f"Use {token}." in shown(*arguments, "--unmasked")
