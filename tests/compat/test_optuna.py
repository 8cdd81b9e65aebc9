"""What Ravine needs of Optuna's private parts is there and does what it is needed for."""

import optuna

from ravine._compat.optuna import study_id


def test_the_number_of_a_study_opens_it_and_rises():
    storage = optuna.storages.InMemoryStorage()
    for name in ("first", "second"):
        optuna.create_study(study_name=name, storage=storage).enqueue_trial({})
    numbers = {study.study_name: study_id(study) for study in storage.get_all_studies()}
    assert numbers["first"] < numbers["second"]
    assert len(storage.get_all_trials(numbers["first"])) == 1
