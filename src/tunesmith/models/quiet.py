"""Keep back what transformers says on the side: bars for each shard, notices on weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and notices in the block: they are not the user's business."""
    hide_bars: Callable[[], None] = transformers_logging.disable_progress_bar
    show_bars: Callable[[], None] = transformers_logging.enable_progress_bar
    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    hide_bars()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            show_bars()
