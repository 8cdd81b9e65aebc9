"""Reads curves that other programs have logged: of each optimizer and run, a value by step.

read.py               `read_curves`: finds the reader for each path
curves.py             `Curves`, what every reader gives, and the checks that they share
csv_file.py           tables with a line for each value
exported_csv.py       tables downloaded from Weights & Biases and TensorBoard; run_names.py finds the optimizer in the name
json_lines_file.py    the same, an object in each line; table_rows.py takes the rows of both
tensorboard_folder.py folders of TensorBoard's event files
optuna_storage.py     Optuna's studies: databases and journal files
text_file.py          a file or a pipe of text
column_names.py       which column is which: names as others write them
cell_values.py        cells as numbers and names

Knows neither the judgement nor studies of ``ravine compare``. A reader refuses what it would have to guess; its error says
file, line and column, what stands there, and what to write.
"""

from ravine.comparison._curves.column_names import columns_of
from ravine.comparison._curves.curves import Curves, RunCurve
from ravine.comparison._curves.read import read_curves
from ravine.comparison._curves.run_names import groups_text

__all__ = ["Curves", "RunCurve", "columns_of", "groups_text", "read_curves"]
