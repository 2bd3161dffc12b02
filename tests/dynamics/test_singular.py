"""Coinciding points, singular kernels and short floats: a warning or an error, never a silent NaN."""

import jax
import numpy as np
import pytest

import widelimit as wl
from dynamics.features import X_TEST, X, Y, kernel

TWICE = np.concatenate([X, X[:1]])
SAME, OTHER = np.concatenate([Y, Y[:1]]), np.concatenate([Y, -Y[:1]])
THETA, CROSS = kernel(TWICE, TWICE)[1], kernel(X_TEST, TWICE)[1]
AVERAGED = np.concatenate([0 * Y[:1], Y[1:]])
OPTIMIZERS = [wl.GradientFlow(), wl.GradientDescent(0.2), wl.Momentum(0.05, 0.9)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize(("labels", "alone"), [(SAME, Y), (OTHER, AVERAGED)], ids=["same", "conflicting"])
def test_coinciding_points_count_once_in_the_end(optimizer, labels, alone):
    fit = wl.train(kernel, TWICE, labels, optimizer=optimizer)
    with pytest.warns(wl.JitterWarning, match="1 of the 7 eigenvalues"):
        p = fit(X_TEST)
    expected = wl.train(kernel, X, alone)(X_TEST)
    np.testing.assert_allclose(p.mean, expected.mean, rtol=1e-7)
    np.testing.assert_allclose(p.covariance, expected.covariance, rtol=1e-6, atol=1e-12)
    assert 0 < fit.jitter == p.jitter < 1e-13


@pytest.mark.parametrize("t", [1.0, 1e3, 1e9])
def test_no_time_brings_the_conflict_to_light(t):
    """(Θ + κ) with κ = 0: the mode of the difference neither learns nor speaks."""
    values, vectors = np.linalg.eigh(THETA)
    gains = np.where(values > 1e-12, -np.expm1(-t * values) / np.maximum(values, 1e-12), 0)
    p = wl.train(kernel, TWICE, OTHER)(X_TEST, t)
    np.testing.assert_allclose(p.mean, CROSS @ (vectors * gains) @ vectors.T @ OTHER, rtol=1e-6, atol=1e-10)
    assert p.jitter == 0


def test_late_times_go_over_into_the_end():
    fit = wl.train(kernel, TWICE, OTHER)
    with pytest.warns(wl.JitterWarning):
        p = fit(X_TEST, [1e11, 1e16, 1e30, np.inf])
    np.testing.assert_allclose(p.mean, np.broadcast_to(p.mean[-1], p.mean.shape), rtol=1e-6)


def test_a_ridge_needs_no_jitter():
    fit = wl.train(kernel, TWICE, OTHER, ridge=1e-6)
    assert fit.jitter == 0
    np.testing.assert_allclose(fit(X_TEST).mean, CROSS @ np.linalg.solve(THETA + 1e-6 * np.eye(7), OTHER), rtol=1e-6)


def test_more_points_than_features():
    """100 points on 60 features: least squares with the smallest coefficients."""
    x, y = (np.random.default_rng(0).normal(size=(100, c)) for c in (3, 1))
    fit = wl.train(kernel, x, y)
    with pytest.warns(wl.JitterWarning):
        p = fit(X_TEST)
    theta, cross = kernel(x, x)[1], kernel(X_TEST, x)[1]
    small = wl.train(kernel, x, y, ridge=10 * fit.jitter)(X_TEST)
    assert np.isfinite(p.mean).all()
    np.testing.assert_allclose(
        p.mean, cross @ np.linalg.pinv(theta, rcond=1e-13, hermitian=True) @ y, rtol=0.1, atol=1e-2
    )
    np.testing.assert_allclose(p.mean, small.mean, rtol=0.2, atol=2e-2)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_one_point(optimizer):
    fit = wl.train(kernel, X[:1], Y[:1], optimizer=optimizer)
    np.testing.assert_allclose(fit(X[:1]).mean, Y[:1], rtol=1e-12)
    np.testing.assert_allclose(fit(X[:1]).covariance, 0, atol=1e-15)
    assert fit.jitter == 0


def test_float32_follows_float64():
    short = [a.astype(np.float32) for a in (X, Y, X_TEST)]
    for ridge, t in ((0.0, 3.0), (0.1, np.inf)):
        p = wl.train(kernel, *short[:2], ridge=ridge)(short[2], t)
        exact = wl.train(kernel, X, Y, ridge=ridge)(X_TEST, t)
        assert p.mean.dtype == p.covariance.dtype == np.float32
        np.testing.assert_allclose(p.mean, exact.mean, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(p.covariance, exact.covariance, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_without_float64_the_warning_names_it():
    x = np.concatenate([X, X[:1]]).astype(np.float32)
    with jax.enable_x64(False):
        fit = wl.train(kernel, x, OTHER.astype(np.float32))
        with pytest.warns(wl.JitterWarning, match="switch on float64"):
            p = fit(X_TEST.astype(np.float32))
    np.testing.assert_allclose(p.mean, wl.train(kernel, X, AVERAGED)(X_TEST).mean, rtol=0.05, atol=0.02)


def test_kernels_that_are_none_are_refused():
    for broken, message in [
        (lambda a, b: (np.nan * np.ones((len(a), len(b))),) * 2, "NaN or infinite entries"),
        (lambda a, b: (np.zeros((len(a), len(b))),) * 2, "nothing is trained"),
        (lambda a, b: (np.eye(6) - 0.3,) * 2, "positive semi-definite"),
    ]:
        with pytest.raises(ValueError, match=message):
            wl.train(broken, X, Y)


def test_steps_that_overflow_are_refused():
    fit = wl.train(kernel, X, Y, loss=lambda f, y: 0.5 * ((f - y) ** 2).sum(), optimizer=wl.GradientDescent(5.0))
    with pytest.raises(ValueError, match="learning rate is too large"):
        fit(X_TEST, 3000)
    batches = np.tile(np.arange(6), (3000, 1))
    with pytest.raises(ValueError, match="learning rate is too large"):
        wl.train(kernel, X, Y, optimizer=wl.SGD(5.0, batches))(X_TEST)


@pytest.mark.slow
def test_flow_that_never_ends_is_refused():
    fit = wl.train(kernel, X, Y[:, 0], loss=lambda f, y: f * y, optimizer=wl.GradientFlow(max_steps=2000))
    with pytest.raises(ValueError, match="needs a loss with a minimum"):
        fit(X_TEST)
