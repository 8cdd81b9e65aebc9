"""A local page of what runs now: a training or a study, read from its files while others write them.

run_reading.py    what is known of a training, as one frozen snapshot; run_state.py says in words how it stands
run_parts.py      the parts of its page, as JSON has them; series.py and watch/_layers.py make them short
study_reading.py  what is known of a study; study_parts.py makes the parts of its page
watcher.py        asks for snapshots while somebody looks, and tells every browser what has changed
server.py         routes, the token, events; page.py makes the page; serving.py runs it all
control.py        what ``--control`` allows
"""
