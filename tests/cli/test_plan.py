"""What `tunesmith plan` shows: needs first, then every setting of every method."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from small_runs import SMALL
from tunesmith.cli.app import app
from tunesmith.cli.plan import forecast_json, show_forecasts
from tunesmith.plan import Forecast, Machine, Memory
from tunesmith.records import Choice, Plan

pytestmark = pytest.mark.xdist_group("pipeline")


def made(rank: int, steps: int) -> Forecast:
    choices = (
        Choice("per_device_train_batch_size", 8, "examples of a micro-batch", "default"),
        Choice("lora_r", rank, "rank of the adapter", "recipe, line 7"),
        Choice("report_to", (), "trackers beside the store", "default"),
    )
    return Forecast(
        plan=Plan(choices, steps, 2**30, None, None, True),
        memory=Memory(2**29, 0, 0, 0, 2**29, 0, 0, 0, 0),
        device="laptop",
        device_memory=2**33,
        gpu=None,
        time="nobody measured it",
        cheapest=Machine("L4", 2**31, 90.0, 0.011, "$0.44 an hour"),
        advice=(),
        warnings=("label 'no' is rare",),
    )


def test_needs_come_first_and_every_method_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show_forecasts({"lora": made(16, 72), "qlora": made(8, 36)})
    printed = capsys.readouterr().out
    assert printed.startswith("lora 72 steps, about 1.00 GiB: fits laptop (8.0 GiB)\n")
    told = " ".join(printed.split())
    assert "memory weights 0.50 GiB, activations 0.50 GiB" in told
    assert "time not known: nobody measured it" in told
    assert "cheapest L4: about $0.01, 1 min 30 s, 2.0 GiB ($0.44 an hour" in told
    assert "warning label 'no' is rare" in told
    assert "qlora 36 steps, about 1.00 GiB: fits" in told
    assert "per_device_train_batch_size 8 examples of a default" in told
    assert "lora_r 16 (lora) rank of the adapter recipe, line 7" in told
    assert "lora_r 8 (qlora) rank of the adapter recipe, line 7" in told
    assert "report_to none" in told


def test_the_json_has_what_other_programs_rely_on() -> None:
    told = json.loads(json.dumps(forecast_json(made(16, 72))))
    assert {"hyperparameters", "memory_bytes", "seconds", "cost_usd", "fits"} <= set(told)
    assert told["hyperparameters"]["lora_r"] == {
        "value": 16,
        "reason": "rank of the adapter",
        "source": "recipe, line 7",
    }
    assert told["memory"]["weights"] == 2**29
    assert told["cheapest"]["gpu"] == "L4"


def invoke(*arguments: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, ["plan", *arguments])
    return found.exit_code, found.stdout, found.stderr


def test_a_plan_for_a_named_gpu(tmp_path: Path) -> None:
    (tmp_path / "gpus.toml").write_text("[gpus.A40]\nusd = 1000\n", "utf-8")
    sets = [part for each in SMALL for part in ("--set", each)]
    code, said, _ = invoke("anecdot", "--gpu", "a40", "--json", "--home", str(tmp_path), *sets)
    assert code == 0
    told = json.loads(said)
    assert told["gpu"]["name"] == told["device"]["name"] == "A40"
    assert told["cost_usd"] == pytest.approx(told["seconds"] / 3.6)
    assert told["fits"] is True
    assert told["memory_bytes"] == sum(told["memory"].values())
    assert set(told["methods"]) == {"lora", "qlora"}
    for choice in told["hyperparameters"].values():
        assert choice["reason"]
        assert choice["source"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("anecdot", "--gpu", "a41"), "did you mean A40?"),
        (("anecdot", "--method", "grit"), "the recipe has no method 'grit'"),
        (("anecdto",), "anecdto"),
        (("anecdot", "--set", "model.name=./nowhere"), "no such folder"),
        (("anecdot", "--set", "training.mode=adaptve"), "did you mean adaptive?"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_two_lines(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    code, _, error = invoke(*arguments, "--home", str(tmp_path))
    assert code == 2
    assert said in " ".join(error.split())
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_a_model_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "tokenizer.json").write_text("{}", "utf-8")
    for config, reason in (('{"model_type": "martian"}', "martian"), ("{}", "configuration")):
        (base / "config.json").write_text(config, "utf-8")
        code, _, error = invoke("anecdot", "--set", f"model.name={base}", "--home", str(tmp_path))
        assert code == 2
        assert reason in error
        assert "Traceback" not in error
