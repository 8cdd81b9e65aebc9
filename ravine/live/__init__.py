"""A local page of what runs now: a training or a study, read from its files while others write them. All of it is private.

_run_reading.py    what is known of a training, as one frozen snapshot; _run_state.py says in words how it stands
_run_parts.py      the parts of its page, as JSON has them; _series.py and watch/_layers.py make them short
_study_reading.py  what is known of a study; _study_parts.py makes the parts of its page
_watcher.py        asks for snapshots while somebody looks, and tells every browser what has changed
_server.py         routes, the token, events; _page.py makes the page; _serving.py runs it all
_control.py        what ``--control`` allows
"""

__all__: list[str] = []
