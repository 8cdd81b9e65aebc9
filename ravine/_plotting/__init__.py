"""Parts of pictures, tables and pages, made of plain data: for the rooms that draw.

style.py            how lines are told apart, and how files are made
curve_lines.py      running means and labels of curves
terminal_tables.py  tables in the terminal; frames.py makes DataFrames
html.py             pages, with templates/page.* that all of them share
notebook_html.py    outputs in a notebook, with html_curves.py and html_map.py
"""
