"""The one door to what other libraries do not promise: a module for each library, and a test for each use.

Whoever moves the upper end of a version range reads these files and runs ``tests/compat``.
"""
