"""A training's life on a CUDA device: nothing waits, graphs, streams, GradScaler, clipping, skipping, several devices."""

from __future__ import annotations

import warnings

import pytest
import torch
from on_cuda import close, give, kernels_step, make, no_waiting, parameters, same
from torch import nn
from torch.nn import Parameter

from ravine.errors import BackendError, ParameterError
from ravine.optim import SGD, Adam, AdamW, RMSprop


@pytest.mark.parametrize("options", [{}, {"clip_norm": 1.0}, {"nonfinite": "skip"}, {"ema_decay": 0.9}], ids=str)
@pytest.mark.parametrize("name", ["adamw", "rmsprop-centered", "lion"])
def test_no_step_waits_for_the_device(name, options):
    params = parameters(torch.float32)
    optimizer = make(name, params, **options)
    give(params, 0)
    optimizer.step()
    for step in range(1, 140):  # statistics are combined on the way
        optimizer.param_groups[0]["lr"] = 0.01 / step
        if step % 50 == 1:
            give(params, step)
        with no_waiting():
            optimizer.step()
    assert kernels_step(optimizer)


def test_clipping_is_torchs():
    a, b = parameters(torch.float32), parameters(torch.float32)
    ours, theirs = AdamW(a, lr=0.01, clip_norm=0.5), torch.optim.AdamW(b, lr=0.01)
    for step in range(4):
        give(a, step)
        give(b, step)
        ours.step()
        torch.nn.utils.clip_grad_norm_(b, 0.5)
        theirs.step()
    for p, q in zip(a, b, strict=True):
        close(p, q, torch.float32)


def test_sums_are_the_same_every_time():
    def run():
        params = parameters(torch.float32, [(1_000_003,), (17,), (300, 301)])
        optimizer = AdamW(params, lr=0.01, clip_norm=0.5)
        for step in range(3):
            give(params, step)
            optimizer.step()
        return params

    for p, q in zip(run(), run(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_gradscaler_does_not_wait_and_an_overflow_changes_nothing(clip):
    params, others = parameters(torch.float32), parameters(torch.float32)
    # fused=True: as with torch's classes, only then the scaler leaves unscaling to the optimizer.
    optimizer, plain = Adam(params, lr=0.01, clip_norm=clip, fused=True), Adam(others, lr=0.01, clip_norm=clip)
    scaler = torch.amp.GradScaler("cuda", init_scale=1024.0)
    for step in range(6):
        give(params, step)
        scale = scaler.scale(torch.ones((), device="cuda"))
        for p in params:
            p.grad.mul_(scale)
        if step == 3:
            params[0].grad.view(-1)[5] = float("inf")
            before = [p.detach().clone() for p in params]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if step > 1:
                with no_waiting():
                    scaler.step(optimizer)
                    scaler.update()
            else:
                scaler.step(optimizer)
                scaler.update()
        if step == 3:
            assert all(torch.equal(p, q) for p, q in zip(params, before, strict=True))
        else:
            give(others, step)
            plain.step()
    same(optimizer, plain, torch.float32)
    assert optimizer.watch.overflowed == 1
    assert float(optimizer.state[params[0]]["step"]) == 5
    assert optimizer.watch.last["0"].grad_norm == pytest.approx(plain.watch.last["0"].grad_norm, rel=1e-5)


def test_a_step_that_is_skipped_changes_nothing():
    params = parameters(torch.float32)
    optimizer = RMSprop(params, lr=0.01, nonfinite="skip", momentum=0.9)
    for step in range(3):
        give(params, step)
        optimizer.step()
    kept = [t.clone() for p in params for t in (p.detach(), *optimizer.state[p].values())]
    give(params, 3)
    params[0].grad[3, 3] = float("nan")
    with no_waiting():
        optimizer.step()
    now = [t for p in params for t in (p.detach(), *optimizer.state[p].values())]
    assert all(torch.equal(a, b) for a, b in zip(now, kept, strict=True))
    with pytest.warns(UserWarning, match="skip"):
        assert optimizer.watch.skipped == 1
    give(params, 4)
    optimizer.step()
    assert float(optimizer.state[params[0]]["step"]) == 4


@pytest.mark.parametrize("name", ["adamw", "rmsprop", "momentum"])
def test_a_graph_captures_a_step_and_sees_a_new_rate(name):
    a, b = parameters(torch.float32), parameters(torch.float32)
    lr = torch.tensor(0.01, device="cuda")
    options = {"clip_norm": 1.0} if name == "adamw" else {}
    ours, plain = make(name, a, lr=lr, **options), make(name, b, **options)
    give(a, 0)
    give(b, 0)
    ours.step()
    plain.step()
    static = [p.grad for p in a]
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        ours.step()
    for step in range(1, 6):
        give(b, step)
        for g, q in zip(static, b, strict=True):
            g.copy_(q.grad)
        rate = 0.01 / step
        lr.fill_(rate)
        plain.param_groups[0]["lr"] = rate
        graph.replay()
        plain.step()
    same(ours, plain, torch.float32)
    # Outside the graph it goes on, with other gradients, and the graph after it.
    give(a, 7)
    give(b, 7)
    ours.step()
    plain.step()
    for g, q in zip(static, b, strict=True):
        g.copy_(q.grad)
    graph.replay()
    plain.step()
    same(ours, plain, torch.float32)


def test_a_whole_training_step_in_a_graph():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 1)).cuda()
    optimizer = Adam(model.parameters(), lr=0.01)
    x, y = torch.randn(64, 20, device="cuda"), torch.randn(64, 1, device="cuda")

    def train():
        optimizer.zero_grad(set_to_none=False)
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        first = float(train())
        for _ in range(2):
            train()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = train()
    for _ in range(100):
        graph.replay()
    assert float(loss) < 0.5 * first
    assert float(optimizer.state[next(model.parameters())]["step"]) == 103


def test_a_graph_before_the_first_step_is_refused_by_name():
    params = parameters(torch.float32)
    optimizer = SGD(params, lr=0.1)
    give(params, 0)
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with pytest.raises(BackendError, match="before"), torch.cuda.graph(graph):
        optimizer.step()


def test_a_stream_that_is_not_the_default_one():
    a, b = parameters(torch.float32), parameters(torch.float32)
    ours, plain = Adam(a, lr=0.01), Adam(b, lr=0.01)
    stream = torch.cuda.Stream()
    for step in range(4):
        give(b, step)
        plain.step()
        torch.cuda.synchronize()
        with torch.cuda.stream(stream if step % 2 else torch.cuda.default_stream()):
            give(a, step)
            ours.step()
        torch.cuda.synchronize()
    same(ours, plain, torch.float32)


@pytest.mark.parametrize("options", [{}, {"clip_norm": 1.0}, {"nonfinite": "skip"}], ids=str)
def test_parameters_on_the_host_and_on_the_device(options):
    def made(fused):
        params = parameters(torch.float32)
        params[0], params[5] = (Parameter(p.detach().cpu()) for p in (params[0], params[5]))
        return params, AdamW(params, lr=0.01, fused=fused, **options)

    (a, ours), (b, eager) = made(None), made(False)
    for step in range(3):
        give(a, step)
        give(b, step)
        ours.step()
        eager.step()
    for p, q in zip(a, b, strict=True):
        close(p, q, torch.float32)


def test_a_parameter_that_moves_and_groups_of_several_rates():
    a, b = parameters(torch.float32), parameters(torch.float32)
    ours, eager = (
        Adam([{"params": ps[:3]}, {"params": ps[3:], "lr": 0.1}], lr=0.01, clip_norm=1.0, fused=f)
        for ps, f in ((a, True), (b, False))
    )
    for step in range(4):
        if step == 2:
            for ps in (a, b):
                ps[4].data = ps[4].data.clone()
        give(a, step)
        give(b, step)
        ours.step()
        eager.step()
    same(ours, eager, torch.float32)


@pytest.mark.filterwarnings("ignore")  # of torch's compiler
def test_a_training_step_that_is_compiled():
    torch.manual_seed(0)
    model = nn.Linear(20, 1).cuda()
    optimizer = Adam(model.parameters(), lr=0.05)
    x, y = torch.randn(64, 20, device="cuda"), torch.randn(64, 1, device="cuda")

    @torch.compile(backend="aot_eager")
    def train():
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    losses = [float(train()) for _ in range(20)]
    assert losses[-1] < 0.8 * losses[0]


def test_resume_is_bit_for_bit():
    a, b = parameters(torch.bfloat16), parameters(torch.bfloat16)
    one = AdamW(a, lr=0.01)
    for step in range(3):
        give(a, step)
        one.step()
    two = AdamW(b, lr=0.01)
    two.load_state_dict(one.state_dict())
    for p, q in zip(a, b, strict=True):
        q.data.copy_(p.data)
    give(a, 9)
    give(b, 9)
    one.step()
    two.step()
    for p, q in zip(a, b, strict=True):
        assert torch.equal(p, q)


def test_a_parameter_that_moves_takes_its_states_along_and_a_gradient_elsewhere_is_an_error_by_name():
    p, q = Parameter(torch.ones(100)), Parameter(torch.ones(100))
    optimizer, plain = Adam([p], lr=0.1), Adam([q], lr=0.1)
    for step in range(3):
        if step == 1:
            p.data = p.data.cuda()  # its gradient is where it was
            before = p.detach().clone()
            with pytest.raises(ParameterError, match="parameter 0 .*on cuda:0, and its gradient on cpu"):
                optimizer.step()
            assert torch.equal(p, before)
        p.grad, q.grad = torch.full_like(p, step + 1.0), torch.full_like(q, step + 1.0)
        optimizer.step()
        plain.step()
    close(p.cpu(), q, torch.float32)
    assert optimizer.state[p]["exp_avg"].is_cuda


def test_raising_in_a_graph_is_refused_by_name():
    params = parameters(torch.float32)
    optimizer = Adam(params, lr=0.1, nonfinite="raise")
    give(params, 0)
    optimizer.step()
    torch.cuda.synchronize()
    with pytest.raises(BackendError, match="nonfinite='raise'"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        optimizer.step()


@pytest.mark.filterwarnings("ignore")
def test_a_scheduler_can_see_that_a_step_was_left_out():
    p = Parameter(torch.ones(10, device="cuda"))
    optimizer, scaler = Adam([p], lr=0.1, fused=True), torch.amp.GradScaler("cuda", init_scale=4.0)
    seen = []
    for bad in (0.0, float("inf"), 0.0):
        scaler.scale((p * (1.0 + bad)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        seen.append(optimizer.skipped)
    assert seen == [0, 1, 1]


def captured(optimizer):
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    return graph


def test_two_graphs_of_one_optimizer_with_gradients_at_other_places():
    a, b = parameters(torch.float32), parameters(torch.float32)
    ours, plain = Adam(a, lr=0.01, clip_norm=1.0), Adam(b, lr=0.01, clip_norm=1.0)
    sets, graphs = [], []
    for step in range(2):
        give(a, step)
        give(b, step)
        ours.step()
        plain.step()
        sets.append([p.grad for p in a])
        graphs.append(captured(ours))
    for step in range(2, 8):
        give(b, step)
        for g, q in zip(sets[step % 2], b, strict=True):
            g.copy_(q.grad)
        graphs[step % 2].replay()
        plain.step()
    same(ours, plain, torch.float32)
    assert len(ours.watch.history) == 2


@pytest.mark.filterwarnings("ignore:nonfinite")
def test_a_graph_skips_what_is_not_finite_and_counts_it():
    params, others = parameters(torch.float32), parameters(torch.float32)
    ours, plain = (RMSprop(ps, lr=0.01, nonfinite="skip", momentum=0.9) for ps in (params, others))
    give(params, 0)
    give(others, 0)
    ours.step()
    plain.step()
    graph = captured(ours)
    for step in range(1, 6):
        give(others, step)
        if step in (2, 4):
            others[0].grad[3, 3] = float("nan")
        for p, q in zip(params, others, strict=True):
            p.grad.copy_(q.grad)
        graph.replay()
        plain.step()
    same(ours, plain, torch.float32)
    assert ours.skipped == plain.skipped == 2
    assert float(ours.state[params[0]]["step"]) == 4
    params[0].grad[3, 3] = float("nan")
    graph.replay()
    assert ours.skipped == 3


def test_a_graph_is_replayed_after_a_step_that_was_refused():
    """What it works on is still there, and nobody else was given it."""
    params, others = parameters(torch.float32), parameters(torch.float32)
    ours, plain = make("lamb", params), make("lamb", others)
    give(params, 0)
    give(others, 0)
    ours.step()
    plain.step()
    graph = captured(ours)
    static = [p.grad for p in params]
    params[0].grad = static[0].to_sparse()  # norms of tensors are not made of rows
    with pytest.warns(UserWarning, match="capture again"), pytest.raises((ParameterError, BackendError, ValueError)):
        ours.step()
    params[0].grad = static[0]
    torch.cuda.empty_cache()
    filled = [torch.full((n,), float("nan"), device="cuda") for n in (1, 8, 64, 512, 4096, 65_536) for _ in range(50)]
    graph.replay()
    give(others, 0)
    plain.step()
    for p, q in zip(params, others, strict=True):
        close(p, q, torch.float32)
    assert all(bool(f.isnan().all()) for f in filled)


def test_a_capture_of_parameters_here_and_there_is_refused():
    params = [Parameter(torch.ones(5)), Parameter(torch.ones(5, device="cuda"))]
    optimizer = Adam(params, lr=0.1)
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer.step()
    before = [p.detach().clone() for p in params]
    torch.cuda.synchronize()
    with pytest.raises(BackendError, match="on the CPU"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(params, before, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_large_tensors_are_looked_at_in_full_now_and_then(dtype):
    p = torch.nn.Parameter(torch.randn(5_000_003, device="cuda").to(dtype))
    optimizer = make("adamw", [p])
    p.grad = torch.randn_like(p)
    for _ in range(257):
        optimizer.step()
    with no_waiting():  # the kernel of brief looks is compiled by now, and steps
        optimizer.step()
    last = optimizer.watch.last
    assert (last.step, last.step_in_full, last.nonfinite) == (258, 257, 0)
    assert last.grad_norm == pytest.approx(float(p.grad.double().norm()), rel=1e-6)
    assert last.ratio > 0
    optimizer.step()
    p.grad[4_000_000:4_000_002] = float("nan")
    optimizer.step()
    assert optimizer.watch.last.nonfinite == 2
    assert optimizer.watch.first_nonfinite == {"0": 260}
