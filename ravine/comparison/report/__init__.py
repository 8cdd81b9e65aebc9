"""Shows what a study found: a page of HTML, a text for papers, and pictures.

figures.py   the numbers behind every figure, and the sentence that explains it; page, text and pictures draw the same
"""
