"""Finds the module that a NaN came from, and keeps what reproduces it.

find.py          ``find_nonfinite(model, batch)``: runs the batch again and finds the place
origins.py       watches torch's operations and the modules they belong to; operations.py knows which of them matter
finding.py       what was found, in words; value_range.py describes tensors
reproduction.py  the file that reproduces it; reproduce.py runs it
isolation.py     runs a model so that nothing of it is changed afterwards
"""
