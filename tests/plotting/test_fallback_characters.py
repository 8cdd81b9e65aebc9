"""What stands for characters that an encoding does not have."""

import pytest

from ravine.plotting._fallback_characters import FALLBACK, plain


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
