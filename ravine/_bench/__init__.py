"""How fast a step is, beside torch's and beside the limit that memory sets. Only the command line uses it.

cases.py       what is timed: sets of shapes, and optimizers with their options
measure.py     how: candidates take turns, medians over rounds
candidates.py  who: ours, torch's ways, torch.compile, the memory stream
step_times.py  one optimizer on one case, timed: a row of the table
first_step.py  the first step of a fresh process, with an empty and a warm kernel cache
endurance.py   thousands of steps with a new learning rate at each: recompiles, memory
whole_step.py  a training step of a task: the optimizer's share of it
process.py     a measurement in a fresh process
targets.py     what must hold, as data, and whether it did
machine.py     the machine that the figures belong to
tables.py      the results as tables and as JSON
"""
