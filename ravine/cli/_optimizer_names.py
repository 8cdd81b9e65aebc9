"""The named optimizers by family, read from the text of their files: without torch, whose import takes seconds.

A test compares them with the registry.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import ravine

_FOLDER = Path(ravine.__file__).parent / "optim"


def families() -> dict[str, list[str]]:
    """For each optimizer class its name, and those of its special cases, in the order of ``ravine.optim``."""
    by_name = {}
    for module, names in _imported(_parsed("__init__")).items():
        tree = _parsed(module)
        for node in tree.body:
            if not isinstance(node, ast.ClassDef) or node.name not in names - {"Optimizer"}:
                continue
            values = _assigned(node)
            if "reference" in values:  # only optimizers name a paper
                by_name[node.name.lower()] = list(_keys(values.get("variants"), tree))
    return by_name


def _parsed(module: str) -> ast.Module:
    file = _FOLDER / f"{module}.py"
    return ast.parse(file.read_text(encoding="utf-8")) if file.is_file() else ast.Module([], [])


def _imported(tree: ast.Module) -> dict[str, set[str]]:
    """The names that a file imports from each module of the folder."""
    imports = (node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module)
    return {
        str(node.module).removeprefix("ravine.optim."): {alias.name for alias in node.names}
        for node in imports
        if str(node.module).startswith("ravine.optim.")
    }


def _assigned(node: ast.ClassDef | ast.Module) -> Mapping[str, ast.expr | None]:
    """What is assigned in a class or a file, by name."""
    values: dict[str, ast.expr | None] = {}
    for line in node.body:
        targets = (
            [line.target] if isinstance(line, ast.AnnAssign) else line.targets if isinstance(line, ast.Assign) else []
        )
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(line, ast.AnnAssign | ast.Assign):
                values[target.id] = line.value
    return values


def _keys(node: ast.expr | None, tree: ast.Module) -> Iterator[str]:
    """The keys of a dict that is written out, or made with ``f"text{key}"`` from the keys of one of another file."""
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:  # **{...}
                yield from _keys(value, tree)
            elif isinstance(key, ast.Constant):
                yield str(key.value)
    elif isinstance(node, ast.DictComp) and isinstance(node.key, ast.JoinedStr):
        prefix = "".join(str(part.value) for part in node.key.values if isinstance(part, ast.Constant))
        over = {name.id for name in ast.walk(node.generators[0].iter) if isinstance(name, ast.Name)}
        for module, names in _imported(tree).items():
            for name in names & over:
                yield from (f"{prefix}{key}" for key in _keys(_assigned(_parsed(module)).get(name), tree))
