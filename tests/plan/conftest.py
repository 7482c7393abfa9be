"""A tiny base on disk, for facts that can be counted on the real thing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny_models import write_base


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with a ChatML tokenizer, in a folder."""
    return write_base(tmp_path_factory.mktemp("base"))
