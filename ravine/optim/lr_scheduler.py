"""torch's schedulers under this name, so that only the import of a script changes: this module is ``torch.optim.lr_scheduler``."""

import sys

from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import *  # noqa: F403  # for type checkers

sys.modules[__name__] = lr_scheduler
