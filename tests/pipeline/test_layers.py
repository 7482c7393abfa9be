"""What GRIT sees in its layers reaches log, store and report, each look once, run by run."""

from __future__ import annotations

from pathlib import Path

import pytest

from small_runs import Ear
from tunesmith.config import load_recipe
from tunesmith.pipeline import run_recipe
from tunesmith.records import LayerReport
from tunesmith.store.files import read_layers
from tunesmith.store.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline")]

SMALL = (
    "data.sources.machines.rows=40",
    "data.sources.unseen.rows=6",
    "methods.lora=null",
    "methods.qlora=null",
    "methods.grit.training.grit.factor_update_freq=2",
    "methods.grit.training.grit.reprojection_freq=4",
    "training.max_steps=6",
    "training.save_steps=3",
    "evaluation.max_new_tokens=8",
    "evaluation.replicates=200",
)


class Plug(Ear):
    """A listener at whose first word about the fifth step the lights go out."""

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        super().progress(what, done, total, note)
        if (what, done) == ("train grit", 5):
            raise RuntimeError("dark")


def places(looks: list[LayerReport]) -> list[tuple[int, str, bool]]:
    return [(look.step, look.layer, look.energy_kept is not None) for look in looks]


def test_a_broken_and_resumed_training_tells_each_look_once(tmp_path: Path) -> None:
    recipe = load_recipe("anecdot", sets=SMALL)
    with pytest.raises(RuntimeError, match="dark"):
        run_recipe(recipe, home=tmp_path, listener=Plug())
    [partial] = tmp_path.glob("artefacts/adapter-*/layers.jsonl")
    before = list(read_layers(partial))
    assert {look.step for look in before} == {4}  # at step 2 B is zero still: nothing is seen
    ear = Ear()
    done = run_recipe(recipe, home=tmp_path, listener=ear, resume=True)
    assert "grit: resumed at step 3 of 6" in ear.lines
    [file] = tmp_path.glob("artefacts/adapter-*/layers.jsonl")
    told = list(read_layers(file))
    lines = file.read_text().splitlines()
    layers = {look.layer for look in told}
    assert len(told) == 3 * len(layers)  # looks at 4 and 6, and what the reprojection at 4 kept
    assert len(lines) == 5 * len(layers)  # step 4 was done twice
    with Store.open(tmp_path) as store:
        kept = store.layers(done.id, "grit")
        assert kept == told
        assert len(set(places(kept))) == len(kept)
        assert [look for look in kept if look.step == 2] == [b for b in before if b.step == 2]
    page = Path(done.summary["report"]).read_text("utf-8")
    assert "Inside grit" in page
    assert "Seen at 2 of 6 steps" in page
    assert page.count('role="img" aria-label="Effective rank by layer and step') == 1

    again = run_recipe(recipe, home=tmp_path, listener=(second := Ear()))
    assert "grit: trained before from the same inputs; taken as it is" in second.lines
    with Store.open(tmp_path) as store:
        assert again.id != done.id
        assert store.layers(again.id, "grit") == kept
        assert store.layers(again.id, "baseline") == []
