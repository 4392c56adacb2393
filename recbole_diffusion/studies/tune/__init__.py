"""Hyper-parameter search on validation: seeded, within a budget, resumable and shared."""
