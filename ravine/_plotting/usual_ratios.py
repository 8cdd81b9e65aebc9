"""The band of update over parameter that healthy runs have: what pictures, pages and the diagnosis call usual."""

#: The median of update over parameter in healthy runs of this project's small models (``benchmarks/update_ratios.py``).
#: A transformer of a usual size has less, about 1e-3.
USUAL = (1e-3, 3e-2)
#: The same in words.
USUAL_TEXT = f"{USUAL[0]:g} to {USUAL[1]:g}"
