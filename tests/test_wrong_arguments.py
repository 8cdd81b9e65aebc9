"""What a public function is given that it cannot be given is named in the error, with what to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import mse_loss

import ravine
from ravine.comparison import judge_files, load_study
from ravine.contour import explore
from ravine.diagnose import evidence_of, find_nonfinite
from ravine.errors import OptionError
from ravine.optim import SGD
from ravine.train import BestCheckpoint, EarlyStopping, HyperSchedule, Learner


def fitted(**options: Any) -> None:
    pairs = [(torch.zeros(2, 1), torch.zeros(2, 1))]
    Learner(torch.nn.Linear(1, 1), (pairs, None), mse_loss, SGD, quiet=True).fit(1, lr=0.1, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ravine.compare("digits", ["sgd"], space=3),
            r"space 3: give .* space={'sgd': {'lr': log\(1e-5, 0.1\)}}, or the path of a TOML file",
        ),
        (lambda: load_study(3), r"study 3: give the name of a study, load_study\('mine'\)"),  # type: ignore[arg-type]
        (lambda: judge_files(3), "paths 3: give the path of a file of logged runs, or a list"),  # type: ignore[arg-type]
        (lambda: judge_files(["a", 3]), "paths 3: give the path of a file"),  # type: ignore[list-item]
        *(
            (lambda given=given: judge_files("a.csv", **given), message)
            for given, message in (
                ({"target": "x"}, "target = 'x': a value to be reached, a finite number"),
                ({"target": True}, "target = True: a value to be reached, a finite number"),
                ({"target": 10**400}, "a value to be reached, a finite number"),
                ({"margin": 10**400}, "write a difference as text, such as '0.01'"),
                (
                    {"columns": 3},
                    r"columns = 3: write what each column is called, columns='optimizer=method,value=val_loss'",
                ),
                ({"columns": ["value=x"]}, r"columns = \['value=x'\]: write what each column is called"),
                ({"columns": {"value": 3}}, r"columns = {'value': 3}: write what each column is called"),
                ({"margin": -1}, "margin = -1: write a difference as text, such as '0.01', or a share, such as '1%'"),
                ({"margin": 0}, "margin = 0: write a difference as text, such as '0', or a share, such as '1%'"),
                ({"margin": None}, "margin = None: write a difference as text, such as '0.01'"),
                ({"tag": 3}, "tag = 3: write the name of a scalar of TensorBoard, tag='val_loss'"),
                ({"alpha": "x"}, "alpha = 'x': the chance of a wrong statement, above 0 and below 0.5"),
                ({"higher_is_better": "no"}, "higher_is_better = 'no': give True or False"),
            )
        ),
        (lambda: evidence_of(3), r"evidence_of\(3\): give a ravine.train.Learner"),  # type: ignore[arg-type]
        (
            lambda: find_nonfinite(3, 3),  # type: ignore[arg-type]
            r"The model is 3; the module comes first, and then the batch: find_nonfinite\(model, batch, loss\)",
        ),
        (
            lambda: explore("beale", sweep=3),  # type: ignore[arg-type]
            r"sweep 3: give a hyperparameter with its values, sweep={'alpha': \[0.5",
        ),
        (
            lambda: explore("beale", sweep={"alpha": 0.9}),  # type: ignore[dict-item]
            r"The sweep of alpha is 0.9: give a list of values, sweep={'alpha': \[0.5",
        ),
        (lambda: BestCheckpoint(3), "BestCheckpoint: monitor 3 is not the name of a column of the table, such as 'v"),
        (lambda: EarlyStopping(3, 3), "EarlyStopping: monitor 3 is not the name of a column"),
        (
            lambda: HyperSchedule(3),  # type: ignore[arg-type]
            r"HyperSchedule\(3\): give functions by name, HyperSchedule\(lr=lambda",
        ),
        (
            lambda: SGD([torch.zeros(1, requires_grad=True)], lr=0.1).name_parameters(3),  # type: ignore[arg-type]
            r"name_parameters\(3\): give the model, or pairs of name and parameter, model.named_parameters\(\)",
        ),
        (lambda: fitted(find_nonfinite="a"), "find_nonfinite 'a': give True or False"),
        (lambda: fitted(resume="a"), "resume 'a': give True or False"),
    ],
)
def test_a_wrong_argument_is_named_with_what_to_write(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        call()


@pytest.mark.parametrize("named", [[1, 2], {"weight": 1}, [torch.zeros(1)], [("weight",)]])
def test_what_is_no_pair_of_name_and_parameter_is_no_name(named: Any) -> None:
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    with pytest.raises(OptionError, match=r"pairs of name and parameter, model.named_parameters\(\)"):
        optimizer.name_parameters(named)
