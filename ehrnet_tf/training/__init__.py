"""Losses, schedules and the training run."""
