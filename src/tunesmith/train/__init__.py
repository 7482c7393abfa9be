"""Train adapters: one loop, batches without padding, checkpoints; a method is a file beside it."""
