"""A comparison as a study: declared before it runs, cut into trials that can run anywhere, kept in a store.

space.py      search spaces and the points in them
spec.py       everything that decides a study, with a hash
trial.py      one training: a pure function of (spec, point, seed)
protocol.py   which trials are needed, from those that are done
store.py      trials in an Optuna study: a file, or a database that many machines share
worker.py     takes trials from the store and runs them
"""
