"""Without bitsandbytes: LoRA on the base as it is, said once, and recorded as what it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from tunesmith.config import load_recipe
from tunesmith.errors import ModelError
from tunesmith.models.hardware import find_hardware
from tunesmith.pipeline.fallback import as_possible
from tunesmith.records import Hardware

REASON = "bitsandbytes is not installed"


@pytest.fixture(scope="module")
def hardware() -> Hardware:
    """This machine as it would be without bitsandbytes."""
    return replace(find_hardware(), four_bit=False, four_bit_reason=REASON, bf16_fast=False)


def test_a_variant_in_4_bits_becomes_what_it_is(hardware: Hardware) -> None:
    said: list[str] = []
    sets = ("methods.lora=null", "methods.qlora.training.lora_r=4")
    resolved = as_possible(load_recipe("anecdot", sets=sets), hardware, said.append)
    assert set(resolved.recipe.methods) == {"lora"}
    assert resolved.recipe.methods["lora"].method == "lora"
    assert not resolved.recipe.four_bit("lora")
    assert resolved.recipe.method_settings("lora").lora_r == 4
    assert resolved.origin("methods.lora.training.lora_r").kind == "set"
    assert said == [f"no 4-bit base ({REASON}), float32 instead: qlora becomes lora"]


def test_a_variant_that_would_be_another_is_left_out(hardware: Hardware) -> None:
    said: list[str] = []
    resolved = as_possible(load_recipe("anecdot"), hardware, said.append)
    assert set(resolved.recipe.methods) == {"lora"}
    assert "qlora is left out" in said[0]


def test_variants_that_differ_otherwise_stay_two(hardware: Hardware) -> None:
    sets = ("methods.qlora.training.lora_r=4",)
    resolved = as_possible(load_recipe("anecdot", sets=sets), hardware, [].append)
    assert set(resolved.recipe.methods) == {"lora", "lora_unquantised"}


def test_a_base_in_4_bits_for_every_method(hardware: Hardware) -> None:
    sets = ("methods.qlora=null", "model.load_in_4bit=true")
    said: list[str] = []
    resolved = as_possible(load_recipe("anecdot", sets=sets), hardware, said.append)
    assert not resolved.recipe.four_bit(None)
    assert not resolved.recipe.four_bit("lora")
    assert len(said) == 1


def test_adapters_on_a_4_bit_base_are_not_put_on_another(hardware: Hardware) -> None:
    sets = ("methods.lora=null", "model.adapters=[somewhere]")
    with pytest.raises(ModelError, match="want a base in 4 bits"):
        as_possible(load_recipe("anecdot", sets=sets), hardware, [].append)


def test_nothing_changes_where_nothing_is_missing(hardware: Hardware) -> None:
    whole = load_recipe("anecdot")
    assert as_possible(whole, replace(hardware, four_bit=True), [].append) is whole
    plain = load_recipe("anecdot", sets=("methods.qlora=null",))
    assert as_possible(plain, hardware, [].append) is plain


def without(package: str, folder: Path) -> dict[str, str]:
    """An environment in which a package is not installed: all others, linked."""
    folder.mkdir()
    for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(place).iterdir():
            if not entry.name.startswith((package, "__editable__", "_tunesmith")):
                (folder / entry.name).symlink_to(entry)
    source = Path(__file__).parents[2] / "src"
    return dict(os.environ) | {"PYTHONPATH": f"{folder}{os.pathsep}{source}"}


@pytest.mark.slow
def test_a_run_without_bitsandbytes(tmp_path: Path) -> None:
    environment = without("bitsandbytes", tmp_path / "packages")
    sets = (
        *("methods.lora=null", "data.sources.machines.rows=40", "data.sources.unseen.rows=12"),
        *("training.max_steps=2", "evaluation.max_new_tokens=8", "evaluation.replicates=200"),
    )
    command = [sys.executable, "-S", "-m", "tunesmith", "run", "anecdot", "--json"]
    command += [*(f"--set={value}" for value in sets), "--home", str(tmp_path / "home")]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"no 4-bit base ({REASON})") == 1
    told = json.loads(done.stdout)
    assert "qlora" not in json.dumps(told["variants"])
    assert "lora" in told["variants"]
    assert all(
        "bitsandbytes" not in line for line in done.stderr.splitlines() if "4-bit" not in line
    )
    kept = next((tmp_path / "home" / "artefacts").glob("adapter-*"))
    manifest = json.loads((kept / "manifest.json").read_text())
    assert manifest["inputs"]["method"] == "lora"
    assert manifest["inputs"]["four_bit"] is False
    assert "bitsandbytes" not in manifest["inputs"]["versions"]
