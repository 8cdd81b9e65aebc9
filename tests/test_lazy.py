"""What a package answers to a name that it does not have."""

import pytest

import ravine
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
