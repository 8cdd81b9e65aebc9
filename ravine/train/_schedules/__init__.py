"""Hyperparameters that change while a model trains.

torch_scheduler.py  torch's schedulers as callbacks, and one that acts on a plateau
hyper_schedule.py   any hyperparameter as a function of progress; one_cycle.py is one of these
_ranges.py          which values their arguments may have
by_text.py          schedules by text, for the command line
"""
