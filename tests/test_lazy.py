"""What a package answers to a name that it does not have."""

import pytest

import ravine
import ravine.optim
import ravine.train
from ravine import watch


def test_the_room_that_has_it_is_named():
    with pytest.raises(AttributeError, match="; ravine.diagnose has it: from ravine.diagnose import find_nonfinite$"):
        _ = watch.find_nonfinite
    with pytest.raises(AttributeError, match="; ravine.train has it: from ravine.train import Learner$"):
        _ = ravine.Learner
    with pytest.raises(AttributeError, match="; ravine.optim has it: from ravine.optim import RMSprop$"):
        _ = ravine.RMSprop


def test_or_the_nearest():
    with pytest.raises(AttributeError, match=r"has no attribute 'Histroy'\. Did you mean 'History'\?"):
        _ = watch.Histroy


def test_protocols_are_left_alone():
    with pytest.raises(AttributeError, match="has no attribute '__path_to__'$"):
        _ = watch.__path_to__


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("from ravine.optim import RMSProp", r"Did you mean 'RMSprop'\?$"),
        ("from ravine.optim import Adam, FusedAdamW", r"Did you mean 'AdamW'\? Its step is one kernel already"),
        ("from ravine.formula import clamp", r"; write minimum\(maximum\(x, low\), high\)$"),
        ("from ravine.formula import abs", r"; write Python's own abs\(x\)$"),
        ("from ravine.formula import sin", "; its functions are abs, sqrt, sign, "),
        ("from ravine.formula import maximun", r"Did you mean 'maximum'\?$"),
        ("from ravine import RMSprop", "ravine.optim has it: from ravine.optim import RMSprop$"),
        ("from ravine.train import ModelCheckpoint", "; write: BestCheckpoint()"),
        ("def f():\n    from ravine.watch import Histroy\nf()", r"Did you mean 'History'\?"),
    ],
)
def test_an_import_says_what_the_attribute_says(line, said):
    """Python would replace an AttributeError by "cannot import name"."""
    with pytest.raises(ImportError, match=said):
        exec(line, {})


def test_what_probes_for_a_name_finds_none():
    assert not hasattr(ravine.optim, "RMSProp")
    assert not hasattr(ravine.train, "CSVLogger")
    assert getattr(ravine, "RMSprop", None) is None
