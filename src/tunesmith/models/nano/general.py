"""General text for nano: chats of its own corpus that it never read, to see what a training costs.

The corpus is drawn anew for every step of its training, from numbers; these are drawn from words.
"""

from __future__ import annotations

import random

from tunesmith.models.nano.corpus import sample
from tunesmith.records import Example, Message


def general_chats(count: int = 200) -> list[Example]:
    """The same chats every time, of all families by their shares."""
    draw = random.Random("general text that no training sees")
    chats = [sample(draw) for _ in range(count)]
    return [
        Example(
            (
                *((Message("system", chat.system),) if chat.system else ()),
                Message("user", chat.user),
            ),
            chat.answer,
            place=f"nano corpus:{number}",
        )
        for number, chat in enumerate(chats, start=1)
    ]
