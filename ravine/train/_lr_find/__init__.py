"""Suggests a learning rate from the losses of a training at rising rates.

finder.py          trains copies of what is trained, once for each order of the data
sweep.py           one sweep: a step at each rate, and the rule that ends it
lr_rules.py        what the losses say about the rate to train with
lr_find_result.py  the result, as text and JSON; lr_plot.py draws it
"""
