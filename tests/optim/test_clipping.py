"""Clipping inside the step against torch's functions followed by torch's step."""

from __future__ import annotations

import pytest
import torch
from kinds import one_of_each_kind
from torch.nn import Parameter
from torch_pairs import CLASSES, fit

from ravine.errors import OptionError
from ravine.optim import SGD, Adam, Optimizer, RMSprop, pieces

PATHS = pytest.mark.parametrize("fused", [None, False], ids=["kernel", "eager"])
SHAPES = [(40, 30), (), (0,), (20_000,), (7,)]


def twins(dtype=torch.float64, shapes=SHAPES):
    generator = torch.Generator().manual_seed(0)
    ours = [Parameter(torch.randn(s, generator=generator, dtype=torch.float64).to(dtype)) for s in shapes]
    return ours, [Parameter(p.detach().clone()) for p in ours]


def give(ours, theirs, step, scale=1.0):
    generator = torch.Generator().manual_seed(step)
    for p, q in zip(ours, theirs, strict=True):
        p.grad = (torch.randn(p.shape, generator=generator, dtype=torch.float64) * scale).to(p.dtype)
        q.grad = p.grad.clone()


def assert_same(ours, theirs, tolerance=1e-12):
    for p, q in zip(ours, theirs, strict=True):
        assert torch.allclose(p.detach(), q.detach(), rtol=tolerance, atol=tolerance)


#: Clipping changes the gradient before the formula sees it: a kernel for one of each kind.
KINDS = one_of_each_kind(c.__name__.lower() for c in CLASSES)
CASES = [(c, False) for c in CLASSES] + [(c, None) for c in CLASSES if c.__name__.lower() in KINDS]


@pytest.mark.usefixtures("numbers_in_double")
@pytest.mark.parametrize(("cls", "fused"), CASES, ids=lambda x: getattr(x, "__name__", x))
def test_clip_norm_is_torchs_clipping_and_torchs_step(cls, fused):
    ours, theirs = twins(shapes=fit(cls, SHAPES))
    mine, other = cls(ours, lr=0.01, clip_norm=2.0, fused=fused), getattr(torch.optim, cls.__name__)(theirs, lr=0.01)
    for step in range(20):
        give(ours, theirs, step, scale=0.001 if step % 3 == 0 else 1.0)  # the first of three is shorter than the limit
        wanted = torch.nn.utils.clip_grad_norm_(theirs, 2.0).item()
        before = [p.grad.clone() for p in ours]
        mine.step()
        other.step()
        assert mine.watch.last.grad_norm == pytest.approx(wanted, rel=1e-6)
        assert all(torch.equal(p.grad, b) for p, b in zip(ours, before, strict=True)), "the gradients are left alone"
    assert_same(ours, theirs, 1e-3 if cls.__name__ == "Muon" else 1e-12)  # it rounds to bfloat16 on the way


@PATHS
def test_the_limit_may_change_every_step_and_end(fused):
    ours, theirs = twins()
    mine, other = SGD(ours, lr=0.1, clip_norm=1.0, fused=fused), torch.optim.SGD(theirs, lr=0.1)
    for step, limit in enumerate([1.0, 0.1, 5.0, None, 2.0]):
        mine.param_groups[0]["clip_norm"] = limit
        give(ours, theirs, step)
        if limit is not None:
            torch.nn.utils.clip_grad_norm_(theirs, limit)
        mine.step()
        other.step()
    assert_same(ours, theirs)


@PATHS
def test_the_groups_that_have_a_limit_are_clipped_together(fused):
    ours, theirs = twins()
    dicts = [{"params": ours[:2], "clip_norm": 1.0}, {"params": ours[2:4], "clip_norm": 0.5}, {"params": ours[4:]}]
    mine = SGD(dicts, lr=0.1, fused=fused)
    give(ours, theirs, 0)
    norm = torch.cat([q.grad.reshape(-1) for q in theirs[:4]]).norm()
    with torch.no_grad():
        for q, limit in zip(theirs, [1.0, 1.0, 0.5, 0.5, None], strict=True):
            q -= 0.1 * q.grad * (min(1.0, limit / (norm.item() + 1e-6)) if limit else 1.0)
    mine.step()
    assert_same(ours, theirs)


@PATHS
def test_a_norm_that_is_not_finite_is_as_in_torch(fused):
    for value in (float("inf"), float("nan")):
        ours, theirs = twins()
        mine, other = SGD(ours, lr=0.1, clip_norm=1.0, fused=fused), torch.optim.SGD(theirs, lr=0.1)
        give(ours, theirs, 0)
        ours[0].grad[3, 3] = theirs[0].grad[3, 3] = value
        torch.nn.utils.clip_grad_norm_(theirs, 1.0)
        mine.step()
        other.step()
        for p, q in zip(ours, theirs, strict=True):
            assert torch.allclose(p.detach(), q.detach(), equal_nan=True)


@PATHS
def test_clipping_happens_after_the_loss_scale_is_taken_out(fused):
    ours, theirs = twins(torch.float32)
    mine, other = SGD(ours, lr=0.1, clip_norm=1.0, fused=fused), torch.optim.SGD(theirs, lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    scaler.scale(torch.ones(()))
    give(ours, theirs, 0)
    for p in ours:
        p.grad = p.grad * 256
    torch.nn.utils.clip_grad_norm_(theirs, 1.0)
    scaler.step(mine)
    other.step()
    assert_same(ours, theirs, 1e-5)


@PATHS
def test_clip_value_is_torchs(fused):
    ours, theirs = twins()
    mine = Optimizer(ours, [pieces.clip_value, pieces.descend], lr=0.1, max_value=0.3, fused=fused)
    other = torch.optim.SGD(theirs, lr=0.1)
    give(ours, theirs, 0)
    torch.nn.utils.clip_grad_value_(theirs, 0.3)
    mine.step()
    other.step()
    assert_same(ours, theirs)


@PATHS
def test_clip_norm_by_tensor_is_torchs_function_on_each(fused):
    ours, theirs = twins()
    mine = Optimizer(ours, [pieces.clip_norm, pieces.descend], lr=0.1, max_norm=1.5, fused=fused)
    other = torch.optim.SGD(theirs, lr=0.1)
    give(ours, theirs, 0)
    for q in theirs:
        torch.nn.utils.clip_grad_norm_([q], 1.5)
    mine.step()
    other.step()
    assert_same(ours, theirs)


@PATHS
def test_adaptive_clip_is_the_papers_formula(fused):
    ours, theirs = twins()
    with torch.no_grad():
        ours[4].zero_(), theirs[4].zero_()  # a bias that starts at 0 can move
    mine = Optimizer(ours, [pieces.adaptive_clip, pieces.descend], lr=0.1, clip_factor=0.02, fused=fused)
    give(ours, theirs, 0)
    with torch.no_grad():
        for q in theirs:
            longest, length = 0.02 * max(q.norm().item(), 1e-3), q.grad.norm().item()
            q -= 0.1 * (q.grad * (longest / length) if length > longest else q.grad)
    mine.step()
    assert_same(ours, theirs)
    assert ours[4].detach().norm() > 0


def test_a_piece_of_ones_own_that_reads_clip_norm_is_the_only_one():
    ours, theirs = twins()
    mine = Optimizer(ours, [pieces.clip_global_norm, pieces.descend], lr=0.1, clip_norm=1.0)
    other = SGD(theirs, lr=0.1, clip_norm=1.0)
    assert [getattr(p, "__name__", "") for p in mine.pieces(mine.param_groups[0])] == ["clip_global_norm", "descend"]
    give(ours, theirs, 0)
    mine.step()
    other.step()
    assert_same(ours, theirs)


@pytest.mark.parametrize(
    ("piece", "option"),
    [(pieces.clip_norm, "max_norm"), (pieces.clip_value, "max_value"), (pieces.adaptive_clip, "clip_factor")],
)
def test_pieces_refuse_limits_below_0(piece, option):
    with pytest.raises(OptionError, match=f"{option}=-1"):
        Optimizer([Parameter(torch.zeros(2))], [piece, pieces.descend], lr=0.1, **{option: -1.0})


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "1", True, (1, 2), torch.ones(2)])
def test_impossible_limits(value):
    with pytest.raises(OptionError, match="clip_norm"):
        RMSprop([Parameter(torch.zeros(2))], clip_norm=value)


def test_state_dicts_stay_torchs():
    ours, theirs = twins(torch.float32)
    mine, other = Adam(ours, clip_norm=1.0), torch.optim.Adam(theirs)
    give(ours, theirs, 0)
    mine.step()
    other.step()
    other.load_state_dict(mine.state_dict())
    mine.load_state_dict(torch.optim.Adam(theirs).state_dict() | {"state": other.state_dict()["state"]})
    assert mine.param_groups[0]["clip_norm"] == 1.0
