"""nano as it ships, and the way it is made."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tunesmith.models import nano
from tunesmith.models.nano.build import build
from tunesmith.models.nano.corpus import FAMILIES, sample
from tunesmith.models.nano.machines import draw_machine
from tunesmith.models.nano.muon import orthogonal
from tunesmith.models.nano.notations import NOTATIONS


def test_it_ships_within_twelve_megabytes_and_loads_with_plain_transformers() -> None:
    folder = nano.path()
    assert sum(f.stat().st_size for f in folder.iterdir()) <= 12_000_000
    model = AutoModelForCausalLM.from_pretrained(folder)
    card = json.loads((folder / "card.json").read_text("utf-8"))
    assert model.num_parameters() == card["parameters"]
    assert 2_000_000 <= model.num_parameters() <= 5_000_000
    assert model.generation_config.eos_token_id == model.config.eos_token_id


def test_the_card_tells_what_the_shipped_weights_do() -> None:
    """The card's share of right tokens, measured again on the shipped (bfloat16) weights."""
    from tunesmith.models.attention import PACKED
    from tunesmith.models.nano.build import _held_out

    folder = nano.path()
    card = json.loads((folder / "card.json").read_text("utf-8"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.set_attn_implementation(PACKED)
    found = _held_out(model, AutoTokenizer.from_pretrained(folder), card["seed"] + 1)
    assert set(found) == {family.__name__ for family, _ in FAMILIES}
    for family, figures in found.items():
        assert figures["tokens_right"] == pytest.approx(
            card["held_out"][family]["tokens_right"], abs=0.01
        )


@pytest.mark.parametrize("text", ["idle", "Idle", '"idle" -> "busy"', "naïve ✓\n  x", "  a\n\n b"])
def test_the_tokenizer_gives_every_text_back(text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(nano.path())
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text


def test_a_word_is_the_same_pieces_wherever_it_stands() -> None:
    tokenizer = AutoTokenizer.from_pretrained(nano.path())
    word = tokenizer("idle", add_special_tokens=False)["input_ids"]
    for text in ("From idle, go", '"idle"', "busy_idle", "idle,x"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert any(ids[i : i + len(word)] == word for i in range(len(ids)))


def test_no_dot_is_in_what_it_reads() -> None:
    r = random.Random(5)
    for _ in range(2000):
        chat = sample(r)
        for text in (chat.system, chat.user, chat.answer):
            assert "digraph" not in text
            assert "->" not in text.replace("-->", "")


def test_every_notation_says_every_move() -> None:
    r = random.Random(6)
    for _ in range(200):
        machine = draw_machine(r)
        assert len({(m.source, m.event) for m in machine.moves}) == len(machine.moves)
        reached = {machine.states[0]}
        while more := {m.target for m in machine.moves if m.source in reached} - reached:
            reached |= more
        assert reached == set(machine.states)
        for write in NOTATIONS.values():
            said = write(machine)
            for move in machine.moves:
                assert any(
                    move.source in line and move.event in line and move.target in line
                    for line in said.splitlines()
                )


def test_muon_makes_updates_nearly_orthogonal() -> None:
    torch.manual_seed(0)
    for shape in ((64, 32), (32, 64), (48, 48)):
        singular = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert singular.min() > 0.3
        assert singular.max() < 1.3


def test_building_again_gives_the_same_weights(tmp_path: Path) -> None:
    lines: list[str] = []
    first = build(tmp_path / "a", steps=2, seed=3, progress=lines.append)
    build(tmp_path / "b", steps=2, seed=3, progress=lines.append)
    assert (tmp_path / "a/model.safetensors").read_bytes() == (
        tmp_path / "b/model.safetensors"
    ).read_bytes()
    assert first["tokens"] > 0
    assert lines
    assert "2 steps" in (tmp_path / "a/CARD.md").read_text("utf-8")
