"""Writes what a study found for other programs: nothing is rounded, and names stay what they are.

results_json.py    results.json: the spec, every training with its curve, and the judgement
judgement_tree.py  the judgement's part of it
results_csv.py     results.csv: a row for each training
tasks_json.py      results.json of several tasks
strict.py          values as strict JSON has them

docs/results-files.md describes the files; whoever changes one of them changes that page, and ``FORMAT`` where an old
reader would fail or be misled. Both are functions of what the storage keeps: written twice, on another machine or after a
resume, a study gives the same bytes. Nothing in them says when, where or by which command they were written.
"""
