"""A comparison as a study: declared before it runs, cut into trials that can run anywhere, kept in a store.

spaces.py         points in search spaces, and the file that declares spaces
schedules.py      how the learning rate changes: for all, or for one optimizer
study_spec.py     everything that decides a study, with a hash; declare.py makes it, code_versions.py guards the code
trial.py          one training: a pure function of (spec, point, seed)
tuning.py         the points of every tuning, and the best of them
stages.py         which trials are needed, from the results there are; study_progress.py says how far that is
measured.py       what the trials gave, as the judgement takes it
cost.py           what a study will cost, before it runs
store.py          trials in an Optuna study: a file (study_journal.py), or a database that many machines share;
                  patience.py waits for one that restarts
trial_worker.py   takes trials from the store and runs them; local_workers.py starts such processes here
step_seconds.py   what one step takes
location.py       where a study is kept and where its report goes
study_record.py   what was declared and what was measured, and its judgement
"""
