"""How often a study calls equal optimizers different if seeds are added after it was judged: simulated.

Run: ``python benchmarks/extensions.py [--studies 4000] [--json FILE]``. It takes some minutes on one thread.

Equal optimizers have normal runs. The study has 20 seeds and is judged once; while it is not settled, seeds are added and it is
judged anew: as many as it says ("advised"), rounded up to 50, 100, 200 or 400 in all, or twice as many as there are ("doubled"), up
to 320. The looks that were had and the new one are then paid for as if they had been planned, as by ``ravine compare --seeds``:
what the plan cannot undo is what was said before there was one. Where more than 1,000 seeds would be needed, the study gives no
advice, and nobody follows it.

The columns are the share of studies that call somebody "not the best", which nobody is, in what they say last: after no extension,
after at most one, two and four. "Ever" is the share that have said it at any of their looks. Without a margin a study of equal
optimizers is settled only by a wrong verdict; with a margin of the spread from seed to seed it can also be by
equivalence.
"""

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ravine.comparison._judge.with_best import WithBest, with_best

OPTIMIZERS, MARGINS = (2, 5), (0.0, 1.0)  # margins in spreads of a run
TIMES = (0, 1, 2, 4)  # extensions
#: By who decides, the numbers of seeds that a study may have.
SEEDS = {"advised": (20, 50, 100, 200, 400), "doubled": (20, 40, 80, 160, 320)}


def looked_at(values: np.ndarray, margin: float, rule: str) -> list[WithBest]:
    """What the study of these (seeds, optimizers) says, first and after each extension."""
    said, seeds = [], SEEDS[rule]
    looks = seeds[:1]
    while True:
        some = {str(i): column[: looks[-1]] for i, column in enumerate(values.T)}
        said.append(with_best(some, looks=looks, margin=margin))
        more = said[-1].more if rule == "advised" else looks[-1]
        if said[-1].settled or not more or looks[-1] == seeds[-1]:
            return said
        needed = min(looks[-1] + more, seeds[-1])
        looks = (*looks, next(n for n in seeds if n >= needed))


def wrong(optimizers: int, margin: float, rule: str, count: int) -> dict[str, Any]:
    """A row: by how often a study is extended, the share that is wrong, and the mean number of seeds that it ends with."""
    rng = np.random.default_rng([optimizers, int(margin)])
    most = max(SEEDS["advised"])
    studies = [looked_at(rng.standard_normal((most, optimizers)), margin, rule) for _ in range(count)]
    row: dict[str, Any] = {"optimizers": optimizers, "margin": margin, "rule": rule}
    for times in TIMES:
        upto = [said[: times + 1] for said in studies]
        row[f"after_{times}"] = float(np.mean([bool(said[-1].others) for said in upto]))
        row[f"ever_{times}"] = float(np.mean([any(each.others for each in said) for said in upto]))
        row[f"seeds_{times}"] = float(np.mean([said[-1].looks[-1] for said in upto]))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=4000, help="of each kind")
    parser.add_argument("--json", type=Path, help="where all figures are written")
    options = parser.parse_args()
    print(
        f"{options.studies} studies of each kind\n\noptimizers  margin  rule   "
        + "".join(f"{t:>9}" for t in TIMES)
        + "  extensions"
    )
    rows = []
    for optimizers, margin, rule in product(OPTIMIZERS, MARGINS, SEEDS):
        row = wrong(optimizers, margin, rule, options.studies)
        rows.append({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()})
        for kind, title in (("after", "last"), ("ever", "ever"), ("seeds", "seeds")):
            figures = "".join(f"{row[f'{kind}_{times}']:9.3f}" for times in TIMES)
            print(f"{optimizers:>10}{margin:>8g}  {rule}{figures}  {title}", flush=True)
    if options.json:
        lines = ",\n".join("  " + json.dumps(row) for row in rows)
        options.json.write_text(f'{{\n "studies": {options.studies},\n "rows": [\n{lines}\n ]\n}}\n')


if __name__ == "__main__":
    main()
