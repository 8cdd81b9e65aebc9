"""Builds the documentation's site: the repository's pages as they stand, and a reference made from the docstrings.

Sphinx reads from the root of the repository, so that a link that works on GitHub works on the site, and the other way
round. `scripts/docs` runs this.
"""

import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.ext.napoleon import GoogleDocstring

import ravine
from ravine.contour import play
from ravine.optim import Optimizer
from ravine.optim import _registry as registry
from ravine.optim._hyperparameters import hypers_of
from ravine.optim.search import Range

sys.path.insert(0, str(Path(__file__).parent))
from optimizer_pages import write_pages

project = "Ravine"
author = "The Ravine authors"
project_copyright = "2026, The Ravine authors"
version = release = ravine.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]

#: The pages of docs/trainers, in the order of the menu.
TRAINERS = ("lightning", "huggingface", "accelerate", "skorch", "fastai", "ignite", "keras")

#: The pages, in the order of the menu: its headings, and the pages below each.
CONTENTS = {
    "Start": [
        "docs/start/train-a-model",
        "docs/start/invent-an-optimizer",
        "docs/start/choose-an-optimizer",
        "docs/start/debug-a-run",
        "docs/start/learn",
    ],
    "Guide": [
        "docs/optimizers",
        "docs/how-to-choose",
        "docs/formulas",
        "docs/train",
        "docs/in-notebooks",
        "docs/live",
        "docs/watch",
        "docs/memory",
        "docs/gpu",
        "docs/compare",
        "docs/evidence",
        "docs/results-files",
        "docs/own",
        "docs/contours",
        "docs/play",
        "docs/experiments",
        "docs/how-it-compares",
    ],
    "Other trainers": [f"docs/trainers/{name}" for name in ("index", *TRAINERS)],
    "Migrate": [
        "docs/migrate/from-torch",
        "docs/migrate/from-keras",
        "docs/migrate/from-fastai",
        "docs/migrate/from-optax",
    ],
    "Look up": ["docs/gallery", "docs/faq", "docs/glossary", "docs/reference/index"],
    "Notebooks": [f"docs/notebooks/{path.stem}" for path in sorted(Path(__file__).parent.glob("notebooks/*.ipynb"))],
    "Project": ["benchmarks/README", "ARCHITECTURE", "CONTRIBUTING", "SECURITY", "CHANGELOG"],
}
root_doc = "docs/index"
include_patterns = [f"{page}.md" for pages in (["README", root_doc], *CONTENTS.values()) for page in pages]
include_patterns += [
    "docs/optimizers/*.md",
    "docs/reference/*.md",
    "docs/results/*/report.md",
    "docs/results/triton-machine-code.md",
    "docs/results/triton-machine-code-matrices.md",
]
exclude_patterns = [".*", "build", "dist", "ravine-out"]

myst_heading_anchors = 4
myst_enable_extensions = ["smartquotes"]
autodoc_member_order = "bysource"  # of a module: the order of its __all__
autodoc_default_options = {"members": True, "no-value": True}
autodoc_inherit_docstrings = False  # what a class changes it documents, or its base does
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

highlight_language = "none"
html_theme = "furo"
html_title = f"Ravine {release}"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["site.css"]
html_show_sourcelink = False


def public_modules(module: ModuleType) -> Iterator[ModuleType]:
    """A package and those below it that its ``__all__`` names, without those that hold no public name."""
    names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    parts = [getattr(module, name) for name in names]
    if any(not isinstance(p, ModuleType) and getattr(p, "__doc__", None) for p in parts):
        yield module
    for part in parts:
        if isinstance(part, ModuleType) and part.__name__.startswith(f"{module.__name__}."):
            yield from public_modules(part)


def write_reference(app: Sphinx) -> None:
    """A page for each public package, which autodoc fills; a page for a new one comes by itself."""
    folder = Path(app.srcdir) / "docs" / "reference"
    folder.mkdir(exist_ok=True)
    pages, summary = {}, {}
    for module in public_modules(ravine):
        name = module.__name__
        summary[name] = re.sub(r":\w+:(?=`)", "", (inspect.getdoc(module) or "").partition("\n")[0])
        pages[name] = f"# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n"
    rows = [f"| [{name}]({name}.md) | {summary[name]} |" for name in pages]
    entries = "\n".join(pages)
    pages["index"] = (
        "# Reference\n\nThe public names of each package, from their docstrings.\n\n"
        f"| package | what it is |\n|---|---|\n{chr(10).join(rows)}\n\n"
        f"```{{toctree}}\n:hidden:\n\n{entries}\n```\n"
    )
    for old in {p.stem for p in folder.glob("*.md")} - set(pages):
        (folder / f"{old}.md").unlink()
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # Sphinx reads again only what is new
            path.write_text(text, encoding="utf-8")


def write_optimizers(app: Sphinx) -> None:
    """A page for each named optimizer."""
    write_pages(Path(app.srcdir) / "docs" / "optimizers")


def write_notebooks(app: Sphinx) -> None:
    """A page for each notebook: its text and its code; `tests/docs` runs them."""
    for path in Path(app.srcdir, "docs", "notebooks").glob("*.ipynb"):
        parts = []
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            text = "".join(cell["source"])
            parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        text, page = "\n\n".join(parts) + "\n", path.with_suffix(".md")
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


#: Where the page of `ravine play` lies on the site.
PLAYGROUND = "play.html"


def write_playground(app: Sphinx) -> None:
    """The page of `ravine play`; before autodoc puts its own objects in the place of functions' defaults."""
    play().write(Path(app.outdir) / PLAYGROUND)


def menu() -> str:
    """The table of contents, which only the site has."""
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(f"/{page}" for page in pages) + "\n```\n"
        for caption, pages in CONTENTS.items()
    )


def text_of(search: Mapping[str, Range]) -> str:
    """Ranges, a line for each: ``lr: 0.0001 to 1, log``."""
    return "<br>".join(f"`{name}` {r.low:g} to {r.high:g}, {r.scale}" for name, r in search.items())


def defaults(cls: type) -> str:
    """The hyperparameters that an optimizer declares, as they are unless told otherwise."""
    hypers, known = hypers_of(cls), inspect.signature(cls).parameters
    return "<br>".join(
        f"`{name}={p.default!r}`" for name, p in known.items() if name in hypers and p.default != p.empty
    )


def optimizer_table() -> str:
    """A row for every optimizer in the registry: a new one has its row as soon as `ravine.optim` exports it."""
    rows = ["| name | class and paper | defaults | range in a comparison |", "|---|---|---|---|"]
    special = ["| name | is | range in a comparison |", "|---|---|---|"]
    for name in registry.names():
        named = registry.lookup(name)
        cls = f"[{named.cls.__name__}](optimizers/{named.cls.__name__.lower()}.md)"
        if not named.options:
            paper = f"{cls}<br>{named.source}"
            rows.append(f"| `{name}` | {paper} | {defaults(named.cls)} | {text_of(named.search)} |")
        else:
            options = ", ".join(f"`{key}={value!r}`" for key, value in named.options.items())
            special.append(f"| `{name}` | {cls} with {options} | {text_of(named.search)} |")
    return "\n".join([*rows, "", "Settings with a name of their own:", "", *special])


def complete(app: Sphinx, name: str, source: list[str]) -> None:
    """Put what is generated where a page asks for it."""
    if name == root_doc:
        source[0] += menu()
    if name.startswith(("README", "docs/results/", "docs/optimizers/")):  # reached by a link, not by the menu
        source[0] = f"---\norphan: true\n---\n\n{source[0]}"
    if name == "docs/optimizers":
        marker = "<!-- the table of all optimizers -->"
        assert marker in source[0], f"docs/optimizers.md has lost the line {marker}"
        source[0] = source[0].replace(marker, optimizer_table())
    if name == "docs/play":
        marker = "<!-- the page itself -->"
        assert marker in source[0], f"docs/play.md has lost the line {marker}"
        source[0] = source[0].replace(marker, f'<p><a href="../{PLAYGROUND}"><b>Open the page</b></a></p>')


#: What every optimizer declares of itself: documented once, in `Optimizer`.
DECLARATIONS = ("reference", "advice", "hypers", "rates", "becomes", "variants", "not_in_torch")


def hide_repeated(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the declarations of the named optimizers, which `optimizer_table` shows."""
    repeated = what == "class" and name in DECLARATIONS and obj is not vars(Optimizer).get(name)
    return True if repeated else None


#: Of these napoleon takes what stands before the first colon for a type.
INLINE = ("attribute", "data", "property")
#: Their docstrings as they were written, while napoleon reads them.
written: dict[str, list[str]] = {}


def before_napoleon(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Of a package's docstring keep the first paragraph: the rest is about its files, for those who change them."""
    if what == "module" and "" in lines:
        del lines[lines.index("") :]
    elif what in INLINE:
        written[name] = list(lines)


def after_napoleon(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Mend what napoleon takes for a type: here types stand in annotations, and a colon in a docstring is a colon.

    A property or an attribute is read like a method. ``Returns: the rows: a list`` has no type before its colon, and
    ``low, high: ...`` in a list of attributes are two names.
    """
    if what in INLINE:
        lines[:] = GoogleDocstring(written.pop(name), app.config, app, "method", name, obj, options).lines()
    text = "\n".join(lines)
    text = re.sub(r"^:returns: (.*(?:\n .*)*)\n:rtype: (.*)$", r":returns: \2: \1", text, flags=re.MULTILINE)
    text = re.sub(
        r"^:ivar (\w+(?:, \w+)+):(.*(?:\n .*)*)$",
        lambda m: "\n".join(f":ivar {each}:{m[2]}" for each in m[1].split(", ")),
        text,
        flags=re.MULTILINE,
    )
    lines[:] = text.split("\n")


def home(app: Sphinx, error: Exception | None) -> None:
    """The site's address leads to its first page."""
    if error is None:
        to = f'<meta charset="utf-8"><meta http-equiv="refresh" content="0; url={root_doc}.html">'
        text = f'<!doctype html><html lang="en"><head>{to}<title>Ravine</title></head>'
        text += f'<body><a href="{root_doc}.html">Ravine</a></body></html>\n'
        Path(app.outdir, "index.html").write_text(text, encoding="utf-8")


#: What a browser fetches when it opens a page; a link is fetched only when somebody follows it.
FETCHED = re.compile(
    r'<(?:script|img|iframe|source)\b[^>]*\bsrc="((?:https?:)?//[^"]+)|<link\b[^>]*\bhref="((?:https?:)?//[^"]+)'
)


def loads_nothing(app: Sphinx, error: Exception | None) -> None:
    """No page fetches anything from elsewhere: neither a font nor a script nor a picture.

    Raises:
        ExtensionError: one does; the first ten are named.
    """
    if error is None:
        pages = sorted(Path(app.outdir).rglob("*.html"))
        found = [
            f"{page.name}: {next(filter(None, m))}" for page in pages for m in FETCHED.findall(page.read_text("utf-8"))
        ]
        if found:
            raise ExtensionError(f"These pages fetch something from elsewhere: {', '.join(found[:10])}")


def setup(app: Sphinx) -> None:
    """Connect the functions above to Sphinx."""
    app.connect("builder-inited", write_reference)
    app.connect("builder-inited", write_optimizers)
    app.connect("builder-inited", write_notebooks)
    app.connect("builder-inited", write_playground)
    app.connect("source-read", complete)
    app.connect("autodoc-skip-member", hide_repeated)
    app.connect("autodoc-process-docstring", before_napoleon, priority=400)
    app.connect("autodoc-process-docstring", after_napoleon, priority=600)
    app.connect("build-finished", home)
    app.connect("build-finished", loads_nothing)
