"""Shows what a study found: a page of HTML, a text for papers, pictures, and a table on the terminal.

report_data.py        everything that is shown, computed once; all others only draw it
figure_data.py        the numbers behind the figures; optimizer_formulas.py what one step of each optimizer computes
explanations.py       the sentence beside each figure; protocol_text.py and declaration.py how the study was made
result_table.py       the table of results; report_tables.py the numbers of every figure; trial_table.py all trainings
report_page.py        report.html; chart_data.py has what its script draws
markdown_report.py    report.md; markdown_syntax.py keeps names from being obeyed
figure_pngs.py        the figures: line_figures.py, and forest_plots.py with a row for each optimizer; figure_style.py
terminal_report.py    the table and the sentences on a terminal
report_files.py       all files of a report
"""
