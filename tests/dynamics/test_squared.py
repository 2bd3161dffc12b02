"""Least squares in closed form, against equations integrated and steps taken one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import widelimit as wl
from dynamics.features import X_TEST, X, Y, kernel, matrices, steps

K, THETA, K_CROSS, CROSS, K_TEST = matrices()
RNG = np.random.default_rng(1)
LARGEST = np.linalg.eigvalsh(THETA)[-1]
STEPS = [
    wl.GradientDescent(1.9 / LARGEST),
    wl.Momentum(0.3 / LARGEST, 0.9),
    wl.Momentum(2.8 / LARGEST, 0.5),
    wl.Momentum(0.3 / LARGEST, 0.9, nesterov=True),
]
KEY = jax.random.key(0)


def integrated(t, y, ridge=0.0):
    """a of f = f₀ + Θ a, for y − f₀(X) = y."""

    def field(_, a):
        a = a.reshape(y.shape)
        return (y - THETA @ a - ridge * a).ravel()

    return solve_ivp(field, (0, t), 0 * y.ravel(), rtol=1e-10, atol=1e-12).y[:, -1].reshape(y.shape)


@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_gradient_flow_solves_its_equation(ridge):
    times = [0.3, 4.0]
    expected = [CROSS @ integrated(t, Y, ridge) for t in times]
    np.testing.assert_allclose(wl.train(kernel, X, Y, ridge=ridge)(X_TEST, times).mean, expected, rtol=1e-7, atol=1e-9)


def test_flow_starts_at_zero_with_the_prior():
    p = wl.train(kernel, X, Y)(X_TEST, 0)
    np.testing.assert_array_equal(p.mean, 0)
    np.testing.assert_allclose(p.covariance, K_TEST, rtol=1e-14)


def test_flow_ends_at_the_labels_without_spread():
    p = wl.train(kernel, X, Y)(X)
    np.testing.assert_allclose(p.mean, Y, atol=1e-9)
    np.testing.assert_allclose(p.covariance, 0, atol=1e-9)


def test_ends_at_kernel_ridge_regression():
    p = wl.train(kernel, X, Y, ridge=0.2)(X_TEST)
    np.testing.assert_allclose(p.mean, CROSS @ np.linalg.solve(THETA + 0.2 * np.eye(6), Y), rtol=1e-10)


@pytest.mark.parametrize("optimizer", [wl.GradientFlow(), *STEPS], ids=repr)
def test_all_optimizers_end_at_the_same(optimizer):
    expected = wl.train(kernel, X, Y, ridge=0.01)(X_TEST)
    p = wl.train(kernel, X, Y, ridge=0.01, optimizer=optimizer)
    np.testing.assert_allclose(p(X_TEST).mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(p(X_TEST, 10**7).mean, expected.mean, rtol=1e-7)
    np.testing.assert_allclose(p(X_TEST, 10**7).covariance, expected.covariance, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("optimizer", STEPS, ids=repr)
def test_steps_are_those_of_a_loop(optimizer):
    ridge = 0.03
    counts = [0, 1, 2, 37]
    expected = [CROSS @ steps(optimizer, lambda a, _: THETA @ a - Y + ridge * a, n, 0 * Y) for n in counts]
    p = wl.train(kernel, X, Y, optimizer=optimizer, ridge=ridge)(X_TEST, counts)
    np.testing.assert_allclose(p.mean, expected, rtol=1e-9, atol=1e-12)


def test_small_steps_are_the_flow():
    flow = wl.train(kernel, X, Y)(X_TEST, 2.0)
    p = wl.train(kernel, X, Y, optimizer=wl.GradientDescent(1e-7))(X_TEST, 2 * 10**7)
    np.testing.assert_allclose(p.mean, flow.mean, rtol=1e-5)
    np.testing.assert_allclose(p.covariance, flow.covariance, rtol=1e-5)


@pytest.mark.parametrize("optimizer", STEPS, ids=repr)
def test_the_largest_stable_step_is_where_loops_diverge(optimizer):
    bound = wl.train(kernel, X, Y, optimizer=optimizer, ridge=0.1).largest_stable_step
    beta, nesterov = getattr(optimizer, "beta", 0.0), getattr(optimizer, "nesterov", False)
    start = np.linalg.eigh(THETA)[1][:, -1:]

    def size(lr):
        at = wl.Momentum(lr, beta, nesterov)
        return np.abs(steps(at, lambda a, _: THETA @ a + 0.1 * a, 2000, start)).max()

    assert size(0.99 * bound) < 1e-3 < 1e3 < size(1.01 * bound)
    with pytest.raises(ValueError, match=f"largest stable step on this kernel and data is {bound:.6g}"):
        wl.train(kernel, X, Y, optimizer=wl.Momentum(1.001 * bound, beta, nesterov), ridge=0.1)


def test_minibatches_are_those_of_a_loop():
    batches = RNG.integers(0, 6, size=(25, 2))
    optimizer = wl.SGD(0.5, batches)

    def gradient(a, step):
        g = 0.1 * a
        for i in batches[step]:  # an index that stands twice counts twice
            g[i] += THETA[i] @ a - Y[i]
        return g

    counts = [0, 3, 25]
    fit = wl.train(kernel, X, Y, optimizer=optimizer, ridge=0.1)
    expected = [CROSS @ steps(optimizer, gradient, n, 0 * Y) for n in counts]
    np.testing.assert_allclose(fit(X_TEST, counts).mean, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(fit(X_TEST).mean, fit(X_TEST, 25).mean)


def test_the_covariance_is_that_of_networks_trained_one_by_one():
    """4,000 initial functions pushed through a loop of steps; every entry scored by its own standard error."""
    batches = RNG.permuted(np.tile(np.arange(6), (10, 1)), axis=1)[:, :3]
    p = wl.train(kernel, X, Y[:, 0], optimizer=wl.SGD(0.3, batches))(X_TEST)
    joint = np.block([[K, K_CROSS.T], [K_CROSS, K_TEST]])
    draws = RNG.multivariate_normal(np.zeros(10), joint, size=4000, method="eigh")
    theta = np.concatenate([THETA, CROSS])
    for batch in batches:
        draws = draws - 0.3 * (draws[:, batch] - Y[batch, 0]) @ theta[:, batch].T
    products = np.einsum("si,sj->sij", *2 * [draws[:, 6:] - p.mean])
    z = (products.mean(0) - p.covariance) / (products.std(0) / 4000**0.5)
    assert np.abs(z).max() < 4


def test_the_covariance_of_lee_et_al():
    """Their equation 16 with Θ⁻¹ and the matrix exponential written out."""
    t = 1.7
    values, vectors = np.linalg.eigh(THETA)
    decay = np.eye(6) - vectors @ np.diag(np.exp(-t * values)) @ vectors.T
    a = CROSS @ np.linalg.inv(THETA) @ decay
    expected = K_TEST + a @ K @ a.T - a @ K_CROSS.T - K_CROSS @ a.T
    np.testing.assert_allclose(wl.train(kernel, X, Y)(X_TEST, t).covariance, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", [wl.GradientFlow(), wl.GradientDescent(0.5 / LARGEST)], ids=repr)
def test_going_on_is_training_from_there(optimizer):
    """The state after 3 and then 5 is the state after 8."""
    early = wl.train(kernel, X, Y, optimizer=optimizer)
    late = wl.train(kernel, X, Y, optimizer=optimizer, initial=lambda x: early(x, 3).mean)
    np.testing.assert_allclose(late(X_TEST, 5).mean, early(X_TEST, 8).mean, rtol=1e-10)


def test_given_initial_functions_are_certain():
    fit = wl.train(kernel, X, Y[:, 0], initial=lambda x: np.sin(x[:, 0]))
    p = fit(X_TEST, [0.0, 2.0])
    np.testing.assert_allclose(p.mean[0], np.sin(X_TEST[:, 0]))
    left = np.sin(X[:, 0]) - Y[:, 0]
    np.testing.assert_allclose(p.mean[1], np.sin(X_TEST[:, 0]) - CROSS @ integrated(2.0, left), rtol=1e-8)
    np.testing.assert_array_equal(p.covariance, 0)
    np.testing.assert_array_equal(p.sample(KEY, 2), [p.mean, p.mean])


def test_samples_have_the_mean_and_the_covariance():
    p = wl.train(kernel, X, Y)(X_TEST, [0.0, 1.0])
    samples = p.sample(KEY, 4000)
    assert samples.shape == (4000, 2, 4, 2)
    centred = samples - p.mean
    z = centred.mean(0) / (centred.std(0) / 4000**0.5)
    products = jnp.einsum("stmc,stnc->stmn", centred, centred) / 2
    z2 = (products.mean(0) - p.covariance) / (products.std(0) / 4000**0.5)
    assert max(float(jnp.abs(z).max()), float(jnp.abs(z2).max())) < 4


def test_a_sample_is_one_network_all_along():
    """With nothing learned between two times, a sample is the same at both."""
    p = wl.train(kernel, X, Y)(X_TEST, [1.0, 1.0 + 1e-9])
    early, late = p.sample(KEY, 1)[0]
    np.testing.assert_allclose(early, late, atol=1e-7)


def test_a_sample_does_not_depend_on_the_test_points():
    fit = wl.train(kernel, X, Y)
    np.testing.assert_allclose(
        fit(X, 0.5).sample(KEY, 1), fit(np.concatenate([X, X_TEST]), 0.5).sample(KEY, 1)[:, :6], atol=1e-7
    )


def test_shapes_follow_the_labels_and_times():
    fit = wl.train(kernel, X, Y[:, 0])
    assert fit(X_TEST, 1.0).mean.shape == (4,)
    assert fit(X_TEST, [1.0]).mean.shape == (1, 4)
    assert fit(X_TEST, np.array([1.0, jnp.inf])).covariance.shape == (2, 4, 4)
    assert wl.train(kernel, X, Y)(X_TEST).mean.shape == (4, 2)


def test_the_readout_alone_trains_with_the_nngp():
    p = wl.train(kernel, X, Y, regime="last")(X_TEST)
    np.testing.assert_allclose(p.mean, K_CROSS @ np.linalg.solve(K, Y), rtol=1e-8)


def test_finite_output_axes_are_rows():
    """A network with two correlated outputs is one with a second input that says which."""

    def apart(x1, x2):
        rows = [np.concatenate([x + s for s in (0, 1)], axis=1).reshape(-1, 3) for x in (x1, x2)]
        return tuple(k.reshape(len(x1), 2, len(x2), 2).transpose(0, 2, 1, 3) for k in kernel(*rows))

    y = RNG.normal(size=(3, 2))
    p = wl.train(apart, X[:3], y)(X_TEST, 1.0)
    rows = [np.concatenate([x + s for s in (0, 1)], axis=1).reshape(-1, 3) for x in (X[:3], X_TEST)]
    q = wl.train(kernel, rows[0], y.reshape(-1))(rows[1], 1.0)
    np.testing.assert_allclose(p.mean, q.mean.reshape(4, 2), rtol=1e-12)
    np.testing.assert_allclose(p.covariance, q.covariance.reshape(4, 2, 4, 2).transpose(0, 2, 1, 3), rtol=1e-12)


def test_any_limit_trains():
    """A kernel of `wl.limit`: a ReLU network with one hidden layer, against kernel regression with its own matrices."""

    def init(key, width):
        first, second = jax.random.split(key)
        return {"w": jax.random.normal(first, (3, width)), "v": jax.random.normal(second, (width, 1)) / width**0.5}

    limit = wl.limit(wl.Network(init, lambda p, x: jax.nn.relu(x @ p["w"]) @ p["v"]), X[0])
    p = wl.train(limit, X, Y)(X_TEST)
    expected = limit.ntk(X_TEST, X) @ np.linalg.solve(limit.ntk(X), Y)
    np.testing.assert_allclose(p.mean, expected, rtol=1e-8)
