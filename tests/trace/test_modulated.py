"""Weights that are multiplied by something before they meet a vector, and sums written as products with a parameter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import erf

import widelimit as wl
from networks import drawn, readout

X = np.random.default_rng(0).normal(size=(2, 3))


def kernels(apply, rates=1.0, **shapes):
    """Both kernels, and the share of each parameter; all are normal of variance one."""
    table = {"w": lambda n: (3, n), "u": lambda n: (n, n), "g": lambda n: (n,), "v": lambda n: (n, 1)} | shapes
    net = wl.Network(drawn(lambda n: {name: shape(n) for name, shape in table.items()}), apply)
    kernel = wl.limit(net, X[0], learning_rates=rates)
    return kernel.nngp(X), kernel.ntk_by_weight(X)


def assert_same(first, second, **shapes):
    (k1, shares1), (k2, shares2) = kernels(first, **shapes), kernels(second, **shapes)
    np.testing.assert_allclose(k1, k2, rtol=1e-10)
    for path in shares1:
        np.testing.assert_allclose(shares1[path], shares2[path], rtol=1e-10, atol=1e-12, err_msg=path)


def plain(p, x):
    h = erf(x @ p["w"])
    return readout(p, p["g"] * (h @ p["u"]) / h.size**0.5)


NORMALISED = {
    "norm": lambda u: u / jnp.linalg.norm(u, axis=0),
    "rsqrt": lambda u: u * jax.lax.rsqrt(jnp.sum(u**2, axis=0, keepdims=True) + 1e-12),
}


@pytest.mark.parametrize("name", NORMALISED)
def test_weight_normalisation(name):
    """|v| = √n to leading order: g v/|v| h is g (v h)/√n, with the shares of g and of v at their rates."""
    assert_same(lambda p, x: readout(p, erf(x @ p["w"]) @ (p["g"] * NORMALISED[name](p["u"]))), plain)


@pytest.mark.slow
def test_factors_along_the_sum():
    """x diag(g) W is (g x) W."""

    def inside(p, x):
        h = erf(x @ p["w"])
        return readout(p, erf(h @ (p["g"][:, None] * p["u"]) / h.size**0.5))

    def outside(p, x):
        h = erf(x @ p["w"])
        return readout(p, erf((p["g"] * h) @ p["u"] / h.size**0.5))

    assert_same(inside, outside)


def test_a_transposed_weight():
    def transposed(p, x):
        h = erf(x @ p["w"])
        return readout(p, (p["g"][:, None] * p["u"].T / jnp.linalg.norm(p["u"], axis=0)[:, None]) @ h)

    assert_same(transposed, plain)


def test_normalised_filters():
    """A convolution of width one is a product."""

    def convolved(p, x):
        h = erf(x[None, None] @ p["w"])
        u = p["g"] * p["u"] / jnp.linalg.norm(p["u"], axis=0)
        h = jax.lax.conv_general_dilated(h, u[None], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))
        return readout(p, h[0, 0])

    assert_same(convolved, plain)


SUMS = {
    "vector": (lambda p, h: (p["r"] * h).sum() / h.size**0.5, lambda n: (n,)),
    "column": (lambda p, h: (h[:, None] * p["r"]).sum(0)[0] / h.size**0.5, lambda n: (n, 1)),
    "mean": (lambda p, h: jnp.mean(h * p["r"]) * h.size**0.5, lambda n: (n,)),
}


@pytest.mark.parametrize("name", SUMS)
def test_a_readout_written_as_a_sum(name):
    out, shape = SUMS[name]
    assert_same(
        lambda p, x: out(p, erf(x @ p["w"])),
        lambda p, x: (erf(x @ p["w"]) @ p["r"]).reshape(()) / p["g"].size ** 0.5,
        r=shape,
    )


def test_a_layer_written_as_a_sum():
    def summed(p, x):
        h = erf(x @ p["w"])
        return readout(p, p["g"] * jnp.sum(h[:, None] * p["u"], axis=0) / h.size**0.5)

    assert_same(summed, plain)


def test_a_gain_over_a_concatenation():
    """Part by part, each with its own part of the gain and of the weight."""
    shapes = {"g": lambda n: (2 * n,), "u": lambda n: (2 * n, n)}

    def joined(p, x):
        h = jnp.concatenate([x @ p["w"], erf(x @ p["w"])]) * p["g"]
        return readout(p, h @ p["u"] / h.size**0.5)

    def apart(p, x):
        (g1, g2), (u1, u2), h = jnp.split(p["g"], 2), jnp.split(p["u"], 2), x @ p["w"]
        return readout(p, (g1 * h @ u1 + g2 * erf(h) @ u2) / (2 * h.size) ** 0.5)

    assert_same(joined, apart, **shapes)
