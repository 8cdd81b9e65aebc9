"""Parts of pictures, tables and pages, made of plain data: for the rooms that draw. All of it is private.

_style.py    how lines are told apart, and how files are made
_curves.py   running means and labels of curves
_tables.py   tables in the terminal; _frames.py makes DataFrames
_html.py     pages, with templates/page.* that all of them share
"""

__all__: list[str] = []
