"""Losses other than the squared one, against equations integrated and steps taken one by one."""

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

import widelimit as wl
from dynamics.features import X_TEST, X, Y, kernel, matrices, steps

K, THETA, K_CROSS, CROSS, K_TEST = matrices()
CLASSES = np.array([0, 1, 2, 2, 0, 1])
ONE_HOT = np.eye(3)[CLASSES]
KEY = jax.random.key(0)
RNG = np.random.default_rng(2)


def initial(x):
    return np.stack([np.sin(x[:, 0]), x[:, 1], 0 * x[:, 2]], axis=1)


def slope(a, ridge=0.1):
    """∂L/∂f + ρ a for the cross-entropy."""
    return softmax(initial(X) + THETA @ a, axis=1) - ONE_HOT + ridge * a


@pytest.fixture(scope="module")
def flow():
    return wl.train(kernel, X, CLASSES, loss=wl.cross_entropy, ridge=0.1, initial=initial)


def test_flow_solves_its_equation(flow):
    times = [0.5, 0.0, 8.0]
    field = lambda _, a: -slope(a.reshape(6, 3)).ravel()  # noqa: E731
    a = [solve_ivp(field, (0, t), np.zeros(18), rtol=1e-10, atol=1e-12).y[:, -1].reshape(6, 3) for t in times]
    np.testing.assert_allclose(flow(X_TEST, times).mean, initial(X_TEST) + CROSS @ np.stack(a), rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_flow_ends_at_the_minimum(flow):
    """Kernel logistic regression, by a quasi-Newton method on the coefficients."""

    def objective(a):
        a = a.reshape(6, 3)
        f = initial(X) + THETA @ a
        return -(ONE_HOT * log_softmax(f, axis=1)).sum() + 0.05 * np.sum(a * (THETA @ a)), (THETA @ slope(a)).ravel()

    a = minimize(objective, np.zeros(18), jac=True, options={"gtol": 1e-10}).x.reshape(6, 3)
    np.testing.assert_allclose(flow(X_TEST).mean, initial(X_TEST) + CROSS @ a, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(flow(X_TEST, 1e3).mean, flow(X_TEST).mean, rtol=1e-5, atol=1e-6)


OPTIMIZERS = [wl.GradientDescent(0.3), wl.Momentum(0.1, 0.9), wl.Momentum(0.1, 0.9, True)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_steps_are_those_of_a_loop(optimizer):
    fit = wl.train(kernel, X, CLASSES, loss=wl.cross_entropy, ridge=0.1, initial=initial, optimizer=optimizer)
    a = np.stack([steps(optimizer, lambda a, _: slope(a), n, np.zeros((6, 3))) for n in (0, 20, 5)])
    np.testing.assert_allclose(fit(X_TEST, [0, 20, 5]).mean, initial(X_TEST) + CROSS @ a, rtol=1e-10)


def test_minibatches_are_those_of_a_loop():
    optimizer = wl.SGD(0.3, RNG.integers(0, 6, (30, 4)))

    def gradient(a, step):
        g = 0.1 * a
        for i in optimizer.batches[step]:
            g[i] += slope(a, 0.0)[i]
        return g

    fit = wl.train(kernel, X, CLASSES, loss=wl.cross_entropy, ridge=0.1, initial=initial, optimizer=optimizer)
    a = steps(optimizer, gradient, 30, np.zeros((6, 3)))
    np.testing.assert_allclose(fit(X_TEST).mean, initial(X_TEST) + CROSS @ a, rtol=1e-10)


def test_classes_are_probabilities_of_one():
    descent = wl.GradientDescent(0.3)
    by_class = wl.train(kernel, X, CLASSES, loss=wl.cross_entropy, optimizer=descent)
    by_probability = wl.train(kernel, X, ONE_HOT, loss=wl.cross_entropy, optimizer=descent)
    np.testing.assert_allclose(by_class(X_TEST, 9).mean, by_probability(X_TEST, 9).mean, rtol=1e-12)
    assert wl.train(kernel, X, CLASSES, loss=wl.cross_entropy, outputs=5, optimizer=descent)(X_TEST, 1).mean.shape == (
        4,
        5,
    )


@pytest.mark.slow
def test_squared_error_by_hand_is_the_closed_form():
    own = wl.train(kernel, X, Y[:, 0], loss=lambda f, y: 0.5 * (f - y) ** 2)
    closed = wl.train(kernel, X, Y[:, 0])
    np.testing.assert_allclose(own(X_TEST, [1.0, 9.0]).mean, closed(X_TEST, [1.0, 9.0]).mean, rtol=1e-6, atol=1e-8)


def test_an_ensemble_has_the_mean_and_the_covariance_of_the_closed_form():
    options = {"optimizer": wl.GradientDescent(0.2), "ridge": 0.1}
    own = wl.train(kernel, X, Y, loss=lambda f, y: 0.5 * ((f - y) ** 2).sum(), samples=3000, key=KEY, **options)(
        X_TEST, 4
    )
    closed = wl.train(kernel, X, Y, **options)(X_TEST, 4)
    variances = np.diag(closed.covariance)
    z = (own.mean - closed.mean) / np.sqrt(variances / 3000)[:, None]
    within = np.stack([own.covariance[:, :, c, c] for c in (0, 1)])
    spread = np.sqrt((variances[:, None] * variances + closed.covariance**2) / 3000)
    assert np.abs(z).max() < 4
    assert np.abs((within - closed.covariance) / spread).max() < 4
    assert np.abs(own.covariance[:, :, 0, 1] / np.sqrt(variances[:, None] * variances / 3000)).max() < 4


def test_the_ensemble_is_that_of_its_key():
    fit = wl.train(kernel, X, CLASSES, loss=wl.cross_entropy, optimizer=wl.GradientDescent(0.3), samples=6, key=KEY)
    p = fit(X_TEST, [0, 3])
    np.testing.assert_allclose(p.sample(KEY, 6).mean(0), p.mean, rtol=1e-12)
    assert p.covariance.shape == (2, 4, 4, 3, 3)


SLOPES = {
    wl.huber(0.3): lambda r: np.clip(r, -0.3, 0.3),
    wl.quantile(0.8, smooth=0.2): lambda r: np.clip(r / 0.4, -0.5, 0.5) - 0.3,
}


@pytest.mark.slow
@pytest.mark.parametrize("loss", SLOPES, ids=repr)
def test_robust_losses_end_where_their_slopes_balance(loss):
    """∂L/∂f = −ρ a at the end, the slope written out from the definition of the loss."""
    f = np.asarray(wl.train(kernel, X, Y, loss=loss, ridge=0.3)(X).mean)
    np.testing.assert_allclose(-0.3 * np.linalg.solve(THETA, f), SLOPES[loss](f - Y), atol=1e-6)


def test_the_pinball_loss_finds_the_quantile():
    """100 labels at one point: a constant function descends to their quantile."""
    y = RNG.normal(size=101)
    same = lambda a, b: (np.ones((len(a), len(b))),) * 2  # noqa: E731
    fit = wl.train(same, np.zeros((101, 1)), y, loss=wl.quantile(0.8), optimizer=wl.GradientDescent(1e-4))
    np.testing.assert_allclose(fit(np.zeros((1, 1)), 5000).mean[0], np.quantile(y, 0.8), atol=0.02)


@pytest.mark.slow
def test_a_kernel_without_noise_descends_to_the_labels():
    fit = wl.train(kernel, X, Y, loss=wl.huber(0.5))
    np.testing.assert_allclose(fit(X).mean, Y, atol=1e-7)
