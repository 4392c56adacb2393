"""Trainers, their checkpoints, histories and stages before training."""
