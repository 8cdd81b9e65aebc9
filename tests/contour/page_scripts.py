"""The parts of the playground's script that are functions of numbers and text alone, to be run in node."""

from pathlib import Path

import ravine

TEMPLATES = Path(ravine.__file__).parent / "contour" / "templates"


def script(*names: str) -> str:
    return "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)
