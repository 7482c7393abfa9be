"""nano: the embedded base, a Llama of about two million parameters that ships with the package.

It follows short structured instructions (copy, look up, rewrite a state machine in a notation it
knows) and is bad at every recipe's own task, so that a fine-tune has something to prove. CARD.md
beside its weights says what it saw and how it is built again.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["path"]


def path() -> Path:
    """The folder with the weights, the tokenizer and the card; any Llama loader reads it."""
    return Path(__file__).parent / "weights"
