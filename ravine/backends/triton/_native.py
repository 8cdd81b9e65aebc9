"""Compiles ``native.c`` as Triton compiles its launchers, and keeps it in Triton's folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from ravine.backends.triton._triton_folder import kept_privately


@cache
def native() -> Any:
    """The compiled module; None where there is no compiler, or others can write to Triton's folder."""
    if not kept_privately():
        return None
    try:
        from triton.runtime.build import compile_module_from_src

        source = Path(__file__).with_name("native.c").read_text(encoding="utf-8")
        return compile_module_from_src(src=source, name="ravine_native")
    except Exception:  # without it Python and Triton do the same, more slowly
        return None
