"""Arguments as fastai, Keras or Lightning call them: the error says what they are called here, or where they belong."""

import inspect

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ravine.comparison import compare
from ravine.errors import OptionError
from ravine.optim import Adam
from ravine.tasks import Task
from ravine.train import Batches, EarlyStopping, GradientAccumulation, GradientClipping, Learner

X, Y = torch.zeros(8, 2), torch.zeros(8, dtype=torch.int64)


def learner() -> Learner:
    return Learner(nn.Linear(2, 2), (Batches(X, Y, 4), None), F.cross_entropy, Adam, quiet=True)


DATA = (Batches(X, Y, 4), None)
CALLS = [
    (lambda: Learner(nn.Linear(2, 2), DATA, loss_func=F.cross_entropy), "Learner has no loss_func; it is called loss here"),
    (lambda: Learner(nn.Linear(2, 2), DATA, F.cross_entropy, cbs=[]), "Learner has no cbs; it is called callbacks here"),
    (lambda: Learner(dls=DATA, model=nn.Linear(2, 2), loss=F.cross_entropy), "no dls; it is called data here"),
    (lambda: Learner(nn.Linear(2, 2), DATA, F.cross_entropy, lr=0.1), r"no lr; the rate is given to the fit: learn.fit\(3, lr="),
    (lambda: Learner(nn.Linear(2, 2), DATA, F.cross_entropy, bs=4), r"no bs; it is that of the data: Batches\("),
    (lambda: Batches(X, Y, bs=4), "Batches has no bs; it is called batch_size here"),
    (lambda: learner().fit(n_epoch=1), "fit has no n_epoch; it is called epochs here"),
    (lambda: learner().fit(epoch=1), "fit has no epoch; it is called epochs here"),
    (lambda: learner().fit(1, 0.1, cbs=[]), "fit has no cbs; it is called callbacks here"),
    (lambda: learner().fit(1, 0.1, wd=0.1), r"fit has no wd; it is the optimizer's: opt_func=functools.partial\(AdamW"),
    (lambda: learner().fit_one_cycle(1, 0.1, cbs=[]), "has no cbs; it is called callbacks here"),
    (lambda: learner().lr_find(suggest_funcs=()), r"no suggest_funcs; it suggests by every rule: learn.lr_find\(\).suggestions"),
    (lambda: learner().lr_find(start_lr=1e-7), "lr_find has no start_lr; it is called start here"),
    (lambda: learner().lr_find(num_it=50), "lr_find has no num_it; it is called steps here"),
    (lambda: learner().lr_find(show_plot=False), r"lr_find has no show_plot; its picture: learn.lr_find\(\).plot"),
    (lambda: learner().predict(dl=DATA[0]), "predict has no dl; it is called data here"),
    (lambda: learner().validate(ds_idx=0), r"validate has no ds_idx; data is given itself: learn.predict\(learn.train\)"),
    (lambda: learner().recorder.plot_loss(skip_start=5), r"plot_loss has no skip_start; .* learn.recorder.plot_loss\(window=20\)"),
    (lambda: learner().recorder.plot_schedule(keys=["lr"]), r"plot_schedule has no keys; .*plot_schedule\('lr', 'momentum'\)"),
    (lambda: GradientAccumulation(n_acc=4), "GradientAccumulation has no n_acc; it is called batches here"),
    (lambda: GradientClipping(max_norm=1.0), "GradientClipping has no max_norm; it is called norm here"),
    (lambda: Task(model=nn.Linear, batchsize=4), "Task has no batchsize; it is called batch_size here"),
    (lambda: compare("digits", n_points=2), "compare has no n_points; it is called points here"),
    (lambda: compare("digits", spaces={}), "compare has no spaces; it is called space here"),
    (lambda: learner().fit(1, 0.1, validation_split=0.2), r"no validation_split; .*Learner\(model, \(train, valid\), loss\)"),
    (lambda: learner().fit(1, 0.1, validation_data=DATA), "fit has no validation_data; data to validate on belong to the Learner"),
    (lambda: learner().fit(1, 0.1, verbose=0), r"fit has no verbose; it is the Learner's: Learner\(..., quiet=True\)"),
    (lambda: learner().fit(1, 0.1, class_weight={0: 1.0}), r"no class_weight; it is the loss's: torch.nn.CrossEntropyLoss\(weight="),
    (lambda: learner().fit(1, 0.1, scheduler="cosine"), "fit has no scheduler; it is called schedule here"),
    (lambda: EarlyStopping(3, restore_best_weights=True), r"a callback of its own: .*EarlyStopping\(patience=3\), BestCheckpoint\(\)"),
    (lambda: Task(val=None), "Task has no val; it is called valid here"),
    (lambda: learner().fit_one_cycle(n_epoch=1, lr=0.1), "fit_one_cycle has no n_epoch; it is called epochs here"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), CALLS)
def test_the_error_says_what_to_write(call, message):
    with pytest.raises(OptionError, match=message):
        call()


def test_what_nobody_calls_so_is_left_to_python():
    with pytest.raises(TypeError, match="unexpected keyword argument 'suffle'"):
        Batches(X, Y, 4, suffle=True)
    assert list(inspect.signature(Batches).parameters)[:3] == ["inputs", "targets", "batch_size"]
