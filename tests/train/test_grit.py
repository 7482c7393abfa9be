"""GRIT in the loop: resumption, processes, four bits, settings at the edge, bad input."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from looking import (
    CHANGING,
    OFTEN,
    KilledError,
    change,
    core,
    looked_at,
    plain_gradients,
    run,
    sums_of,
    weights,
    with_grit,
)
from tiny_models import load_base
from tunesmith.config import TrainingSettings
from tunesmith.errors import ConfigError, TrainingError
from tunesmith.models.hardware import four_bit_support
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded
from tunesmith.train import checkpoint as checkpoints
from tunesmith.train.computing import Computation
from tunesmith.train.method import get_method


@pytest.fixture
def looked(base_folder: Path, encoded: list[Encoded], settings: TrainingSettings) -> Computation:
    """GRIT on the base behind one look at four examples, every gradient there."""
    return looked_at(base_folder, encoded, settings)


def test_it_trains_as_lora_does_and_tells_what_it_saw(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    """Exact, padded (in a pack a look keeps examples apart, which rounds otherwise): before the
    first look (here for good: warm-up) the losses are LoRA's, and behind it they are not. All
    figures are told, finite or infinite."""
    losses, padded = {}, settings.model_copy(update={"packing": False})
    for name, method, grit in (
        ("lora", "lora", {}),
        ("warm", "grit", {**OFTEN, "warmup_steps": 99, "compact_at_end": False}),
        ("grit", "grit", OFTEN),
    ):
        _, steps, _, layers = run(
            load_base(base_folder), encoded, padded, tmp_path / name, method=method, grit=grit
        )
        losses[name] = [s.loss for s in steps]
    assert losses["warm"] == losses["lora"]
    assert losses["grit"][:2] == losses["lora"][:2]
    assert losses["grit"][3:] != losses["lora"][3:]
    assert {r.step for r in layers} == {2, 4, 6}
    assert len(layers) == 3 * 14
    for report in layers:
        assert report.rank == len(report.spectrum) == 4
        assert 0 < report.natural_to_plain < 1e6
        assert 1 <= report.effective_rank <= 4
        assert report.condition_input >= 1
        assert report.condition_gradient >= 1


@pytest.mark.parametrize("after", ["compact", "refresh", "freeze"])
def test_three_steps_a_kill_and_the_rest_are_the_whole_to_the_bit(
    base_folder: Path,
    tmp_path: Path,
    encoded: list[Encoded],
    settings: TrainingSettings,
    after: str,
) -> None:
    """To the bit: losses, norms and adapter, with a reprojection before the kill and two behind it.
    Counter: with the averages of the checkpoint at zero, they differ."""
    more = {"grit": {**CHANGING, "after": after}, "save_steps": 1, "lora_dropout": 0.1}
    whole, steps, _, _ = run(load_base(base_folder), encoded, settings, tmp_path / "whole", **more)
    expected = [(s.loss, s.grad_norm, s.validation_loss) for s in steps]
    for dropped in (False, True):
        place = tmp_path / f"cut_{dropped}"
        with pytest.raises(KilledError):
            run(load_base(base_folder), encoded, settings, place, kill_at=4, **more)
        if dropped:
            found = checkpoints.newest(place, print)
            assert found is not None
            kept = {k: v if k == "ranks" else torch.zeros_like(v) for k, v in found.method.items()}
            checkpoints.save(place, replace(found, method=kept), keep=9)
        cut, rest, said, _ = run(load_base(base_folder), encoded, settings, place, **more)
        assert said[0] == "variant: resumed at step 3 of 6"
        same = [(s.loss, s.grad_norm, s.validation_loss) for s in rest] == expected[3:]
        one, other = weights(whole), weights(cut)
        equal = one.keys() == other.keys() and all(
            one[k].shape == other[k].shape and torch.equal(one[k], other[k]) for k in one
        )
        assert (same, equal) == (not dropped, not dropped)


PROGRAM = """
import sys
from datetime import timedelta
from pathlib import Path
from tiny_models import load_base, questions
from tunesmith.config import ModelSettings, TrainingSettings
from tunesmith.errors import ConfigError
from tunesmith.train.helping import launch
from tunesmith.train.job import TrainingJob
from tunesmith.train.loop import train
from tunesmith.train.method import get_method

base, folder, settings = sys.argv[1:]

def program():
    loaded = load_base(Path(base))
    encoded = loaded.renderer.examples(questions(24))
    told = TrainingSettings.model_validate_json(settings)
    changing = told.grit.model_copy(update={"reprojection_freq": 2, "after": "compact"})
    for asked in (told.model_copy(update={"grit": changing}), told):
        job = TrainingJob(
            "shared", encoded, encoded[:6], asked, 1, Path(folder), say=print,
            base=ModelSettings(name=base, dtype="float32"),
        )
        try:
            train(loaded, get_method("grit"), job)
        except ConfigError as error:
            print("refused:", error.message)

launch(program, answer=timedelta(seconds=60))
"""


@pytest.mark.slow
def test_two_processes_are_one(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    """Adapters to 1e-4 relative, 1e-6 absolute (as for lora), over six steps with three looks.
    Counter: with the statistics of half of the tokens, the adapter is another. Ranks that change on
    the way, which the other process would not hear of, are refused."""
    more = {"grit": {**OFTEN, "compact_at_end": False, "inner": "sgd"}}
    alone, _, _, _ = run(load_base(base_folder), encoded, settings, tmp_path / "alone", **more)
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "program.py").write_text(PROGRAM)
    told = TrainingSettings.model_validate(settings.model_dump() | more).model_dump_json()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *("--master-addr", "127.0.0.1", "--master-port", "0", "--rdzv-backend", "c10d"),
            *("--rdzv-endpoint", "127.0.0.1:0", "program.py", str(base_folder), str(shared), told),
        ],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
        cwd=shared,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "refused: grit.after: compact on the way" in done.stdout
    assert "2 processes share each step" in done.stdout
    together = load_file(shared / "adapter" / "adapter_model.safetensors")
    lora, _, _, _ = run(
        load_base(base_folder),
        encoded,
        settings,
        tmp_path / "part",
        grit={**more["grit"], "token_stride": 2},
    )
    for name, tensor in weights(alone).items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-4, atol=1e-6)
    assert any(
        not torch.allclose(weights(lora)[n], t, rtol=1e-4, atol=1e-6)
        for n, t in weights(alone).items()
    )


@pytest.mark.skipif(not four_bit_support()[0], reason=four_bit_support()[1] or "4-bit")
def test_a_base_in_four_bits_trains(
    base_folder: Path, tmp_path: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    """The loss falls by more than 1 nat in 24 steps, with reports of every layer."""
    loaded = load_base(base_folder, four_bit=True)
    _, steps, _, layers = run(loaded, encoded, settings, tmp_path, grit=OFTEN, num_train_epochs=4)
    assert steps[-1].loss < steps[0].loss - 1
    assert len({r.layer for r in layers}) == 14


@pytest.mark.parametrize(
    "changes",
    [
        {"lora_r": 1},
        {"grit": {"preset": "published", "reprojection_freq": 2} | OFTEN},
        {"grit": {**OFTEN, "inner": "sgd", "graft": True, "inverse": "eigh", "clip": "plain"}},
        {"lora_r": 40, "grit": {**CHANGING, "after": "refresh"}},
    ],
)
def test_settings_at_the_edge_train(
    base_folder: Path,
    tmp_path: Path,
    encoded: list[Encoded],
    settings: TrainingSettings,
    changes: dict[str, Any],
) -> None:
    """Rank 1, the published preset, every other way, more directions than the layer is wide: every
    weight is finite and the loss falls."""
    changes = {"grit": OFTEN, **changes}
    adapter, steps, _, _ = run(load_base(base_folder), encoded, settings, tmp_path, **changes)
    assert all(bool(w.isfinite().all()) for w in weights(adapter).values())
    assert steps[-1].loss < steps[0].loss


def test_more_directions_than_there_are_are_refused(
    loaded: Loaded, settings: TrainingSettings
) -> None:
    wanted = settings.model_copy(
        update={"grit": settings.grit.model_copy(update={"reprojection_k": 5})}
    )
    with pytest.raises(ConfigError, match=r"reprojection_k is 5, and .*q_proj has rank 4"):
        get_method("grit").attach(loaded.model, wanted)


def test_grafting_keeps_each_layer_s_norm(looked: Computation, encoded: list[Encoded]) -> None:
    """1e-5 relative. Counter: without, the norms differ by more than 5 %."""
    for graft in (True, False):
        grit = change(looked, graft=graft)
        plain = [torch.hypot(a.norm(), b.norm()) for a, b in plain_gradients(looked, encoded[4:8])]
        grit.precondition(4)
        natural = [torch.hypot(x.a.grad.norm(), x.b.grad.norm()) for x in grit.layers]
        off = (torch.stack(natural) / torch.stack(plain) - 1).abs()
        assert float(off.max()) < 1e-5 if graft else float(off.max()) > 0.05


def test_sums_of_the_loop_are_taken_at_its_looks_alone(
    base_folder: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    """Exact: by default at steps 2, 3, 5, 9 and every twentieth."""
    compute = with_grit(load_base(base_folder), encoded, settings)
    seen = [n for n in range(1, 61) if core(compute).core.seen.looks_at(n)]
    assert seen == [2, 3, 5, 9, 20, 40, 60]
    assert sums_of(compute, encoded[:4])[0].abs().sum() > 0
    compute.method.begin(4, 30)
    assert list(compute.method.statistics()) == []


def test_a_checkpoint_of_another_model_is_refused(
    base_folder: Path, encoded: list[Encoded], settings: TrainingSettings
) -> None:
    whole = with_grit(load_base(base_folder), encoded, settings)
    part = with_grit(load_base(base_folder), encoded, settings, target_modules=["q_proj"])
    with pytest.raises(TrainingError, match="statistics of 2 layers, the model has 14"):
        core(whole).load_state(core(part).state())
