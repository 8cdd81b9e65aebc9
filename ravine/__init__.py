"""Ravine: PyTorch optimizers written as formulas, run as one fused pass over memory, compared fairly.

Importing this package loads nothing but its version; the parts are imported where they are used:
``from ravine.optim import RMSprop``, ``from ravine.formula import sqrt``.
"""

__version__ = "0.1.0"
