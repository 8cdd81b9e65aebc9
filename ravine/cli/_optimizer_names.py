"""The named optimizers by family, read from the text of their files: without torch, whose import takes seconds."""

from __future__ import annotations

import ast
from pathlib import Path

import ravine

_FOLDER = Path(ravine.__file__).parent / "optim"


def families() -> dict[str, list[str]]:
    """For each optimizer class its name, and those of its special cases, in the order of ``ravine.optim``."""
    found = {}
    for node in ast.parse((_FOLDER / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ravine.optim._"):
            file = _FOLDER / f"{(node.module or '').rpartition('.')[2]}.py"
            wanted = {alias.name for alias in node.names}
            if file.is_file():  # not a folder
                classes = ast.parse(file.read_text(encoding="utf-8")).body
                for one in classes:
                    if isinstance(one, ast.ClassDef) and (names := _names(one, wanted)) is not None:
                        found[one.name.lower()] = names
    return found


def _names(node: ast.ClassDef, wanted: set[str]) -> list[str] | None:
    """The variants of an optimizer class; None if it is something else. Only optimizers name a paper as ``reference``."""
    if node.name not in wanted or node.name == "Optimizer":
        return None
    assigned = {
        n.target.id: n.value for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
    }
    for plain in (n for n in node.body if isinstance(n, ast.Assign)):
        assigned.update({target.id: plain.value for target in plain.targets if isinstance(target, ast.Name)})
    if "reference" not in assigned:
        return None
    variants = assigned.get("variants")
    keys = variants.keys if isinstance(variants, ast.Dict) else []
    return [str(key.value) for key in keys if isinstance(key, ast.Constant)]
