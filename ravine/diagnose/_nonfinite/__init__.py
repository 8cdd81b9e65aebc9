"""Finds the module that a NaN came from, and keeps what reproduces it.

tracing.py      ``trace(model, batch)``: runs the batch again and finds the place
recording.py    watches torch's operations and the modules they belong to; operations.py knows which of them matter
finding.py      what was found, in words; span.py describes tensors
case.py         the file that reproduces it; reproducing.py runs it
replay.py       runs a model so that nothing of it is changed afterwards
"""
