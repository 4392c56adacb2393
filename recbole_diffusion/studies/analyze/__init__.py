"""Figures of runs and comparisons, from what they logged and from their checkpoints."""
