"""Attributes that other libraries have on a learner or recorder: the error says the line to write here.

``_arguments_of_others.py`` does the same for arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ravine.errors import nearest


def _by_name(lines: Mapping[str, str]) -> dict[str, str]:
    return {name: line for line, names in lines.items() for name in names.split()}


OF_LEARNER = _by_name({
    "learn.optimizer": "opt create_opt optim",
    "learn.optimizer.param_groups[0]": "hypers set_hypers lr wd moms splitter",
    "learn.train, learn.valid": "dls data",
    "learn.train": "train_dl train_dataloader",
    "learn.valid": "valid_dl val_dl",
    "next(iter(learn.train))": "one_batch show_batch",
    "learn.loss_func": "loss_fn criterion crit",
    "learn.folder": "path model_dir log_dir",
    "learn.callbacks": "cbs callback_fns",
    "learn.state.epoch": "epoch n_epoch current_epoch",
    "learn.state.step": "step iter train_iter global_step",
    "learn.fit(1, lr=0.01, callbacks=[MyCallback()])  # its hooks are given the fit: fit.loss, fit.outputs, fit.inputs":
        "loss pred preds xb yb x y training",
    "learn.fit(1, lr=0.01, callbacks=[StopOnNaN()])  # for this fit; Learner(..., callbacks=[...]) has them for all":
        "add_cb add_cbs add_callback remove_cb remove_cbs added_cbs removed_cbs",
    "learn.model[:-1].requires_grad_(False)  # or another part of the model": "freeze freeze_to",
    "learn.model.requires_grad_(True)": "unfreeze",
    "learn.fit_one_cycle(1, 0.01)  # after learn.model[:-1].requires_grad_(False), if a part is to be frozen": "fine_tune",
    "learn.fit(3, lr=0.01, schedule='cosine')": "fit_flat_cos fit_sgdr sched scheduler",
    "learn.fit(3, lr=0.01, callbacks=[MixedPrecision()])": "to_fp16 to_native_fp16 to_bf16 to_fp32",
    "learn.predict(data)  # the model's outputs; without data, for learn.valid": "get_preds tta predict_proba show_results",
    "learn.validate(data)": "evaluate test score",
    "learn.model.to('cpu')  # before the first fit: training runs where the model is": "to cuda cpu device",
    "learn.model.eval()": "eval",
    "learn.model.parameters()": "parameters named_parameters",
    "print(learn.model)": "summary layer_groups",
    "learn.quiet = True": "no_bar no_logging verbose",
    "learn.save('learner.safetensors')  # all of it; the weights alone: learn.model.state_dict()":
        "export save_model save_checkpoint save_weights save_params state_dict",
    "learn.load('learner.safetensors')": "load_model load_checkpoint load_weights load_params load_state_dict",
    "learn.recorder.epochs": "history history_ callback_metrics logged_metrics final_record",
    "learn.recorder.losses": "losses train_losses",
    "learn.recorder.plot_loss()": "plot plot_loss plot_losses plot_metrics",
    "learn.recorder.plot_schedule()": "plot_sched plot_lr",
    "learn.recorder.plot_lr_find()": "plot_lr_find lr_finder",
})  # fmt: skip
"""By the name that a learner, trainer or model elsewhere has, the line here."""

OF_RECORDER = _by_name({
    "learn.recorder.plot_schedule()": "plot_sched plot_lr plot_moms",
    "learn.recorder.hyper('lr')  # all that were recorded: learn.recorder.hyper_names": "hps lrs lr moms wd",
    "learn.recorder.plot_loss()": "plot_losses plot_metrics plot",
    "learn.recorder.epochs": "values log metrics history final_record",
    "list(learn.recorder.epochs[-1])": "metric_names",
    "learn.recorder.column('train_loss')": "train_loss train_losses",
    "learn.recorder.column('valid_loss')": "valid_loss valid_losses val_loss val_losses",
    "learn.recorder.column('step')": "iters nb_batches",
    "learn.recorder.smoothed": "smooth_losses",
    "learn.recorder.losses": "loss",
})  # fmt: skip
"""By the name that a recorder elsewhere has, the line here."""

OF_LR_FIND = _by_name({
    "found.lr": "suggestion",
    "found.suggestions['valley'].lr": "valley",
    "found.suggestions['steepest'].lr": "steep lr_steep slide",
    "found.suggestions['minimum'].lr": "minimum lr_min",
    "found.rates": "lrs",
})  # fmt: skip
"""By the name that the result of a rate finder elsewhere has, the line here."""

OF_FIT = _by_name({
    "fit.model, fit.optimizer, fit.loss, ...": "learn learner trainer",
    "fit.optimizer": "opt",
    "fit.inputs": "xb x",
    "fit.targets": "yb y",
    "fit.outputs": "pred preds",
    "fit.state.epoch": "epoch current_epoch",
    "fit.state.epochs": "n_epoch epochs max_epochs",
    "fit.state.batch": "iter batch_idx",
    "fit.state.step": "train_iter global_step step",
    "fit.batches": "n_iter",
    "fit.progress": "pct_train",
    "fit.train, fit.valid": "dls dl",
    "fit.model.training": "training",
    "fit.stop('why it ends here')": "should_stop stop_training cancel_fit",
})  # fmt: skip
"""By the name that callbacks elsewhere read, the line in a hook here."""


class NamesOfOthers:
    """A class that answers an attribute of other libraries with the line to write here, in its AttributeError."""

    _of_others: ClassVar[Mapping[str, str]]

    if not TYPE_CHECKING:  # for which there is no such attribute

        def __getattr__(self, name: str) -> Any:
            """Called for what is not found.

            Raises:
                AttributeError: always.
            """
            if hasattr(type(self), name):  # a property raised AttributeError itself: that one counts
                return object.__getattribute__(self, name)
            what = f"{type(self).__name__} has no {name}"
            if name in self._of_others:
                raise AttributeError(f"{what}; write: {self._of_others[name]}")
            if name.startswith("_"):  # protocols that Python and notebooks probe for
                raise AttributeError(what)
            known = [each for each in {*dir(type(self)), *vars(self)} if not each.startswith("_")]
            raise AttributeError(f"{what}. {nearest(name, known)}".rstrip())
