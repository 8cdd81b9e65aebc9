"""Shows what a study found: a page of HTML, a text for papers, and pictures.

figures.py   the numbers behind every figure, and the sentence that explains it; page, text and pictures draw the same
formulas.py  what one step of each optimizer computes
page.py      report.html; charts.py has what its script draws, tables.py, trials.py and described.py what it writes
"""
