"""Looks at a whole run and says in plain words what is wrong with it.

evidence.py     what is known of a run, as plain arrays
rules.py        the table of rules; rate_rules.py, curve_rules.py and layer_rules.py are their checks
readings.py     figures and words that several rules use
diagnosis.py    ``diagnose(run)``
"""
