"""Watching a run: what every step did to every parameter, where a NaN came from, and what went wrong in words."""

from ravine.watch.diagnose import Diagnosis, Finding, diagnose
from ravine.watch.evidence import Evidence

__all__ = ["Diagnosis", "Evidence", "Finding", "diagnose"]
