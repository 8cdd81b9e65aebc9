"""What stands for characters that an encoding does not have."""

import io
import sys

import pytest
import torch

from ravine._fallback_characters import FALLBACK, plain, printable
from ravine.optim import Adam


@pytest.mark.parametrize(
    ("text", "ascii_text"),
    [
        ("plain text", "plain text"),
        ("95.3 ± 1.0% – −0.5 … “no”", '95.3 +- 1.0% - -0.5 ... "no"'),
        ("θₜ = θₜ₋₁ − lr · g²", "theta_t = theta_t-1 - lr * g^2"),
        ("β₁ᵗ, λ, ε, √(1 − β₂)", "beta_1^t, lambda, epsilon, sqrt (1 - beta_2)"),
        ("a café in Zürich, 2 µs, 日本", "a cafe in Zurich, 2 us, ??"),
        ("━━╸ ✓", "--- *"),
    ],
)
def test_the_meaning_stays(text, ascii_text):
    assert plain(text) == ascii_text
    assert text.encode("ascii", FALLBACK).decode("ascii") == ascii_text


def test_what_the_encoding_has_stays():
    assert "± 1 θ₁ é".encode("cp1252", FALLBACK).decode("cp1252") == "± 1 theta_1 é"
    assert "± θ".encode("utf-8", FALLBACK).decode() == "± θ"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "cp437", "utf-8"])
def test_an_optimizer_can_be_printed_wherever_standard_output_goes(encoding, monkeypatch):
    optimizer = Adam([torch.zeros(3, requires_grad=True)], lr=0.1)
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    print(optimizer, flush=True)
    found = written.getvalue().decode(encoding)
    monkeypatch.undo()
    assert "lr=0.1" in found
    if encoding == "utf-8":
        assert "θₜ = θₜ₋₁ − lr · u" in found
    else:
        assert "theta_t = theta_t-1 - lr" in found or "θ_t = θ_t-1 - lr" in found  # cp437 has some Greek letters
    assert "?" not in found


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_where_no_encoding_is_known_the_text_stays(stream, monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream)
    assert printable("θ ± 1") == "θ ± 1"
