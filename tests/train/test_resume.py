"""A run that was stopped anywhere and gone on with is bit for bit the run that was never stopped."""

import functools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from interrupted_runs import SCENARIOS, differences, everything, stopped, whole

reference = functools.cache(whole)


@pytest.mark.parametrize("name", SCENARIOS)
@settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_run_stopped_at_any_moments_ends_as_if_it_had_never_been_stopped(name, tmp_path_factory, data):
    expected, moments = reference(name)
    folder = tmp_path_factory.mktemp("run")
    every = data.draw(st.sampled_from([1, 2, 5, "epoch"]), "checkpoint_every")
    strikes = data.draw(st.lists(st.integers(1, moments), min_size=1, max_size=3), "moments")
    for strike in strikes:
        done, learn = stopped(name, folder, strike, every)
        if done:  # the checkpoint was near the end
            break
    else:
        done, learn = stopped(name, folder, None, every)
    assert done
    assert differences(expected, everything(learn)) == []
