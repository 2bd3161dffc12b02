"""One parameter used twice: with other factors and signs."""

import jax.numpy as jnp
import numpy as np
import pytest

import widelimit as wl
from networks import drawn, readout, relu

X = np.random.default_rng(0).normal(size=(4, 3))
CONDITIONING = 1e-7  # the angle of an input with itself is the root of a rounding error


def network(apply):
    def shapes(n):
        return {"w": (3, n), "u": (n, n), "b": (n,), "v": (n, 1)}

    return wl.Network(drawn(shapes), apply)


def kernels(apply):
    return wl.limit(network(apply), X[0])(X)


SPELLINGS = {
    "a weight times a number": (lambda p, x: x @ p["w"] + x @ (2 * p["w"]), lambda p, x: 3 * (x @ p["w"])),
    "a weight and its negative": (lambda p, x: x @ (-p["w"]) - x @ p["w"], lambda p, x: -2 * (x @ p["w"])),
    "a bias times a number": (lambda p, x: x @ p["w"] + p["b"] - 3 * p["b"], lambda p, x: x @ p["w"] - 2 * p["b"]),
    "a bias that cancels": (lambda p, x: x @ p["w"] + p["b"] - p["b"], lambda p, x: x @ p["w"]),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_uses_of_one_parameter_add_up(name):
    one, other = (kernels(lambda p, x, hidden=hidden: readout(p, relu(hidden(p, x)))) for hidden in SPELLINGS[name])
    np.testing.assert_allclose(one.nngp, other.nngp, rtol=1e-12)
    np.testing.assert_allclose(one.ntk, other.ntk, rtol=CONDITIONING)


def test_a_matrix_used_with_two_factors_adds_up():
    def twice(p, x, factors):
        h, n = relu(x @ p["w"]), p["b"].shape[0]
        return readout(p, relu(sum(h @ (c * p["u"]) for c in factors) / jnp.sqrt(n)))

    one, other = (kernels(lambda p, x, c=c: twice(p, x, c)) for c in [(1.5, -0.5), (1.0,)])
    np.testing.assert_allclose(one.ntk, other.ntk, rtol=CONDITIONING)


def test_functions_of_one_parameter_are_one_function_of_it():
    """cos b sin b = ½ sin 2b, in closed form: no integral over two Gaussians that are equal."""
    one, other = (
        kernels(lambda p, x, gate=gate: readout(p, relu(x @ p["w"]) * gate(p["b"])))
        for gate in (lambda b: jnp.cos(b) * jnp.sin(b), lambda b: jnp.sin(2 * b) / 2)
    )
    np.testing.assert_allclose(one.nngp, other.nngp, rtol=1e-12)
    np.testing.assert_allclose(one.ntk, other.ntk, rtol=CONDITIONING)
