"""Logistic regression on scikit-learn's breast cancer data: 569 tumours, 30 measurements each, no download."""

from torch import Tensor, nn
from torch.nn import functional

from ravine.tasks._split import stratified
from ravine.tasks._task import Data, Task

_MEASUREMENTS = 30


def task(name: str) -> Task:
    """Benign or malignant from one linear layer; one row in five of either kind is for testing.

    The measurements have very different units, so each is scaled to mean 0 and standard deviation 1 over the training
    rows. The problem is convex: every optimizer should reach the same loss.
    """
    from sklearn.datasets import load_breast_cancer

    train, test, train_labels, test_labels = stratified(*load_breast_cancer(return_X_y=True))
    mean, deviation = train.mean(dim=0), train.std(dim=0)
    return Task(
        name=name,
        model=lambda: nn.Linear(_MEASUREMENTS, 1),
        train=Data(((train - mean) / deviation).float(), train_labels[:, None].float()),
        test=Data(((test - mean) / deviation).float(), test_labels[:, None].float()),
        loss=functional.binary_cross_entropy_with_logits,
        metrics={"accuracy": binary_accuracy},
        batch_size=32,
        epochs=20,
        quick_epochs=5,
    )


def binary_accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    """The fraction of rows whose logit has the sign of their target: above 0 for 1, else 0; both (rows, 1)."""
    return ((logits > 0) == (targets > 0.5)).float().mean()
