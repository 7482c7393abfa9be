"""What the README says can be done: its recipe loads, its commands and files are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tunesmith.cli.app import app
from tunesmith.config import load_recipe, shipped_recipes

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text("utf-8")
COMMANDS = sorted(set(re.findall(r"tunesmith ((?:data check|[a-z]+))(?= |`|$)", README, re.M)))


def test_its_recipe_loads(tmp_path: Path) -> None:
    block = re.search(r"```yaml\n(.*?)```", README, re.S)
    assert block is not None
    recipe = tmp_path / "my.yaml"
    recipe.write_text(block.group(1))
    resolved = load_recipe(recipe)
    assert resolved.recipe.name == yaml.safe_load(block.group(1))["name"]
    assert resolved.origin("training.learning_rate").line is not None


def test_its_recipes_are_all_that_are_shipped() -> None:
    table = re.findall(r"^\| `(\w+)` \|", README, re.M)
    assert sorted(table) == sorted(shipped_recipes())


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_are_there(command: str) -> None:
    assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    for link in links:
        assert (REPOSITORY / link).exists(), link
