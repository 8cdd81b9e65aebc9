"""A loss that compares every output with every target is said wherever it is trained, tuned or compared."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from ravine.comparison import compare, load_study
from ravine.diagnose import diagnose
from ravine.optim import Adam
from ravine.tasks import Data, Task
from ravine.train import Batches, Learner
from ravine.train._broadcasting import OPENING, joined_shape, shapes_of

SAID = r"outputs have the shape (16, 1) and its targets (16,)"


def mean_square(outputs, targets):
    return (outputs - targets).square().mean()


def rows():
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    return x, x.sum(1)


def learner(loss=mean_square, **options):
    torch.manual_seed(0)
    x, y = rows()
    return Learner(nn.Linear(3, 1), (Batches(x, y, 16), None), loss, Adam, **options)


@pytest.mark.parametrize(
    ("outputs", "targets"), [((4, 1), (4,)), ((4,), (4, 1)), ((4, 1), (1, 5)), ((2, 1, 3), (1, 5, 3))]
)
def test_the_joined_shape_is_numpys(outputs, targets):
    assert joined_shape(outputs, targets) == np.broadcast_shapes(outputs, targets)


@pytest.mark.parametrize(("outputs", "targets"), [((4, 1), (4, 1)), ((4, 5), (4, 1)), ((4, 5), (4,)), ((0, 1), (0,))])
def test_shapes_that_are_not_broadcast_both_ways(outputs, targets):
    assert joined_shape(outputs, targets) is None


@pytest.mark.parametrize(
    ("loss", "broadcasts"),
    [
        (mean_square, True),
        (lambda o, t: (o - t).abs().mean(), True),
        (lambda o, t: mean_square(o.squeeze(-1), t), False),
        (lambda o, t: mean_square(o[:, 0], t), False),
        (lambda o, t: mean_square(o, t.unsqueeze(-1)), False),
        (lambda o, t: functional.binary_cross_entropy_with_logits(o.view_as(t), t), False),
    ],
)
def test_only_a_loss_that_does_so_is_named(loss, broadcasts):
    x, y = rows()
    assert bool(shapes_of(loss, x[:, :1], y)) is broadcasts


@pytest.mark.parametrize("loss", [functional.mse_loss, functional.l1_loss, mean_square])
def test_labels_of_whole_numbers_are_broadcast_as_others(loss):
    x, y = rows()
    assert shapes_of(loss, x[:, :1], (y > 0).long()) == ((64, 1), (64,))
    assert shapes_of(loss, x[:, 0], (y > 0).long().unsqueeze(1)) == ((64,), (64, 1))


@pytest.mark.parametrize(
    ("shape", "loss"),
    [
        ((64, 5), functional.cross_entropy),
        ((64, 1), lambda o, t: functional.mse_loss(o.squeeze(1), t.float())),
        ((64, 1), lambda o, t: functional.binary_cross_entropy_with_logits(o[:, 0], t.float())),
        ((64, 1), lambda o, t: functional.binary_cross_entropy_with_logits(o, torch.ones_like(o))),  # no targets asked
        ((64, 1), lambda o, t: functional.soft_margin_loss(o[:, 0], 2 * t - 1)),
    ],
)
def test_losses_that_know_what_to_do_with_classes(shape, loss):
    outputs = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    labels = (rows()[1] > 0).long()
    assert not shapes_of(loss, outputs, labels)
    assert not shapes_of(loss, torch.zeros(shape), labels)


@pytest.mark.parametrize("start", [torch.zeros(5), torch.arange(5.0)])
def test_classes_of_single_tokens_are_no_fault_though_all_rows_start_alike(start):
    """Of a text of one token outputs and targets can be broadcast both ways: (64, 1, 5) and (64, 1)."""
    labels = torch.randint(5, (64, 1), generator=torch.Generator().manual_seed(2))
    outputs = start.expand(64, 1, 5)
    assert joined_shape(tuple(outputs.shape), tuple(labels.shape)) is not None
    assert not shapes_of(lambda o, t: functional.cross_entropy(o.flatten(0, 1), t.flatten()), outputs, labels)


def test_outputs_that_are_all_alike_do_not_hide_it():
    _, y = rows()
    zeros = torch.zeros(64, 1)
    assert shapes_of(mean_square, zeros, y)
    assert not shapes_of(lambda o, t: mean_square(o[:, 0], t), zeros, y)


def test_a_fit_says_it_once(capsys):
    learn = learner()
    learn.fit(2, 1e-2)
    said = capsys.readouterr().out
    assert said.replace("\n", " ").count(SAID) == 1
    assert sum(SAID in text for _, text in learn.recorder.notes) == 1
    assert "broadcast" in [symptom.rule for symptom in diagnose(learn)]


def test_a_fit_with_labels_as_numbers_says_it(capsys):
    torch.manual_seed(0)
    x, y = rows()
    learn = Learner(nn.Linear(3, 1), (Batches(x, (y > 0).long(), 16), None), functional.mse_loss, Adam)
    with pytest.warns(UserWarning, match="Using a target size"):  # torch's own
        learn.fit(1, 1e-2)
    assert SAID in capsys.readouterr().out.replace("\n", " ")
    assert "broadcast" in [symptom.rule for symptom in diagnose(learn)]


def test_a_fit_that_shows_nothing_warns_of_it():
    with pytest.warns(UserWarning, match=OPENING) as seen:
        learner(quiet=True).fit(2, 1e-2)
    assert len(seen) == 1


def test_a_loss_that_squeezes_the_outputs_itself_is_no_fault(capsys):
    learn = learner(lambda outputs, targets: mean_square(outputs.squeeze(-1), targets))
    learn.fit(2, 1e-2)
    assert "shape" not in capsys.readouterr().out
    assert "broadcast" not in [symptom.rule for symptom in diagnose(learn)]


def test_the_rate_finder_says_it():
    found = learner(quiet=True).lr_find(steps=20, orders=2)
    assert len(found.notes) == 1
    assert SAID in found.notes[0]
    assert " ".join(str(found).split()).count(SAID) == 1
    assert found.to_dict()["notes"] == list(found.notes)
    sound = learner(lambda o, t: mean_square(o.squeeze(-1), t), quiet=True)
    assert sound.lr_find(steps=20, orders=1).notes == ()


@pytest.mark.slow  # two optimizers are tuned and compared
def test_a_comparison_notes_it_and_its_report_has_it(tmp_path):
    x, y = rows()
    task = Task(
        model=lambda: nn.Linear(3, 1), train=Data(x, y), test=Data(x, y), loss=mean_square, batch_size=16, epochs=1
    )
    result = compare(task, ["sgd", "adam"], points=1, seeds=2, steps=8, out=tmp_path / "mine", quiet=True)
    assert SAID in " ".join(str(result).split())
    assert [w.kind for w in result.judgement.warnings].count("broadcast") == 1
    result.write()
    written = json.loads((tmp_path / "mine" / "results.json").read_text())
    assert "broadcast" in [w["kind"] for w in written["warnings"]]
    again = load_study(result.origin.study, storage=result.origin.storage, out=tmp_path / "other")
    assert SAID in " ".join(str(again).split())
