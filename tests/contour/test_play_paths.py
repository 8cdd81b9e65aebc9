"""Paths, starts and the choice of rates in the page, run in node, against ``ravine contour``'s own."""

import math
from functools import partial

import numpy as np
import pytest
from javascript_steps import decoded, run
from page_scripts import script

from ravine.contour import explore
from ravine.contour._playground import play
from ravine.contour._trajectories import follow
from ravine.formula import maximum, minimum, norm, scalar
from ravine.formula._javascript import HELPERS, formula_javascript
from ravine.optim import Optimizer
from ravine.optim._spec import parse
from ravine.tasks import Surface
from ravine.tasks._test_functions import SURFACES

SHOWN = ["sgd", "momentum", "rmsprop:alpha=0.9", "adam", "nadam", "prodigy", "rprop", "adamwschedulefree", "adafactor"]
SETUP = """
const data = given.data;
data.players.forEach((player, i) => ready(player, PRINTED[i]));
data.surfaces.forEach((one) => { one.function = compiled(one.text); });
const silent = (steps) => ({ share: 0, normals: new Float64Array(2 * steps) });
const valuesOf = (player, rate) => player.hypers.map(({ value }, i) => (i === player.rate ? rate : value));
"""


def in_page(made, body, **given):
    printed = ",\n".join(formula_javascript(player.program) for player in made.players)
    parts = f"const PRINTED = (() => {{ {HELPERS} return [{printed}]; }})();"
    code = f"{parts}\n{script('play_expression.js', 'play_paths.js')}\n{SETUP}\n{body}"
    return run(code, {"data": made._data(), **given})


@pytest.mark.parametrize(
    ("surface", "shown", "steps"),
    [*((name, SHOWN[i::3], 25) for i, name in enumerate(SURFACES)), ("ravine", SHOWN[:4], 300)],
)
def test_rates_and_final_values_are_those_of_ravine_contour(surface, shown, steps):
    """Few steps, where a path that does not settle would magnify the last digit of its first steps."""
    made = play(surface, shown)
    found = in_page(
        made,
        """
        const surface = data.surfaces[0], starts = startsOf(surface, data.places, 5), steps = given.steps;
        const finals = data.players.slice(0, data.shown).map((p) => finalsOf(p, p.hypers.map((h) => h.value), surface, data.rates, starts, steps, silent(steps)));
        const first = starts.map(([x, y]) => surface.function.value(x, y));
        const lowest = lowestOf(surface, Math.max(...first), 0), highest = Math.max(...first) - lowest;
        const best = finals.map((one) => bestOf(one, lowest, FLOOR * highest));
        process.stdout.write(JSON.stringify({ starts, best, highest, finals: finals.map((one) => coded(one.flat())) }));
        """,
        steps=steps,
    )
    record = explore(surface, shown, steps=steps).record
    assert [tuple(start) for start in found["starts"]] == list(record.starts)
    assert found["highest"] == pytest.approx(record.highest, rel=1e-12)
    for entry, best, finals in zip(record.entries, found["best"], found["finals"], strict=True):
        ours, theirs = decoded(finals).reshape(13, 5), entry.finals
        assert best == record.best(entry), entry.spec.label
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=record.floor, err_msg=entry.spec.label)


def test_a_path_is_that_of_python_step_by_step():
    made = play("beale", SHOWN)
    found = in_page(
        made,
        """
        const surface = data.surfaces[0];
        const paths = data.players.slice(0, data.shown).map((p) => follow(p, valuesOf(p, 0.01), surface, surface.start, 60, silent(60), true));
        process.stdout.write(JSON.stringify(paths.map((p) => ({ x: coded(p.x), y: coded(p.y), values: coded(p.values), ended: p.ended, states: p.states.map(([a]) => a.length) }))));
        """,
    )
    surface = SURFACES["beale"]
    for label, path, player in zip(SHOWN, found, made.players, strict=False):
        ((wanted,),) = follow(parse(label), surface, (0.01,), (surface.start,), 60)
        points = np.stack([decoded(path["x"]), decoded(path["y"])], 1)
        np.testing.assert_allclose(points, wanted.points, rtol=1e-9, err_msg=label)
        np.testing.assert_allclose(decoded(path["values"]), wanted.values, rtol=1e-8, err_msg=label)
        assert (path["ended"] or None) == wanted.diverged_at
        assert path["states"] == [len(points)] * len(player.program.states)


def test_a_path_that_diverges_ends_where_pythons_ends():
    made = play("rosenbrock", ["sgd", "momentum"])
    found = in_page(
        made,
        """
        const surface = data.surfaces[0];
        const paths = data.players.slice(0, 2).map((p) => follow(p, valuesOf(p, 0.05), surface, surface.start, 100, silent(100), false));
        process.stdout.write(JSON.stringify(paths.map((p) => [p.ended, p.x.length])));
        """,
    )
    surface = SURFACES["rosenbrock"]
    for label, (ended, length) in zip(["sgd", "momentum"], found, strict=True):
        ((wanted,),) = follow(parse(label), surface, (0.05,), (surface.start,), 100)
        assert (ended, length) == (wanted.diverged_at, len(wanted.points))
        assert ended


def test_a_slope_that_is_not_finite_ends_a_path_before_its_step():
    made = play("sqrt(x) + y", ["sgd"])
    ended, length = in_page(
        made,
        """
        const path = follow(data.players[0], valuesOf(data.players[0], 0.1), data.surfaces[0], [0, 1], 10, silent(10), false);
        process.stdout.write(JSON.stringify([path.ended, path.x.length]));
        """,
    )
    edge = Surface(lambda p: p[..., 0].sqrt() + p[..., 1], (0.0, 1.0), None, (-5.0, 5.0, -5.0, 5.0))
    ((wanted,),) = follow(parse("sgd"), edge, (0.1,), (edge.start,), 10)
    assert (ended, length) == (wanted.diverged_at, len(wanted.points)) == (1, 1)


def test_states_and_numbers_may_begin_at_infinity():
    def lowest(param, best=math.inf, seen=scalar(-math.inf), *, grad, lr):
        best = minimum(best, grad)
        return param - lr * best, best, maximum(seen, norm(grad))

    made = play("ravine", partial(Optimizer, pieces=[lowest], lr=0.1))
    (x, kept) = in_page(
        made,
        """
        const path = follow(data.players[0], valuesOf(data.players[0], 0.1), data.surfaces[0], [-8, 1.5], 3, silent(3), true);
        process.stdout.write(JSON.stringify([path.x, path.kept[0].map(String)]));
        """,
    )
    assert x[1] == pytest.approx(-8 + 0.1 * 0.8)
    assert kept[0] == "-Infinity"
    assert float(kept[1]) == pytest.approx(np.hypot(0.8, 15))


def test_noise_is_normal_and_of_its_seed():
    first, again, other, odd = run(
        script("play_paths.js")
        + "process.stdout.write(JSON.stringify([[7, 20000], [7, 20000], [8, 20000], [7, 5]].map(([s, n]) => coded(normals(s, n)))));",
        None,
    )
    numbers = decoded(first)
    assert first == again
    assert abs(np.corrcoef(numbers, decoded(other))[0, 1]) < 0.03
    assert abs(numbers.mean()) < 0.03
    assert numbers.std() == pytest.approx(1, abs=0.02)
    assert np.mean(numbers**4) == pytest.approx(3, abs=0.25)
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.03
    assert decoded(odd)[:5] == pytest.approx(numbers[:5])


def test_noise_on_the_gradient_has_the_length_that_is_said():
    made = play("x + y", ["sgd"])  # its gradient is (1, 1) everywhere
    (xs, ys) = in_page(
        made,
        """
        const surface = data.surfaces[0], noise = { share: 0.5, normals: normals(1, 20000) };
        const path = follow(data.players[0], valuesOf(data.players[0], 0.001), surface, [0, 0], 10000, noise, false);
        process.stdout.write(JSON.stringify([coded(path.x), coded(path.y)]));
        """,
    )
    grads = -np.diff(np.stack([decoded(xs), decoded(ys)]), axis=1) / 0.001
    noise = grads - 1
    assert np.sqrt((noise**2).sum(0).mean()) == pytest.approx(0.5 * np.sqrt(2), rel=0.03)
    assert abs(noise.mean()) < 0.02


def test_starts_where_the_function_has_no_value_are_left_out():
    made = play("log(x) + y**2", ["sgd"])
    found = in_page(made, "process.stdout.write(JSON.stringify(startsOf(data.surfaces[0], data.places, 5)));")
    assert len(found) == 5
    assert all(x > 0 for x, _ in found)


def test_every_named_optimizer_on_the_page_makes_the_steps_of_python():
    made = play("rosenbrock")
    found = in_page(
        made,
        """
        const surface = data.surfaces[0];
        process.stdout.write(JSON.stringify(data.players.map((p) => { const path = follow(p, valuesOf(p, 0.001), surface, surface.start, 30, silent(30), false); return [coded(path.x), coded(path.y)]; })));
        """,
    )
    surface = SURFACES["rosenbrock"]
    assert len(found) > 45
    for player, (xs, ys) in zip(made.players, found, strict=True):
        ((wanted,),) = follow(
            parse(f"{player.label}{',' if ':' in player.label else ':'}fused=False"),
            surface,
            (0.001,),
            (surface.start,),
            30,
        )
        points = np.stack([decoded(xs), decoded(ys)], 1)
        np.testing.assert_allclose(points, wanted.points, rtol=1e-9, err_msg=player.label)
