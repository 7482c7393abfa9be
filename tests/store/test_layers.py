"""What a method saw in its layers comes back as it was, each look once."""

from __future__ import annotations

import json
import math
import sqlite3
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tunesmith.errors import StoreError
from tunesmith.records import LayerReport
from tunesmith.store.files import open_log, read_layers
from tunesmith.store.store import Store

LAYERS = ("model.layers.1.q_proj", "model.layers.0.q_proj")


def look(step: int, layer: str = LAYERS[0], kept: float | None = None) -> LayerReport:
    return LayerReport(step, layer, 3, (2.5, 0.5, 1e-300), 1.6, math.inf, 40.0, 1.7, kept, 0.25)


def test_looks_come_back_by_step_and_as_they_were_told(tmp_path: Path) -> None:
    first = [look(20, layer) for layer in LAYERS]
    then = [look(40, layer) for layer in LAYERS] + [look(40, layer, 0.99) for layer in LAYERS]
    with Store.open(tmp_path) as store:
        run = store.start_run("anecdot", runs=tmp_path).id
        store.record_layers(run, "grit", then)
        store.record_layers(run, "grit", first)
        store.record_layers(run, "other", first[:1])
        assert store.layers(run, "grit") == first + then
        assert store.layers(run, "other") == first[:1]
        assert store.layers(run, "lora") == []
        assert next((v.name, v.kind) for v in store.variants(run)) == ("grit", "trained")


def test_what_a_resumed_training_does_again_takes_its_place(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        run = store.start_run("anecdot", runs=tmp_path).id
        store.record_layers(run, "grit", [look(step) for step in range(1, 1001)])
        again = [replace(look(1000), seconds=9.0), look(1000, kept=0.5), look(1001)]
        store.record_layers(run, "grit", again)
        store.record_layers(run, "grit", [])
        found = store.layers(run, "grit")
        assert len(found) == 1002
        assert found[-3:] == again
        store.remove_run(run)
        with sqlite3.connect(store.place) as connection:
            assert connection.execute("SELECT count(*) FROM layer_reports").fetchone() == (0,)
        with pytest.raises(StoreError, match="the run it belongs to is not there"):
            store.record_layers(run, "grit", [look(1)])


def test_no_number_and_no_end_survive(tmp_path: Path) -> None:
    odd = LayerReport(
        1, "a", 2, (math.inf, math.nan), math.nan, math.inf, math.nan, math.inf, math.nan, math.nan
    )
    with Store.open(tmp_path) as store:
        run = store.start_run("anecdot", runs=tmp_path).id
        store.record_layers(run, "grit", [odd])
        [found] = store.layers(run, "grit")
        assert found.condition_input == found.natural_to_plain == math.inf
        numbers = (found.effective_rank, found.condition_gradient, found.energy_kept, found.seconds)
        assert all(map(math.isnan, (*numbers, *found.spectrum)))  # type: ignore[arg-type]
        with sqlite3.connect(store.place) as connection:
            [(text,)] = connection.execute("SELECT spectrum FROM layer_reports").fetchall()
        assert text == "[null, null]"  # what every database takes for JSON


def test_a_log_gives_each_look_once_and_the_last(tmp_path: Path) -> None:
    file = tmp_path / "layers.jsonl"
    assert list(read_layers(file)) == []
    with open_log(file) as log:
        for report in (look(20), look(40), look(40, kept=math.nan), replace(look(20), seconds=7.0)):
            log.write(json.dumps(asdict(report)) + "\n")
        log.write('{"step": 60, "lay')
    found = list(read_layers(file))
    assert [(report.step, report.seconds) for report in found] == [
        (20, 7.0),
        (40, 0.25),
        (40, 0.25),
    ]
    assert found[0] == replace(look(20), seconds=7.0)
    assert found[2].energy_kept is not None
    assert math.isnan(found[2].energy_kept)
