"""A matrix and its transpose in one forward pass: Z^{Wᵀy} = Ẑ + σ² Σ E[∂Z^y/∂Ẑ^{Wx}] Z^x."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import widelimit as wl
from networks import drawn, readout, relu

X = np.random.default_rng(0).normal(size=(3, 4))
FIRST = X @ X.T / 4  # the covariance of the first layer
CONDITIONING = 1e-7  # the angle of an input with itself is the root of a rounding error


def shapes(n, ratio=1.0):
    return {"u": (4, n), "w": (n, int(ratio * n)), "w2": (int(ratio * n), n), "v": (n, 1)}


def net(body, ratio=1.0):
    """f = v · body(U x)."""

    def apply(p, x):
        return readout(p, body(p, x @ p["u"] / 2.0))

    return wl.Network(drawn(lambda n: shapes(n, ratio)), apply)


def kernels(body, ratio=1.0, x=X):
    return wl.limit(net(body, ratio), x[0])(x)


def forth(p, z):
    return z @ p["w"] / jnp.sqrt(p["w"].shape[0])


def back(p, y):
    return y @ p["w"].T / jnp.sqrt(p["w"].shape[0])


@pytest.mark.parametrize(("length", "moment", "of_w"), [(2, 2, 2), (3, 5, 7), (4, 14, 22)])
def test_moments_of_a_random_matrix_are_catalan_numbers(length, moment, of_w):
    """E|W Wᵀ W … z|² = C_L |z|². The gradient in W is a sum of L outer products, whose squares and products have such moments."""

    def body(p, z):
        for i in range(length):
            z = back(p, z) if i % 2 else forth(p, z)
        return z

    found = kernels(body)
    np.testing.assert_allclose(found.nngp, moment * FIRST, rtol=1e-12)
    np.testing.assert_allclose(found.ntk, (2 * moment + of_w) * FIRST, rtol=1e-12)


@pytest.mark.parametrize("r", [0.5, 2.0])
def test_a_rectangular_matrix(r):
    """W of shape (n, rn): W Wᵀ/n has the moments r and r + r²."""
    found = kernels(lambda p, z: back(p, forth(p, z)), r)
    np.testing.assert_allclose(found.nngp, (r + r * r) * FIRST, rtol=1e-12)
    np.testing.assert_allclose(found.ntk, (2 * (r + r * r) + 2 * r) * FIRST, rtol=1e-12)


def test_the_counterexample_of_gradient_independence(golden):
    """∇_z Σ_α (W z)²_α = 2 Wᵀ W z is N(0, 4) + 2 Z^z (Tensor Programs II, 6.3); independent matrices would give N(0, 4)."""
    assert any(c["id"] == "gia_counterexample" for c in golden("tensor_programs.json")["cases"])
    found = kernels(lambda p, z: jax.grad(lambda z: (forth(p, z) ** 2).sum())(z))
    np.testing.assert_allclose(found.nngp, (4 + 4) * FIRST, rtol=1e-12)


@pytest.mark.parametrize(("fn", "mean"), [(relu, lambda k: 0.5), (jnp.sin, lambda k: np.exp(-k / 2))])
def test_a_coefficient_is_the_mean_of_the_derivative(fn, mean):
    """E[relu'] = 1/2 and E[sin'] = e^{-K/2}."""
    tied, apart = (
        wl.limit(net(lambda p, z, s=s: fn(forth(p, z)) @ s(p) / jnp.sqrt(z.shape[0])), X[0]).nngp(X)
        for s in (lambda p: p["w"].T, lambda p: p["w2"])
    )
    slopes = np.array([mean(k) for k in np.diag(FIRST)])
    np.testing.assert_allclose(tied - apart, np.outer(slopes, slopes) * FIRST, rtol=1e-7, atol=1e-12)


def test_it_is_as_two_matrices_where_the_coefficient_vanishes():
    def body(p, z, second):
        return relu(jnp.cos(forth(p, z)) @ second(p) / jnp.sqrt(z.shape[0]))

    tied, apart = (kernels(lambda p, z, s=s: body(p, z, s)) for s in (lambda p: p["w"].T, lambda p: p["w2"]))
    np.testing.assert_allclose(tied.nngp, apart.nngp, rtol=1e-9)
    np.testing.assert_allclose(tied.ntk, apart.ntk, rtol=CONDITIONING)


@pytest.mark.slow
def test_positions_that_are_mixed_by_a_known_matrix():
    """The coefficients are then a matrix between positions; pooling by that matrix is pooling."""
    x = np.random.default_rng(1).normal(size=(2, 3, 4))
    pooling = jnp.ones((3, 3)) / 3
    mixed, pooled = (
        kernels(lambda p, z, pool=pool: back(p, pool(relu(forth(p, z)))), x=x).ntk
        for pool in (lambda h: pooling @ h, lambda h: jnp.repeat(h.mean(0, keepdims=True), 3, 0))
    )
    np.testing.assert_allclose(mixed, pooled, rtol=CONDITIONING)


def test_products_that_do_not_feed_each_other_are_independent():
    tied, apart = (
        kernels(lambda p, z, s=s: relu(forth(p, z)) + relu(z @ s(p) / jnp.sqrt(z.shape[0])))
        for s in (lambda p: p["w"].T, lambda p: p["w2"])
    )
    np.testing.assert_allclose(tied.nngp, apart.nngp, rtol=1e-12)
    np.testing.assert_allclose(tied.ntk, apart.ntk, rtol=CONDITIONING)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::widelimit.ApproximationWarning")
def test_a_tied_autoencoder_against_finite_networks():
    def body(p, z):
        return jnp.tanh(back(p, jnp.tanh(forth(p, jnp.tanh(z)))))

    report = wl.verify(net(body), X[:2], key=jax.random.key(0), widths=(64, 128, 256), accuracy=0.02)
    assert report.passed, report


@pytest.mark.parametrize("stop", [jax.lax.stop_gradient, lambda a: a], ids=["stopped", "not stopped"])
def test_a_step_of_power_iteration_divides_by_a_number(stop):
    """σ = |W v| of v = Wᵀu/|Wᵀu| for a random u: |W Wᵀu|²/|Wᵀu|² is 2 by the moments above. No derivative goes through it."""

    def unit(a):
        return a / jnp.sqrt(jnp.sum(a * a))

    def apply(p, x, spectral):
        w = p["w"] / jnp.sqrt(p["w"].shape[0])
        if spectral:
            v = unit(p["power"] @ w.T)
            u = unit(v @ w)
            w = w / (stop(v) @ w @ stop(u))
        return readout(p, relu(relu(x @ p["u"] / 2.0) @ w))

    init = drawn(lambda n: shapes(n) | {"power": (n,)})
    plain, normalised = (
        wl.limit(wl.Network(init, lambda p, x, s=s: apply(p, x, s)), X[0], learning_rates={"power": 0})(X)
        for s in (False, True)
    )
    np.testing.assert_allclose(normalised.nngp, plain.nngp / 2, rtol=1e-10)
    np.testing.assert_allclose(normalised.ntk, plain.ntk / 2, rtol=1e-10)
