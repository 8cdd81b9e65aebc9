"""Attributes that other libraries have on a learner or recorder: the error says the line to write here.

``_arguments_of_others.py`` does the same for arguments.
"""

from __future__ import annotations

from ravine._answered_names import NamesOfOthers, by_name
from ravine.errors import nearest

OF_LEARNER = by_name({
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

OF_RECORDER = by_name({
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

OF_LR_FIND = by_name({
    "found.lr": "suggestion",
    "found.suggestions['valley'].lr": "valley",
    "found.suggestions['steepest'].lr": "steep lr_steep slide",
    "found.suggestions['minimum'].lr": "minimum lr_min",
    "found.rates": "lrs",
})  # fmt: skip
"""By the name that the result of a rate finder elsewhere has, the line here."""

OF_FIT = by_name({
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
    "fit.stop('why it ends here')":
        "should_stop stop_training cancel_fit CancelFitException CancelEpochException CancelTrainException",
    "fit.optimizer.param_groups[0]['lr']": "lr learning_rate hypers",
})  # fmt: skip
"""By the name that callbacks elsewhere read, the line in a hook here."""


OF_HOOKS = by_name({
    "before_fit": "begin_fit after_create on_train_begin on_fit_start on_train_start on_init_end",
    "before_epoch": "begin_epoch before_train begin_train on_epoch_begin on_epoch_start on_train_epoch_start",
    "before_batch": "begin_batch on_batch_begin on_batch_start on_train_batch_begin on_train_batch_start on_step_begin",
    "after_loss": "before_loss after_pred before_backward on_before_backward on_loss_begin on_backward_begin",
    "before_step": "after_backward on_after_backward on_backward_end on_before_optimizer_step on_pre_optimizer_step",
    "after_step": "on_optimizer_step on_substep_end before_zero_grad on_before_zero_grad",
    "after_batch": "on_batch_end on_train_batch_end on_step_end after_cancel_batch after_cancel_step after_cancel_backward",
    "after_epoch": "after_train before_validate begin_validate after_validate on_epoch_end on_train_epoch_end on_validation_start "
        "on_validation_end on_validation_epoch_start on_validation_epoch_end on_evaluate on_test_begin on_test_end on_log "
        "on_test_batch_begin on_test_batch_end on_validation_batch_start on_validation_batch_end after_cancel_epoch after_cancel_train "
        "after_cancel_validate",
    "after_fit": "on_train_end on_fit_end after_cancel_fit on_exception",
})  # fmt: skip
"""By the name of a hook elsewhere, the hook here that is called nearest to that moment."""

OF_PACKAGE = by_name({
    "fit.stop('why it ends here')  # in a hook, which is given the fit; nothing is raised":
        "CancelFitException CancelEpochException CancelTrainException CancelBatchException CancelStepException",
    "metrics={'error_rate': lambda outputs, targets: 1 - accuracy(outputs, targets)}": "error_rate",
    "Learner(model, (train, valid), loss, opt_func)":
        "vision_learner cnn_learner unet_learner tabular_learner text_classifier_learner language_model_learner Trainer LightningModule",
    "Batches(inputs, targets, batch_size)  # or (train, valid), two of torch.utils.data.DataLoader": "DataLoaders DataBunch DataBlock DataLoader",
    "torch.utils.data.TensorDataset(inputs, targets)": "Dataset TensorDataset",
    "torch.nn.Sequential(...)": "Sequential Model",
    "pandas.DataFrame(learn.recorder.epochs).to_csv('log.csv')  # Learner(..., folder='runs/first') writes metrics.jsonl":
        "CSVLogger",
    "class MyCallback(Callback)  # with the hooks that it needs, such as def after_epoch(self, fit)": "LambdaCallback",
    "learn.fit(3, schedule=HyperSchedule(lr=lambda progress: 0.01 * (1 - progress)))": "LearningRateScheduler LambdaLR",
    "BestCheckpoint()  # the weights of the best epoch": "ModelCheckpoint SaveModelCallback SaveModel",
    "ReduceOnPlateau(patience=5, factor=0.7)": "ReduceLROnPlateau",
    "TorchScheduler(StepLR, step_size=10)  # and so any of torch.optim.lr_scheduler": "StepLR MultiStepLR ExponentialLR CosineAnnealingLR OneCycleLR",
    "StopOnNaN()": "TerminateOnNaN TerminateOnNaNCallback",
    "EarlyStopping(patience=3)": "EarlyStoppingCallback",
    "MixedPrecision()": "NativeMixedPrecision",
    "GradientClipping(1.0)": "GradientClip",
    "TensorBoard()": "TensorBoardCallback TensorBoardLogger SummaryWriter",
})  # fmt: skip
"""By the name that a package for training elsewhere has, the line here."""


class AnswersNearest(NamesOfOthers):
    """One that says the nearest name of its own where no line is known: a notebook shows only what the error says."""

    def _no_attribute(self, name: str, what: str) -> AttributeError:
        if name.startswith("_"):  # protocols that Python and notebooks probe for
            return AttributeError(what)
        known = [each for each in {*dir(type(self)), *vars(self)} if not each.startswith("_")]
        return AttributeError(f"{what}. {nearest(name, known)}".rstrip())
