"""scikit-learn's digits: 1,797 handwritten digits of 8 x 8 pixels, part of the package, no download."""

from torch.nn import functional

from ravine.tasks._split import stratified
from ravine.tasks._task import Data, Task, mlp, standardize
from ravine.train import accuracy


def task(name: str) -> Task:
    """Digits with a 64-100-10 MLP; one row in five of every digit is for testing."""
    from sklearn.datasets import load_digits

    train, test, train_labels, test_labels = stratified(*load_digits(return_X_y=True))
    train, test = standardize(train, test)
    return Task(
        name=name,
        model=lambda: mlp(64, 100, 10),
        train=Data(train, train_labels.long()),
        test=Data(test, test_labels.long()),
        loss=functional.cross_entropy,
        metrics={"accuracy": accuracy},
        batch_size=64,
        epochs=20,
        quick_epochs=5,
    )
