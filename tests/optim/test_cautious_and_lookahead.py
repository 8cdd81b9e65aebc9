"""``cautious=True`` and ``lookahead=(k, alpha)``, which every formula takes, against the papers' equations in NumPy."""

import copy
import pickle

import numpy as np
import pytest
import torch
from step_runs import PATHS, randn
from torch.nn import Parameter

from ravine import optim
from ravine.errors import FormulaError, OptionError
from ravine.optim import AdamW, Optimizer, RMSprop, pieces


def of_params(shapes=((40, 7), (5,), ()), dtype=torch.float64):
    return [Parameter(randn(*shape, dtype=dtype, seed=i)) for i, shape in enumerate(shapes)]


def give(params, step):
    """Gradients that do not depend on the parameters: masks of two optimizers are then of the same numbers."""
    grads = [randn(*p.shape, dtype=p.dtype, seed=100 * step + i) for i, p in enumerate(params)]
    for p, g in zip(params, grads, strict=True):
        p.grad = g
    return [g.double().numpy() for g in grads]


@PATHS
def test_cautious_adamw_is_the_papers(fused):
    """Liang et al., 2024, algorithm 1, with the mask and the least share of the authors' code."""
    params = of_params()
    ours = AdamW(params, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1, cautious=True, fused=fused)
    wanted = [(p.detach().numpy().copy(), np.zeros(p.shape), np.zeros(p.shape)) for p in params]
    for step in range(1, 8):
        grads = give(params, step)
        ours.step()
        made = []
        for (p, m, v), g in zip(wanted, grads, strict=True):
            m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
            u = m / (1 - 0.8**step) / (np.sqrt(v) / np.sqrt(1 - 0.95**step) + 1e-6)
            mask = (u * g > 0).astype(float)
            made.append((p * (1 - 0.001) - 0.01 * u * mask / max(mask.mean(), 1e-3), m, v))
        wanted = made
        for p, (w, _, _) in zip(params, wanted, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-12, atol=1e-14)


@PATHS
def test_lookahead_is_the_papers_around_any_optimizer(fused):
    """Zhang et al., 2019, algorithm 1, around torch's RMSprop."""
    params = of_params()
    fast = [Parameter(p.detach().clone()) for p in params]
    slow = [p.detach().clone() for p in params]
    ours = RMSprop(params, lr=0.01, lookahead=(3, 0.25), fused=fused)
    inner = torch.optim.RMSprop(fast, lr=0.01)
    for step in range(1, 11):
        give(params, step)
        for p, q in zip(params, fast, strict=True):
            q.grad = p.grad.clone()
        ours.step()
        inner.step()
        if step % 3 == 0:
            with torch.no_grad():
                for q, s in zip(fast, slow, strict=True):
                    q.copy_(s.lerp_(q, 0.25))
        for p, q in zip(params, fast, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-13)


def test_they_go_together_with_clipping_and_an_average():
    params = of_params(dtype=torch.float32)
    ours = optim.SGD(params, 0.1, momentum=0.9, cautious=True, lookahead=(2, 0.5), clip_norm=1.0, ema_decay=0.9)
    for step in range(1, 4):
        give(params, step)
        ours.step()
    assert set(ours.state[params[0]]) == {"step", "momentum_buffer", "slow_param", "param_avg"}
    again = optim.SGD(
        of_params(dtype=torch.float32),
        0.1,
        momentum=0.9,
        cautious=True,
        lookahead=(2, 0.5),
        clip_norm=1.0,
        ema_decay=0.9,
    )
    again.load_state_dict(ours.state_dict())
    for other in (again, copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert other.param_groups[0]["lookahead"] == (2, 0.5)
        assert other.param_groups[0]["cautious"] is True


def test_a_group_has_them_only_while_they_are_set():
    params = of_params()
    ours = optim.Adam([{"params": params[:1], "cautious": True}, {"params": params[1:]}], lr=0.1)
    assert "cautious" not in ours.param_groups[1]
    assert "lookahead" not in ours.param_groups[0]
    assert "mean" not in str(ours.program(1))
    assert [len(ours.program(i).passes) for i in (0, 1)] == [2, 1]


def test_the_slow_parameters_of_16_bits_are_kept_in_32():
    p = Parameter(torch.ones(8, dtype=torch.bfloat16))
    ours = optim.SGD([p], 1e-4, lookahead=(2, 0.5))
    p.grad = torch.ones_like(p)
    ours.step()
    assert ours.state[p]["slow_param"].dtype is torch.float32


@pytest.mark.parametrize("wrong", [(0, 0.5), (2.5, 0.5), (5, 2.0), (5, 0.0), 5, (1, 0.5, 0.5), "5"])
def test_what_lookahead_cannot_be(wrong):
    with pytest.raises(OptionError, match=r"lookahead=.*it is \(k, alpha\), such as \(5, 0\.5\)"):
        optim.SGD(of_params(), 0.1, lookahead=wrong)


def test_cautious_is_a_flag_and_needs_an_update():
    with pytest.raises(OptionError, match="cautious=3.*it is True or False"):
        optim.SGD(of_params(), 0.1, cautious=3)

    def plain(param, *, grad, lr):
        return param - lr * grad

    with pytest.raises(FormulaError, match=r"cautious=True compares .*End it with pieces\.descend"):
        Optimizer(of_params(), [plain], lr=0.1, cautious=True).step()
    assert Optimizer(of_params(), [pieces.descend], lr=0.1, cautious=True).program()
