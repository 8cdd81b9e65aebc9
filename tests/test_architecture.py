"""The architecture stays true: who may know whom, what importing costs, and how long a file may be."""

import ast
import functools
import graphlib
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Module
from torch.optim.lr_scheduler import LRScheduler

from ravine import _extensions
from ravine.train import Callback

PACKAGE = Path(__file__).parent.parent / "ravine"
#: What every folder may import: errors, and the few private helpers that know nothing themselves.
EVERYBODY = {
    "errors",
    "_files",
    "_randomness",
    "_one_thread",
    "_whole_numbers",
    "_answered_names",
    "_line_of_user",
    "_written_alike",
    "_lazy",
    "_compat",
    "__version__",
    "_extensions",
    "_fallback_characters",
}


def rooms() -> dict[str, set[str]]:
    """Which other folders each folder may import from: the table of rooms in ARCHITECTURE.md."""
    section = (PACKAGE.parent / "ARCHITECTURE.md").read_text(encoding="utf-8").split("## Rooms")[1].split("\n## ")[0]
    table = dict(re.findall(r"^\| `(\w+)/` \|.*\| ([^|]+) \|$", section, re.M))
    every = {"everything": set(table), "–": set()}
    known = {room: every.get(text) or {*text.split(", ")} - {"–"} for room, text in table.items()}
    return {"_files": set(), "_compat": set()} | {room: names - {room} for room, names in known.items()}


MAY_KNOW = rooms()
FILES = sorted(PACKAGE.rglob("*.py"))


class Read(NamedTuple):
    """What is looked at in a file: parsing them all takes two seconds, and is done once."""

    lines: int
    docstring: str | None
    docstrings: list[str]  # of it, its classes and functions
    classes: list[str]
    imports: list[tuple[str, list[str]]]  # the module after ``from``, else nothing, and the names
    defined: set[str]  # the names that it gives to something of its own
    private: set[str]  # the private names that it takes: attributes, and what it imports from other packages


@functools.cache
def read(path: Path) -> Read:
    text = path.read_text(encoding="utf-8")
    return read_text(text, str(path))


def read_text(text: str, path: str = "") -> Read:
    module = ast.parse(text)
    found = Read(len(text.splitlines()), ast.get_docstring(module), [], [], [], set(), set())
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            found.docstrings.append(ast.get_docstring(node) or "")
        if isinstance(node, ast.ClassDef):
            found.classes.append(node.name)
        elif isinstance(node, ast.Import):
            found.imports.append(("", [a.name for a in node.names]))
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found.imports.append((node.module, [a.name for a in node.names]))
        found.defined.update(given_name(node))
        found.private.update(name for name in taken_names(node) if is_private(name))
    return found


def given_name(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
            yield name
        case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
            yield name


def taken_names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
            yield f"self.{name}"
        case ast.Attribute(attr=name):
            yield name
        case ast.Call(
            func=ast.Name(id="getattr" | "hasattr" | "setattr" | "delattr"), args=[_, ast.Constant(str(name)), *_]
        ):
            yield name
        case ast.Import(names=names):
            yield from (part for alias in names for part in parts_of_others(alias.name))
        case ast.ImportFrom(module=str(module), names=names):
            yield from (part for alias in names for part in parts_of_others(f"{module}.{alias.name}"))


def parts_of_others(path: str) -> list[str]:
    parts = path.split(".")
    return [] if parts[0] in ("ravine", "__future__") else parts


def is_private(name: str) -> bool:
    """``_repr_html_`` and ``_fields_`` are protocols; torch's ``_foreach_add_`` works in place."""
    name = name.removeprefix("self.")
    return name.startswith("_") and (not name.endswith("_") or name.startswith("_foreach_"))


def imports(path: Path) -> set[str]:
    """The folders of ravine that a file imports from."""
    names = [f"{module}.{name}" if module else name for module, names in read(path).imports for name in names]
    return {n.split(".")[1] for n in names if n.startswith("ravine.")} - EVERYBODY


def may_know(path: Path) -> set[str]:
    folder = path.relative_to(PACKAGE).parts[0]
    if folder.endswith(".py"):
        return {"__main__.py": {"cli"}, "__init__.py": set(MAY_KNOW) - {"_bench", "cli"}}.get(folder, set())
    return MAY_KNOW[folder] | {folder}


def test_a_file_knows_only_what_lies_below_it():
    assert {path: more for path in FILES if (more := imports(path) - may_know(path))} == {}


def test_a_room_knows_all_that_the_table_says():
    """What is listed and not used is no longer true; but cli may know everything."""
    for room, names in MAY_KNOW.items():
        known = names if room == "cli" else set().union(*(imports(path) for path in (PACKAGE / room).rglob("*.py")))
        assert names - known == set(), room


def test_a_room_knows_only_rooms_above_it():
    above: set[str] = set()
    for room, names in MAY_KNOW.items():
        assert names <= above, room
        above.add(room)


def test_every_folder_has_its_place():
    assert {p.parent.relative_to(PACKAGE).parts[0] for p in FILES if p.parent != PACKAGE} == set(MAY_KNOW)


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path) for path in FILES}


def arrows(path: Path) -> set[str]:
    """The modules of ravine that a file imports, in functions and for types too."""
    targets = set()
    for module, names in read(path).imports:
        if not module:
            targets |= set(names)
        else:
            targets |= {f"{module}.{n}" if f"{module}.{n}" in MODULES else module for n in names}
    return (targets & MODULES) - {"ravine", module_name(path)}


def circle(paths: list[Path]) -> list[str]:
    """One circle of imports among some files; empty if there is none."""
    names = {module_name(path) for path in paths}
    graph = {module_name(path): arrows(path) & names for path in paths}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_no_import_goes_round_not_even_one_for_types():
    """Faces that import when asked (``_lazy.py``) are the packages' own business."""
    assert circle(FILES) == []


def test_the_first_lines_of_a_file_tell_its_purpose():
    assert [path for path in FILES if not read(path).docstring] == []


def test_a_file_stays_short():
    assert {path: lines for path in FILES if (lines := read(path).lines) > 400} == {}


def test_a_test_file_has_at_most_500_lines():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in Path(__file__).parent.rglob("*.py")}
    assert {path: n for path, n in lines.items() if n > 500} == {}


def test_a_name_of_a_file_or_a_class_stands_once():
    """Whoever searches for it finds one place."""
    files = Counter(path.name for path in FILES if path.name != "__init__.py")
    classes = Counter(name for path in FILES for name in read(path).classes)
    assert [name for name, times in (files + classes).items() if times > 1] == []


#: Private by their spelling alone: Python's documentation says what they do.
DOCUMENTED = {"_fields", "_getframe", "_replace"}
#: What torch's own objects have: on something other than ``self`` it is torch's, whatever in the room has the same name.
TORCHS = {name for theirs in (Tensor, Module(), torch.optim.Optimizer, LRScheduler) for name in dir(theirs)}
#: What stays where it is used: torch's operations on lists, and a file of Triton's that is only hashed.
STAYS = {
    "backends/_foreach.py": "_foreach_",
    "backends/_list_figures.py": "_foreach_",
    "backends/_list_parts.py": "_foreach_",
    "backends/_tensor_lists.py": "_foreach_",
    "backends/triton/_temporaries.py": "_foreach_",
    "backends/triton/_text_compiler.py": "_C",
}


def test_private_names_of_others_are_used_in_compat_alone():
    """A name is another's if nothing in the room (the folder in ``ravine``) defines it: rooms have no private names in common."""
    own: dict[str, set[str]] = defaultdict(set)
    for path in FILES:
        defined = read(path).defined
        own[path.relative_to(PACKAGE).parts[0]] |= (defined - TORCHS) | {f"self.{name}" for name in defined}
    taken = {}
    for path in FILES:
        room, file = path.relative_to(PACKAGE).parts[0], path.relative_to(PACKAGE).as_posix()
        names = {
            name for name in read(path).private - own[room] - DOCUMENTED if not name.startswith(STAYS.get(file, " "))
        }
        if names and room != "_compat":
            taken[file] = names
    assert taken == {}


def test_each_way_to_take_a_private_name_is_seen():
    lines = {
        "import torch._dynamo": {"_dynamo"},
        "import torch.nn._reduction as reduction": {"_reduction"},
        "from torch.utils import _pytree as pytree": {"_pytree"},
        "from torch._C import _functions": {"_C", "_functions"},
        "t._base": {"_base"},
        "self._base": {"self._base"},
        "getattr(t, '_version', 0)": {"_version"},
        "torch._foreach_add_(a, b)": {"_foreach_add_"},
        "from ravine._lazy import face": set(),
        "figure._repr_png_ = t.__doc__": set(),
    }
    assert {line: read_text(line).private for line in lines} == lines


def loaded(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_optimizers_loads_nothing_heavy_beside_torch():
    heavy = {"llvmlite", "sklearn", "matplotlib", "rich", "click", "pooch", "optuna", "plotly"}
    assert "torch" not in loaded("import ravine")
    assert not heavy & loaded("import ravine.optim")
    assert not {"torch", *heavy} - {"click"} & loaded("import ravine.cli")


def test_what_a_higher_floor_adds_is_loaded_when_it_is_asked_for():
    assert not [name for name in loaded("import ravine.train") if name.startswith("ravine.diagnose")]
    for name in _extensions.CALLBACKS:
        assert isinstance(_extensions.callback(name), Callback)


#: Files of users that docstrings speak of.
EXAMPLES = {"my_rule.py", "my_task.py", "mine.py", "file.py", "FILE.py"}


def test_files_that_a_docstring_names_exist():
    have = {path.name for path in (*FILES, *(PACKAGE.parent / "tests").rglob("*.py"))}
    for path in FILES:
        named = {name for text in read(path).docstrings for name in re.findall(r"\b(\w+\.py)\b", text)}
        assert named - EXAMPLES <= have, f"{path}: {named}"
