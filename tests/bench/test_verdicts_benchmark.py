"""What benchmarks/verdicts.py compares our verdicts with, against another library."""

import runpy
from pathlib import Path

import numpy as np

SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "verdicts.py"


def test_holms_correction_is_that_of_statsmodels():
    """The pairs are those that statsmodels 0.15.0 finds::

    from scipy import stats
    from statsmodels.stats.multitest import multipletests
    # values as below
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    p = [stats.ttest_rel(values[:, i], values[:, j]).pvalue for i, j in pairs]
    multipletests(p, 0.05, method="holm")
    # p        .0455  .0049  1.5e-5  .372   3.3e-5  1.0e-4
    # found    False  True   True    False  True    True
    """
    run, optimizer = np.mgrid[:9, :4]
    values = (7 * run + 5 * optimizer + 3 * run * optimizer) * 0.618034 % 1 + [0.0, 0.35, 0.52, 1.1]
    (worse,) = runpy.run_path(str(SCRIPT))["holm"](values[None])
    # the means rise with the number of the optimizer
    assert set(zip(*map(list, np.nonzero(worse)), strict=True)) == {(2, 0), (3, 0), (3, 1), (3, 2)}
