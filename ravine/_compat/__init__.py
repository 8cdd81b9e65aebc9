"""The one door to what a library does not promise, a module for each library (of torch three), with a test for each use.

``tests/test_architecture.py`` finds private names that are used elsewhere.
Whoever moves the upper end of a version range in pyproject.toml reads these files and runs ``tests/compat``.
"""
