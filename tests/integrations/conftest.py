"""Tests that run inside a trainer need all of the trainers: `scripts/integrations` installs them. Elsewhere they are not collected."""

from importlib.util import find_spec

#: The packages that the files named test_inside_... import.
TRAINERS = ("accelerate", "fastai", "ignite", "keras", "lightning", "skorch", "transformers")

collect_ignore_glob = [] if all(find_spec(name) for name in TRAINERS) else ["test_inside_*.py"]
