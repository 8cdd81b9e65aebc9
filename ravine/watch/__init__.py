"""Watching a run: what every step did to every parameter.

_watch.py    what ``optimizer.watch`` is
_record.py   gathers the figures of steps; _history.py, _table.py and _history_plots.py show them
"""
