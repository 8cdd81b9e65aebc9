"""``python -m ravine``: the command ``ravine``."""

from ravine.cli import main

main()
