"""Tests that need a CUDA device: ``pytest -o addopts= -m gpu tests/gpu``. They need torch, Triton, NumPy, pytest and this project.

Without ``-o addopts=`` pytest-xdist is needed, too, which the project's own options ask for.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here:
            item.add_marker(pytest.mark.gpu)
            item.add_marker(pytest.mark.slow)  # kernels are compiled for each of them
            for said in ("Synchronization debug mode is a prototype", "The CUDA Graph is empty"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore:{said}"))
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="there is no CUDA device"))
