"""What ``ravine.formula`` exports, and nothing else."""

import builtins

from ravine import formula

PUBLIC = {
    *("exp", "isfinite", "isnan", "log", "logical_not", "maximum", "minimum", "sign", "sqrt", "tanh", "where"),
    *(
        "amax",
        "dot",
        "reduced",
        "resolution",
        "scalar",
        "tensor_function",
        "tensor_state",
        "floor",
        "mean",
        "norm",
        "numel",
        "rms",
        "global_norm",
        "param_copy",
        "rename",
        "squares",
        "start",
        "stats_and_steppers",
        "trace_formula",
        "ParamCopy",
        "Piece",
        "Program",
    ),
}


def test_the_exported_names() -> None:
    assert set(formula.__all__) == set(dir(formula)) == PUBLIC


def test_importing_everything_replaces_nothing_of_python() -> None:
    scope: dict[str, object] = {}
    exec("from ravine.formula import *", scope)
    assert not {name for name in scope if hasattr(builtins, name)}
