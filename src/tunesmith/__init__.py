"""Fine-tune a small language model on your own data, and prove that it got better."""

__version__ = "0.1.0"
