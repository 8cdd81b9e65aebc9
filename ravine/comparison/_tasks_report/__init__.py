"""Shows what several tasks say together; the report of each task stands beside it, in a folder of its own.

tasks_data.py      what is shown, and its tables
tasks_terminal.py  on a terminal; tasks_markdown.py report.md; tasks_page.py report.html
tasks_figures.py   the figures
tasks_files.py     all files
"""
