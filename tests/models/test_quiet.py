"""Quiet within the block, and as it was behind it, whatever happened inside."""

from __future__ import annotations

import logging

import pytest
from transformers.utils import logging as transformers_logging

from tunesmith.models.quiet import quiet


@pytest.mark.parametrize("bars", [True, False])
def test_notices_and_bars_are_kept_back_and_come_back(bars: bool) -> None:
    level, shown = transformers_logging.get_verbosity(), transformers_logging._tqdm_active
    transformers_logging._tqdm_active = bars
    try:
        with pytest.raises(OSError, match="no weights"), quiet():
            assert transformers_logging.get_verbosity() == logging.ERROR
            assert not transformers_logging.is_progress_bar_enabled()
            raise OSError("no weights")
        assert transformers_logging.get_verbosity() == level
        assert transformers_logging.is_progress_bar_enabled() == bars
    finally:
        transformers_logging._tqdm_active = shown
