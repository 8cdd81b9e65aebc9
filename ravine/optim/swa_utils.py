"""torch's averages of weights under this name, so that only the import of a script changes: this module is ``torch.optim.swa_utils``."""

import sys

from torch.optim import swa_utils
from torch.optim.swa_utils import *  # noqa: F403  # for type checkers

sys.modules[__name__] = swa_utils
