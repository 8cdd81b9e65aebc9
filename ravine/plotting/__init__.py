"""Pictures and tables of plain data: what they show is given to them. Knows no optimizer and no comparison."""
