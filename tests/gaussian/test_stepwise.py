"""A function's code run operation by operation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.gaussian._stepwise import stepwise

FUNCTIONS = {
    "relu": jax.nn.relu,
    "leaky relu": jax.nn.leaky_relu,
    "relu6": jax.nn.relu6,
    "elu": jax.nn.elu,
    "gelu": lambda u: jax.nn.gelu(u, approximate=False),
    "gelu, tanh": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "hard tanh": jax.nn.hard_tanh,
    "powers": lambda u: u**3 - 1 / (1 + u**2) + (1 + u**2) ** -2,
    "steps": lambda u: jnp.sign(u) + jnp.floor(u) + jnp.where((u > 1) & ~(u > 2), 1.0, 0.0),
    "cases": lambda u: jax.lax.select_n(jnp.clip(u, 0, 2).astype(int), u, 2 * u, u * u),
    "whole numbers": lambda u: (3 * u).astype(int) // 2 + u,
    "slope": lambda u: jax.jvp(jax.nn.softplus, (u,), (jnp.ones_like(u),))[1],
    "clipped": lambda u: jnp.clip(u, -0.5, 1.5),
    "in single": lambda u: u.astype(jnp.float32) * 2,
    "a loop": lambda u: jax.lax.fori_loop(0, 3, lambda i, v: v * u + i, u),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_are_those_of_the_compiled_function(name, dtype):
    u = np.concatenate([np.linspace(-4, 4, 101), [0.0, -0.0, 30.0, -30.0]]).astype(dtype)
    value, _ = stepwise(FUNCTIONS[name], jnp.asarray(u))
    compiled = jax.jit(FUNCTIONS[name])(u)
    assert value.dtype == compiled.dtype
    eps = np.finfo(value.dtype).eps
    np.testing.assert_allclose(value, compiled, rtol=20 * eps, atol=8 * eps)  # 1 + tanh cancels


def test_steps_are_the_values_inside():
    """Of calls as well: what a function computes and then drops is there."""
    u = np.linspace(-1, 1, 5)
    value, steps = stepwise(lambda u: 0 * jax.jit(lambda v: jnp.abs(v - 0.3))(u), jnp.asarray(u))
    assert not np.any(value)
    assert any(np.array_equal(step, np.abs(u - 0.3)) for step in steps)


def test_a_function_of_no_argument_is_a_number():
    value, steps = stepwise(lambda u: 2.0, jnp.ones(3))
    assert (float(value), steps) == (2.0, [])


def test_what_gives_nothing_is_run():
    seen = []
    value, _ = stepwise(lambda u: [jax.debug.callback(seen.append, u), 2 * u][1], jnp.ones(3))
    jax.effects_barrier()
    assert np.array_equal(value, [2, 2, 2])
    assert len(seen) == 1
