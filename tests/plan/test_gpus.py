"""The table of GPUs: found by any spelling, overridden by the user's file, refused with a hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.errors import ConfigError
from tunesmith.plan import find_gpu, load_gpus, match_gpu


def test_a_gpu_is_found_as_people_and_drivers_call_it() -> None:
    table = load_gpus()
    for said, name in {
        "a40": "A40",
        "rtx 4090": "RTX 4090",
        "RTX4090": "RTX 4090",
        "NVIDIA GeForce RTX 4090": "RTX 4090",
        "NVIDIA A100-SXM4-80GB": "A100 80GB",
        "a100-40gb": "A100 40GB",
        "NVIDIA H100 80GB HBM3": "H100",
        "NVIDIA H200": "H200",
        "Tesla T4": "T4",
        "a6000": "RTX A6000",
    }.items():
        assert find_gpu(said, table).name == name


def test_the_table_holds_what_the_data_sheets_say() -> None:
    """Dense figures: NVIDIA's sheets of H100 (989.4, 3.35 TB/s), A40 (149.7), L4 (242 sparse)."""
    table = {gpu.name: gpu for gpu in load_gpus()}
    assert (table["H100"].bf16, table["H100"].bandwidth) == (989.4, 3350)
    assert table["A40"].bf16 == 149.7
    assert table["L4"].bf16 == 242 / 2
    assert not table["T4"].hardware().bf16_fast
    assert {"RTX 3090", "RTX 4090", "A10", "L4", "A40", "A100 80GB", "H100", "H200"} <= set(table)
    assert all(gpu.read and gpu.page and gpu.usd > 0 for gpu in table.values())


def test_an_unknown_gpu_is_refused_with_the_nearest_and_all_of_them() -> None:
    with pytest.raises(ConfigError, match="--gpu rtx 4900: no such GPU") as caught:
        find_gpu("rtx 4900", load_gpus())
    assert "did you mean RTX 4090?" in caught.value.hint
    assert "H200" in caught.value.hint
    assert "HOME/gpus.toml" in caught.value.hint
    assert match_gpu("tpu", load_gpus()) is None


def test_the_users_file_changes_a_price_and_adds_a_card(tmp_path: Path) -> None:
    (tmp_path / "gpus.toml").write_text(
        '[gpus.a40]\nusd = 0.2\n\n[gpus."Own card"]\nmemory = 12\nbf16 = 25\nfp32 = 12.5\n'
        "bandwidth = 360\nusd = 0\n",
        "utf-8",
    )
    table = load_gpus(tmp_path)
    assert find_gpu("A40", table).usd == 0.2
    assert find_gpu("A40", table).memory == find_gpu("a40", load_gpus()).memory
    assert find_gpu("own card", table).hardware().device_memory == 12 * 2**30
    assert len(table) == len(load_gpus()) + 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[gpus.A40\n", "gpus.toml"),
        ("[cards.A40]\nusd = 1\n", "no table of GPUs"),
        ("[gpus.A40]\nprice = 1\n", "unknown key price"),
        ("[gpus.A40]\nusd = 'cheap'\n", "usd must be a positive number"),
        ("[gpus.A40]\nmemory = 0\n", "memory must be a positive number"),
        ("[gpus.New]\nusd = 1\n", "memory is missing"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "gpus.toml").write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=said):
        load_gpus(tmp_path)
