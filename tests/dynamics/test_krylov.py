"""Least squares from products with Θ, against all its eigenmodes."""

import jax.numpy as jnp
import numpy as np
import pytest

import widelimit as wl

RNG = np.random.default_rng(0)
X, X_TEST = (RNG.normal(size=(n, 4)) for n in (150, 2))
Y = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], axis=1)
TIMES = [0.0, 1e-2, 1.0, 1e2, np.inf]


def kernel(x1, x2):
    """A smooth K, and a Θ with a slow spectrum, like that of networks."""
    distance = np.sqrt(((x1[:, None] - x2) ** 2).sum(-1))
    return np.exp(-(distance**2) / 8), np.exp(-distance)


def smooth(x1, x2):
    """Small eigenvalues, which late times see."""
    return (kernel(x1, x2)[0],) * 2


def both(*data, **options):
    """The fits by all modes and by Lanczos."""
    return [wl.train(*data, method=method, **options) for method in ("eigh", "lanczos")]


@pytest.mark.slow
def test_all_times_have_the_accuracy():
    exact, fast = (fit(X_TEST, TIMES) for fit in both(kernel, X, Y))
    np.testing.assert_allclose(fast.mean, exact.mean, atol=1e-6)
    np.testing.assert_allclose(fast.covariance, exact.covariance, atol=1e-6)


@pytest.mark.slow
def test_steps_take_the_same_basis():
    options = {"optimizer": wl.Momentum(0.01, 0.9, nesterov=True), "ridge": 0.1, "weight_decay": 0.1, "degree": 1}
    fits = both(kernel, X, Y, **options)
    exact, fast = (fit(X_TEST, [7, 900]) for fit in fits)
    np.testing.assert_allclose(fast.mean, exact.mean, atol=1e-6)
    np.testing.assert_allclose(fast.covariance, exact.covariance, atol=1e-6)
    np.testing.assert_allclose(*(fit.largest_stable_step for fit in fits), rtol=1e-9)


@pytest.mark.slow
def test_the_basis_grows_until_the_accuracy_is_reached(monkeypatch):
    monkeypatch.setattr("widelimit.dynamics._krylov._PRODUCTS", 40)
    exact, fast = both(smooth, X, Y, ridge=1e-4)
    np.testing.assert_allclose(fast(X_TEST, 0.3).mean, exact(X_TEST, 0.3).mean, atol=1e-7)
    assert fast.solver.products == 40
    np.testing.assert_allclose(fast(X_TEST).mean, exact(X_TEST).mean, atol=1e-6)
    assert fast.solver.products > 40
    monkeypatch.setattr("widelimit.dynamics._krylov._MOST", 40)
    with pytest.raises(ValueError, match="`method='eigh'`"):
        wl.train(smooth, X, Y, method="lanczos", ridge=1e-4)(X_TEST)


@pytest.mark.slow
def test_exhausted_spaces_and_zero_labels_do_no_harm():
    """Labels that are an eigenvector, labels that are zero, and a kernel of two distinct points."""
    x = np.array([[1.0], [-1.0]] * 5)
    y = np.concatenate([x, 0 * x, np.ones_like(x), x + 0.5], axis=1)
    exact, fast = both(lambda a, b: ((a @ b.T > 0) * 1.0,) * 2, x, y, ridge=0.1)
    np.testing.assert_allclose(fast(x, [1.0, jnp.inf]).mean, exact(x, [1.0, jnp.inf]).mean, atol=1e-12)


@pytest.mark.slow
def test_coinciding_points_are_warned_of():
    exact, fast = both(kernel, np.concatenate([X[:20], X[:1]]), np.concatenate([Y[:20], -Y[:1]]))
    with pytest.warns(wl.JitterWarning):
        p = fast(X_TEST)
    with pytest.warns(wl.JitterWarning):
        q = exact(X_TEST)
    np.testing.assert_allclose(p.mean, q.mean, atol=1e-6)
