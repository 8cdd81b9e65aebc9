"""The optimizer's share of a training step: from seconds that we set, and once for real. Nothing here asks for speed."""

import json

import pytest
import torch
from click.testing import CliRunner

from ravine._bench import tables, whole_step
from ravine._bench.whole_step import WholeStep
from ravine.cli import _bench as bench
from ravine.errors import OptionError
from ravine.optim._spec import parse

MINE = """\
import torch
from ravine.tasks import Data, Task

x = torch.randn(90, 3, generator=torch.Generator().manual_seed(0))

def task():
    data = Data(x, (x[:, 0] > 0).long())
    loss = torch.nn.functional.cross_entropy
    return Task(model=lambda: torch.nn.Linear(3, 2), train=data, test=data, loss=loss, batch_size=30)
"""


def found(**others):
    seconds = {"data": 1e-5, "forward": 4e-5, "backward": 4e-5}
    ours = {"ravine": {**seconds, "step": 1e-5}}
    return WholeStep(
        "digits", "sgd", 4, 7510, 1, ours | {who: {**seconds, "step": step} for who, step in others.items()}
    )


def test_shares_and_gains_are_those_of_the_seconds():
    one = found(default=6e-5, fused=1e-5)
    assert one.share("ravine") == pytest.approx(0.1)
    assert one.share("default") == pytest.approx(0.4)
    assert one.gain("default") == pytest.approx(1.5)
    assert one.sentence == (
        "The optimizer takes 10% of a training step of digits with sgd. The training is 1.50 times as fast as with torch's "
        "default step (40%); 1.00 times as fast as with torch's fused step (10%)."
    )
    assert found().sentence.endswith("with sgd; torch has no such optimizer.")
    assert tables.whole_step_table(one).row_count == 3


def params():
    return [torch.nn.Parameter(torch.ones(3))]


@pytest.mark.parametrize(
    ("label", "cls", "ways"),
    [
        ("momentum:lr=0.1", torch.optim.SGD, ["default", "foreach", "fused"]),
        ("rmsprop:lr=0.1,alpha=0.8", torch.optim.RMSprop, ["default", "foreach"]),
        ("rmsprop-keras:lr=0.1", None, []),
        ("adam:lr=0.1,clip_norm=1.0", None, []),
    ],
)
def test_torchs_ways_are_those_that_say_the_same(label, cls, ways):
    ours = parse(label).build(params())
    theirs = whole_step._torch_ways(ours)
    assert list(theirs) == ways
    for build in theirs.values():
        made = build(params())
        assert type(made) is cls
        known = {name: value for name, value in made.defaults.items() if name in ours.defaults and name != "fused"}
        assert known == {name: ours.defaults[name] for name in known}


def test_a_task_of_ones_own_is_timed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    threads = torch.get_num_threads()
    arguments = ["mine.py", "-o", "adam", "--rounds", "1", "--json", "out.json"]
    result = CliRunner().invoke(bench.command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert result.output.startswith("The optimizer takes ")
    assert "8 parameters in 2 tensors, 1 thread" in result.output
    [row] = json.loads((tmp_path / "out.json").read_text())["tasks"]
    assert list(row["seconds"]) == ["ravine", "default", "foreach", "fused"]
    assert row["share"]["ravine"] == pytest.approx(
        row["seconds"]["ravine"]["step"] / sum(row["seconds"]["ravine"].values())
    )
    assert torch.get_num_threads() == threads


def test_what_does_not_go_with_a_task_is_said():
    with pytest.raises(OptionError, match="--watch does not go with a task"):
        CliRunner().invoke(bench.command, ["digits", "--watch"], catch_exceptions=False)
