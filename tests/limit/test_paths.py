"""The path formula of the tangent kernel, on tiny programs, against the recursion and the particles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import widelimit as wl
from networks import drawn, readout
from paths import Embed, MatMul, Nonlin, tangent

X = np.random.default_rng(1).normal(size=(2, 3, 4))


def sine(*parts):
    return Nonlin(lambda *z: np.sin(sum(z)), (lambda *z: np.cos(sum(z)),) * len(parts), parts)


def product(h, w):
    return h @ w / jnp.sqrt(h.shape[-1])


def recurrent():
    """Three steps with one matrix: s_t = sin(W s_{t-1} + U ξ_t)."""
    s = sine(Embed("u", 0))
    for t in (1, 2):
        s = sine(MatMul("w", s), Embed("u", t))

    def apply(p, x):
        h = jnp.sin(product(x[0], p["u"]))
        for xi in x[1:]:
            h = jnp.sin(product(h, p["w"]) + product(xi, p["u"]))
        return readout(p, h)

    return s, apply


def gated():
    """x = g sin(h), h = W sin(g), g = U ξ: a product of dependent Gaussians."""
    g = Embed("u", 0)
    h = MatMul("w", sine(g))
    x = Nonlin(lambda a, b: a * np.sin(b), (lambda a, b: np.sin(b), lambda a, b: a * np.cos(b)), (g, h))

    def apply(p, x):
        z = product(x[0], p["u"])
        return readout(p, z * jnp.sin(product(jnp.sin(z), p["w"])))

    return x, apply


def residual():
    """One matrix at two depths, with a skip: x = sin(W y) + sin(g), y = sin(W sin(g)) + sin(g), g = U ξ."""
    g = Embed("u", 0)
    sums = {"fn": lambda a, b: np.sin(a) + np.sin(b), "slopes": (lambda a, b: np.cos(a), lambda a, b: np.cos(b))}
    y = Nonlin(**sums, parts=(MatMul("w", sine(g)), g))
    x = Nonlin(**sums, parts=(MatMul("w", y), g))

    def apply(p, x):
        z = jnp.sin(product(x[0], p["u"]))
        y = jnp.sin(product(z, p["w"])) + z
        return readout(p, jnp.sin(product(y, p["w"])) + z)

    return x, apply


def network(apply):
    return wl.Network(drawn(lambda n: {"u": (4, n), "w": (n, n), "v": (n, 1)}), apply)


@pytest.mark.parametrize("program", [residual, *(pytest.param(p, marks=pytest.mark.slow) for p in (recurrent, gated))])
def test_tangent_kernel_is_a_sum_over_pairs_of_paths(program):
    x, apply = program()
    expected = tangent(x, (X[0], X[1]))
    found = jax.jit(wl.limit(network(apply), X[0], accuracy=1e-8).pair)(*X).ntk
    assert abs(found - expected) < 1e-6 * abs(expected) + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("program", [recurrent, gated, residual])
def test_sampled_tangent_kernel_is_a_sum_over_pairs_of_paths(program):
    x, apply = program()
    kernel = wl.limit(network(apply), X[0], engine="particles", particles=2**16)
    expected = np.array([[tangent(x, (a, b)) for b in X] for a in X])
    assert np.all(np.abs(kernel(X).ntk - expected) < 5 * kernel.errors(X).ntk)
