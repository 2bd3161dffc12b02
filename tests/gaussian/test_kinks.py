"""Kinks are found where they are, with their jumps, and nowhere else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.gaussian._kinks import kinks
from widelimit.gaussian._mesh import mesh
from widelimit.gaussian._pointwise import Pointwise

SMOOTH = {
    "tanh": jnp.tanh,
    "mish": jax.nn.mish,
    "softplus": jax.nn.softplus,
    "squareplus": jax.nn.squareplus,
    "sharp": lambda u: jnp.tanh(30 * u),
    "cube": lambda u: u**3,
    "exp": jnp.exp,
    "sin": lambda u: jnp.sin(20 * u),
}
KINKED = {
    "relu": (jax.nn.relu, [(0, 1, 1.0)]),
    "hard_tanh": (jax.nn.hard_tanh, [(-1, 1, 1.0), (1, 1, -1.0)]),
    "relu6": (jax.nn.relu6, [(0, 1, 1.0), (6, 1, -1.0)]),
    "hard_swish": (jax.nn.hard_swish, [(-3, 1, -0.5), (3, 1, -0.5)]),
    "elu": (jax.nn.elu, [(0, 2, -1.0)]),
    "softsign": (jax.nn.soft_sign, [(0, 2, -4.0)]),
    "step": (lambda u: jnp.where(u > 0.3, 1.0, 0.0), [(0.3, 0, 1.0)]),
    "clip": (lambda u: jnp.clip(u, -127.0, 127.0), [(-127, 1, 1.0), (127, 1, -1.0)]),
    "odd place": (lambda u: jnp.where(u > 1.2345, u, 0.5), [(1.2345, 0, 0.7345)]),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions_have_none(name):
    assert kinks(Pointwise(SMOOTH[name], 1)) == ()


@pytest.mark.parametrize("name", KINKED)
def test_places_orders_and_jumps(name):
    function, expected = KINKED[name]
    found = [(kink.place, kink.order, kink.jumps[kink.order]) for kink in kinks(Pointwise(function, 1))]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_they_are_found_while_tracing():
    phi = Pointwise(jax.nn.relu6, 1)
    assert float(jax.jit(lambda x: x + len(kinks(phi)))(1.0)) == 3.0


def test_a_mesh_ends_panels_at_kinks():
    assert {0.0, 6.0} <= set(mesh(Pointwise(jax.nn.relu6, 1), 1).marks)


def test_kinks_are_found_beside_a_wave_that_is_faster_than_the_grid():
    (kink,) = kinks(Pointwise(lambda u: jnp.where(u < 0, jnp.sin(50 * u), u), 1))
    assert (kink.place, kink.order) == (0.0, 1)
    np.testing.assert_allclose(kink.jumps[1], -49, rtol=1e-9)


def test_panels_become_as_narrow_as_a_steep_function_asks():
    assert min(abs(m) for m in mesh(Pointwise(lambda u: jnp.tanh(100 * u), 1), 1).marks if m) < 0.02


def test_a_mesh_says_where_it_does_not_follow_a_wave():
    found = mesh(Pointwise(lambda u: jnp.where(u < 0, jnp.sin(u), 0.0), 1), 1)
    assert [(s.low < -1e6, s.high) for s in found.unresolved] == [(True, -1000.0)]
    assert mesh(Pointwise(jnp.tanh, 1), 1).unresolved == ()
