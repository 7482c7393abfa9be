"""Models: load (base, adapter, quantisation), render (messages to ids), generate, score."""
