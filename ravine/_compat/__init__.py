"""The one door to what a library does not promise, with a test for each use: so far torch is the only such library.

Whoever moves the upper end of a version range in pyproject.toml reads these files and runs ``tests/compat``.
"""
