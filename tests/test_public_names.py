"""The public names, in one list: what is not here is private, by an underscore in its name or its folder's."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import torch

import ravine
from ravine.optim import _registry as registry

PUBLIC = {
    "ravine": """
        __version__ backends compare comparison contour diagnose errors formula integrations optim tasks train watch
    """,
    "ravine.backends": """
        ROUNDING_STATISTICS STATISTICS Batch ChunkStatistics Numbers Staged States Statistic Sums compute_dtype number_dtype on_host
        only_device recording statistic to_device
    """,
    "ravine.backends.cpu": """
        CHUNK Fused MatrixFused SparseFused compiled kernel_source why_not
    """,
    "ravine.backends.triton": """
        DeviceBatch MatrixDeviceBatch kernels_wanted missing why_no_kernel
    """,
    "ravine.cli": """
        main
    """,
    "ravine.comparison": """
        Aggregate Judgement LoggedResult Range Result Standing TasksResult WithBest compare complement judge_files linear
        load_study log
    """,
    "ravine.contour": """
        Exploration Playground explore play
    """,
    "ravine.diagnose": """
        Diagnosis Evidence FindNonFinite Finding NothingFound Symptom diagnose evidence_of find_nonfinite reproduce
    """,
    "ravine.errors": """
        BackendError ComparisonError DataError FormulaError NonFiniteError OptionError PackageError ParameterError
        RavineError StateError TrainingError
    """,
    "ravine.formula": """
        ParamCopy Piece Program amax dot exp floor global_norm isfinite isnan log logical_not maximum mean minimum norm numel
        param_copy reduced rename resolution rms scalar sign sqrt squares start stats_and_steppers tanh tensor_function tensor_state
        trace_formula where
    """,
    "ravine.integrations": """
        Follower fastai_callback figures lightning_callback name skorch_callback unwrap watch_accelerator watch_engine watch_trainer
    """,
    # and the named optimizers, which the registry finds
    "ravine.optim": """
        Common Hyper Optimizer Params Pieces Variant pieces search unwrap
    """,
    "ravine.optim.pieces": """
        HYPERS adaptive_clip ascend cautious clip_global_norm clip_norm clip_value decay_weights decay_weights_decoupled
        descend ema lookahead momentum scale_by_lr subtract unscale
    """,
    "ravine.optim.search": """
        Range complement linear log
    """,
    "ravine.tasks": """
        Data Surface Task describe find names
    """,
    "ravine.train": """
        Batches BestCheckpoint Callback EarlyStopping Fit FitState GradientAccumulation GradientClipping HyperSchedule
        LRFind Learner MixedPrecision OneCycle Recorder ReduceOnPlateau StopOnNaN Stream TensorBoard TorchScheduler accuracy
    """,
    "ravine.watch": """
        History ParameterRow StepTable Watch diagnose
    """,
}


def names_of(module: str) -> set[str]:
    """The names that a public module shows."""
    named = {cls.__name__ for cls in registry.classes()} if module == "ravine.optim" else set()
    return {*PUBLIC[module].split(), *named}


def public_modules() -> list[str]:
    """Every module whose name and folders have no underscore in front."""
    found = [m.name for m in pkgutil.walk_packages(ravine.__path__, "ravine.")]
    return ["ravine", *(n for n in found if not any(part.startswith("_") for part in n.split(".")[1:]))]


#: Names for modules of torch.
TORCHS = {"ravine.optim.lr_scheduler": torch.optim.lr_scheduler, "ravine.optim.swa_utils": torch.optim.swa_utils}


def test_every_public_module_is_listed():
    assert set(public_modules()) == {*PUBLIC, *TORCHS}


@pytest.mark.parametrize("name", TORCHS)
def test_a_module_of_torch_is_torchs_own(name):
    assert importlib.import_module(name) is TORCHS[name]
    package, _, last = name.rpartition(".")
    assert getattr(importlib.import_module(package), last) is TORCHS[name]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_module_exports_what_is_listed(name):
    module = importlib.import_module(name)
    listed = names_of(name)
    assert sorted(module.__all__) == sorted(listed)
    for exported in listed:
        assert getattr(module, exported) is not None


@pytest.mark.parametrize("name", [n for n in PUBLIC if n != "ravine.cli"])
def test_dir_shows_what_a_user_may_use(name):
    assert set(dir(importlib.import_module(name))) == names_of(name)
