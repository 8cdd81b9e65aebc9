"""Trains one task with several optimizers from the same start on the same batches.

Knows tasks and optimizers; knows no pictures, tables or command line.
"""
