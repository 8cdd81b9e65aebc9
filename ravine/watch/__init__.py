"""Watching a run: what every step did to every parameter, where a NaN came from, and what went wrong in words."""
