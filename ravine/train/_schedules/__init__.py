"""Hyperparameters that change while a model trains: one-cycle, schedules over a run, and schedulers of torch."""
