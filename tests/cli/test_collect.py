"""`tunesmith data collect` as it is typed: words or one JSON object, refusals, recipes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from data.collect.servers import StackExchange, answer, question
from tunesmith.cli.app import app

RECIPE = """
name: mine
task: text
data:
  collect:
    guide: {{kind: files, paths: [{folder}], licence: MIT, longest: 300}}
  sources:
    guide: {{collect: guide, fields: {{instruction: title, response: text}}}}
"""


def typed(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["data", "collect", *arguments], env={"COLUMNS": "100"})


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# One\n\nwords\n")
    (folder / "b.md").write_text("# Two\n\nwords\n")
    (folder / "c.txt").write_bytes(b"\xff\xfe\xfd")
    return folder


def test_in_words(docs: Path, tmp_path: Path) -> None:
    found = typed("files", "--set", f"paths={docs}", "--out", str(tmp_path / "c"), "--home",
                  str(tmp_path))  # fmt: skip
    assert found.exit_code == 0, found.stderr
    assert re.search(r"documents +2 +2 new", found.stdout)
    assert re.search(r"licence +2 +unknown", found.stdout)
    assert "docs/c.txt: not UTF-8" in found.stdout
    assert str(tmp_path / "c" / "documents.jsonl") in found.stdout
    assert re.search(r"up to date on 20\d\d-\d\d-\d\d; the same command", found.stdout)
    again = typed("files", "--set", f"paths={docs}", "--set", "longest=500", "--out",
                  str(tmp_path / "c"), "--home", str(tmp_path))  # fmt: skip
    assert again.exit_code == 2
    assert "longest was 4000, now 500" in again.stderr
    assert again.stderr.count("\n") == 2


def test_as_json_and_into_the_home(docs: Path, tmp_path: Path) -> None:
    options = ("--set", f"paths=[{docs}]", "--home", str(tmp_path / "home"), "--json")
    first = json.loads(typed("files", *options, "--limit", "1").stdout)
    assert list(first) == [
        "folder", "file", "documents", "new", "changed", "removed", "repeated", "pages",
        "skipped", "licences", "done", "finished", "seconds",
    ]  # fmt: skip
    assert (first["documents"], first["done"]) == (1, False)
    assert Path(first["folder"]).parent == tmp_path / "home" / "collected"
    second = json.loads(typed("files", *options).stdout)
    assert second["folder"] == first["folder"]
    assert (second["documents"], second["new"], second["done"]) == (2, 1, True)


def test_a_name_of_a_recipe(docs: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(RECIPE.format(folder=docs))
    options = ("--recipe", str(recipe), "--home", str(tmp_path), "--json")
    value = json.loads(typed("guide", *options).stdout)
    assert value["licences"] == {"MIT": 2}
    other = json.loads(typed("guide", *options, "--set", "licence=CC0-1.0").stdout)
    assert other["licences"] == {"CC0-1.0": 2}
    unknown = typed("guides", *options)
    assert unknown.exit_code == 2
    assert "it has guide" in unknown.stderr
    recipe.write_text(RECIPE.format(folder=docs).replace("longest", "longst"))
    wrong = typed("guide", *options)
    assert "unknown key data.collect.guide.longst" in wrong.stderr
    assert "did you mean data.collect.guide.longest?" in wrong.stderr
    recipe.write_text(RECIPE.format(folder=docs).replace("{collect: guide", "{collect: other"))
    assert "asks for collector 'other'; there is guide" in typed("guide", *options).stderr


@pytest.mark.slow
def test_a_source_of_a_recipe_is_collected_where_it_is_not(docs: Path, tmp_path: Path) -> None:
    for number in range(30):
        (docs / f"n{number}.md").write_text(f"# Title {number}\n\nwords of number {number}\n")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(RECIPE.format(folder=docs))
    home = ("--home", str(tmp_path / "home"))
    planned = CliRunner().invoke(app, ["plan", str(recipe), *home, "--json"])
    assert planned.exit_code == 0, planned.stderr
    assert json.loads(planned.stdout)["steps"] > 0
    assert "guide: 32 documents collected, 32 of them now" in planned.stderr
    value = json.loads(typed("guide", "--recipe", str(recipe), *home, "--json").stdout)
    assert (value["documents"], value["new"], value["done"]) == (32, 0, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("arxive",), "no kind of collector"),
        (("arxiv", "--set", "categorys=x"), "did you mean categories?"),
        (("arxiv", "--set", "page_size=0"), "page_size: Input should be greater"),
        (("arxiv", "--set", "page_size"), "is not KEY=VALUE"),
        (("hub", "--set", "path=a/b"), "fields is missing"),
        (("files",), "paths is missing"),
        (("arxiv",), "neither categories nor terms"),
    ],
)
def test_what_is_wrong_is_said_in_two_lines(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    found = typed(*arguments, "--home", str(tmp_path))
    assert found.exit_code == 2
    assert said in found.stderr
    assert found.stderr.count("\n") == 2
    assert "Traceback" not in found.stderr


def test_the_settings_of_a_kind() -> None:
    shown = typed("stack_exchange", "--settings")
    assert shown.exit_code == 0
    assert re.search(r"min_score +1 +Least score of a question", shown.stdout)
    schema = json.loads(typed("stack_exchange", "--settings", "--json").stdout)
    assert schema["properties"]["site"]["default"] == "stats"


def test_a_host_that_gives_up_half_way(tmp_path: Path) -> None:
    questions = [question(n, answers=[answer(100 + n)]) for n in range(1, 9)]
    with StackExchange(questions, quota=2) as server:
        sets = (f"base_url={server.url}/2.3", "page_size=4", "interval_s=0", "key_env=NOT_SET")
        options = [part for item in sets for part in ("--set", item)]
        found = typed("stack_exchange", *options, "--home", str(tmp_path))
        assert found.exit_code == 2
        assert "quota of 300 calls a day is used up. 4 documents are saved in" in found.stderr
        assert "The same command goes on from there." in found.stderr
        server.quota = 100
        found = typed("stack_exchange", *options, "--home", str(tmp_path), "--json")
    assert json.loads(found.stdout)["documents"] == 8


def test_a_finished_collection_says_when_and_how_it_is_refreshed(tmp_path: Path) -> None:
    questions = [question(n, answers=[answer(100 + n)]) for n in range(1, 3)]
    with StackExchange(questions) as server:
        sets = ("--set", f"base_url={server.url}/2.3", "--set", "interval_s=0")
        options = ("stack_exchange", *sets, "--home", str(tmp_path))
        for _ in range(2):
            found = typed(*options)
            assert re.search(r"finished on 20\d\d-\d\d-\d\d; --refresh brings", found.stdout)
        server.questions = [*questions, question(3, answers=[answer(103)])]
        value = json.loads(typed(*options, "--refresh", "--json").stdout)
    assert (value["documents"], value["new"]) == (3, 1)


def test_paths_of_a_recipe_are_found_beside_it(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    home = ("--home", str(tmp_path / "home"))
    for folder in ("docs", "docs/*.md"):
        (tmp_path / "mine.yaml").write_text(RECIPE.format(folder=f'"{folder}"'))
        found = typed("guide", "--recipe", "../mine.yaml", *home, "--json")
        assert found.exit_code == 0, found.stderr
        assert json.loads(found.stdout)["documents"] == 2
