"""Search paths of optimizers on the contour lines of a function: followed, drawn, and as a page.

_paths.py    steps every optimizer down the function and chooses its rate; _path_record.py is one path
_scene.py    what was found, as plain data; _sheet.py and _page.py draw it
"""
