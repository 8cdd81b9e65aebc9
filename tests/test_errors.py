"""Texts of errors: the article before a name, and the words of Python and of the command line."""

import re
from pathlib import Path

import pytest

import ravine
from ravine.errors import DataError, advised, an


@pytest.mark.parametrize(
    ("article", "names"),
    [
        (
            "an",
            "Adam AdamW LBFGS SGD RMSprop NAdam RAdam ADOPT ASGD int ndarray OrderedDict Upsample MSELoss L1Loss LSTM object",
        ),
        (
            "a",
            "QHAdam LAMB SOAP LARS Lion Muon list UserDict uint8 UnicodeError NoneType float HuberLoss StepLR OneCycleLR UNet",
        ),
    ],
)
def test_a_name_has_the_article_with_which_it_is_read(article, names):
    for name in names.split():
        assert an(name) == f"{article} {name}"


def test_no_text_puts_a_fixed_article_before_a_name_that_it_does_not_know():
    """f"... is a {type(x).__name__}" says "a int"; ``an`` finds the article."""
    pattern = re.compile(r"\b[Aa]n? ['\"]?\{(kind_of|type|cls|name|optimizer|kind|title_of)\b")
    found = [
        f"{path}: {line.strip()}"
        for path in Path(ravine.__file__).parent.rglob("*.py")
        for line in path.read_text().splitlines()
        if pattern.search(line)
    ]
    assert not found


def test_advice_names_arguments_in_python_and_options_on_the_command_line():
    error = advised(DataError, "There is no a--b.", "Name it (--out), or leave --data out.")
    assert (type(error), str(error)) == (DataError, "There is no a--b. Name it (out=), or leave data= out.")
    assert error.on_command_line == "There is no a--b. Name it (--out), or leave --data out."
