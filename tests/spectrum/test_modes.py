"""Modes of a kernel on data, smoothers, cross-validation, learning curves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import widelimit as wl
from networks import mlp
from widelimit.spectrum import alignment, learning_curve, modes, sphere

N = 30


def near(expected, **tolerances):
    return pytest.approx(np.asarray(expected), **tolerances)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, 3))
    gram = np.exp(-((x[:, None] - x) ** 2).sum(-1) / 2)
    y = np.stack([np.sin(x[:, 0]) + 0.3 * rng.standard_normal(N), x[:, 1] + 1], 1)
    return gram, y


@pytest.fixture(scope="module")
def found(data):
    gram, y = data
    return modes(jnp.asarray(gram), y=y)


def refits(gram, y, ridge, time):
    """y_n less the prediction of a fit without example n, one fit after another."""
    out = []
    for n in range(len(y)):
        rest = np.delete(np.arange(len(y)), n)
        values, vectors = np.linalg.eigh(gram[np.ix_(rest, rest)] + ridge * np.eye(len(rest)))
        gain = 1 / values if np.isinf(time) else -np.expm1(-values * time) / values
        out.append(y[n] - gram[n, rest] @ (vectors @ (gain[:, None] * (vectors.T @ y[rest]))))
    return np.array(out)


def test_modes_of_a_network():
    kernel, x = wl.limit(mlp(jax.nn.relu, layers=1), (10,)), jax.random.normal(jax.random.key(0), (8, 10))
    found = modes(kernel, x, x[:, 0])
    assert (found.vectors * found.values) @ found.vectors.T == near(kernel.ntk(x), abs=1e-11)
    assert found.operator_values == near(found.values / 8)


def test_shares_add_up(found):
    assert found.share.sum(0) == near(np.ones(2))


@pytest.mark.parametrize("time", [0.0, 0.3, 40.0])
def test_loss_follows_gradient_flow(found, data, time):
    gram, y = data
    residual = jax.scipy.linalg.expm(-time * jnp.asarray(gram)) @ y
    assert found.loss(time) == near(0.5 * float(jnp.sum(residual**2)), rel=1e-10)
    assert found.loss_by_mode(jnp.array([time, 1.0])).shape == (2, N)


def test_loss_follows_gradient_descent(found, data):
    gram, y = data
    step, f = 0.9 * float(found.largest_step), np.zeros_like(y)
    for _ in range(5):
        f -= step * gram @ (f - y)
    assert found.loss(5, step=step) == near(0.5 * np.sum((f - y) ** 2), rel=1e-10)


def test_effective_dimension(found, data):
    gram, _ = data
    hat = np.linalg.solve(gram + 0.2 * np.eye(N), gram)
    assert found.effective_dimension(ridge=0.2) == near(np.trace(hat))
    stopped = np.eye(N) - jax.scipy.linalg.expm(-3.0 * jnp.asarray(gram))
    assert found.effective_dimension(time=3.0) == near(float(jnp.trace(stopped)))


def test_alignment_is_that_of_the_matrices(found, data):
    gram, y = data
    middle = np.eye(N) - 1 / N
    for centred, k, t in ((False, gram, y), (True, middle @ gram @ middle, middle @ y)):
        expected = np.sum(k * (t @ t.T)) / (np.linalg.norm(k) * np.linalg.norm(t @ t.T))
        assert found.alignment(centred=centred) == near(expected)
        assert alignment(gram, y, centred=centred) == near(expected)


def test_alignment_of_a_target_with_itself(data):
    _, y = data
    assert alignment(y @ y.T, y) == near(1.0)


@pytest.mark.parametrize(("ridge", "time"), [(0.1, np.inf), (0.0, np.inf), (0.0, 0.05), (0.0, 30.0), (0.05, 3.0)])
def test_leaving_one_out_equals_refitting(found, data, ridge, time):
    smoother = found.smoother(ridge=ridge, time=time)
    assert smoother.loo_residuals == near(refits(*data, ridge, time), abs=2e-11)


def test_imputed_residuals_solve_their_own_equation(found, data):
    """With y_n replaced by y_n - r_n the smoother predicts just that at x_n; and it is not refitting."""
    smoother = found.smoother(time=5.0)
    hat = (found.vectors * smoother.filter) @ found.vectors.T
    _, y = data
    target = y.copy()
    target[4] -= smoother.imputed_residuals[4]
    assert (hat @ target)[4] == near(target[4], abs=1e-10)
    assert np.abs(smoother.imputed_residuals - smoother.loo_residuals).max() > 1e-3


def test_cross_validation_score(found, data):
    gram, y = data
    hat = gram @ np.linalg.inv(gram + 0.2 * np.eye(N))
    expected = np.sum((y - hat @ y) ** 2) / N / (1 - np.trace(hat) / N) ** 2
    assert found.smoother(ridge=0.2).gcv == near(expected)


def test_score_has_the_interpolant_as_its_limit(found):
    assert found.smoother(ridge=1e-13).gcv == near(found.smoother().gcv, rel=1e-6)
    assert np.isfinite(found.smoother(time=1e9).gcv)


@pytest.mark.parametrize("criterion", ["loo", "gcv"])
def test_choices_are_minima(found, criterion):
    for choice, at in (
        (found.choose_ridge(criterion), lambda v: found.smoother(ridge=v)),
        (found.choose_time(criterion), lambda v: found.smoother(time=v)),
    ):
        assert choice.score <= choice.scores.min()
        near = [float(at(choice.value * f).score(criterion)) for f in (0.98, 1.02)]
        assert choice.score <= min(near)


def test_singular_interpolant_is_refused():
    x = np.array([[1.0], [2.0], [3.0]])
    with pytest.raises(ValueError, match="give a ridge"):
        modes(x @ x.T, y=x[:, 0]).smoother().loo_residuals  # noqa: B018


def test_matrices_are_checked():
    with pytest.raises(ValueError, match="not symmetric"):
        modes(np.array([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="not positive semi-definite"):
        modes(np.array([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(ValueError, match="expected 2 rows"):
        modes(np.eye(2), y=np.ones(3))


# --- learning curves ------------------------------------------------------------------------------------------------------


def test_white_spectrum_has_its_closed_form():
    """M equal eigenvalues without ridge: κ = λ (M - n), error a² (1 - n/M); beyond M nothing is left."""
    curve = learning_curve(np.full(1, 2.0), np.ones(1), [10, 50, 100], multiplicities=np.full(1, 80.0))
    assert curve.effective_ridge == near(np.array([140.0, 60.0, 0.0]), abs=1e-9)
    assert curve.error == near(np.array([1 - 10 / 80, 1 - 50 / 80, 0.0]), abs=1e-9)
    noisy = learning_curve(np.full(1, 2.0), np.ones(1), [100], multiplicities=np.full(1, 80.0), noise=0.5)
    assert noisy.error[0] == near(0.5 * 0.8 / 0.2)


def test_curve_can_be_differentiated():
    def error(ridge):
        return learning_curve(np.array([1.0, 0.1, 0.01]), np.ones(3), [7], ridge=ridge, noise=0.2).error[0]

    slope = (error(0.3 + 1e-5) - error(0.3 - 1e-5)) / 2e-5
    assert jax.jvp(error, (0.3,), (1.0,))[1] == near(slope, rel=1e-6)


def simulated(count, repeats, spectrum, dimension, ridge, noise):
    """Test errors of kernel regression on the sphere for a target of degrees 1 and 2, both of power 1."""
    rng = np.random.default_rng(count)

    def points(n):
        x = rng.standard_normal((n, dimension))
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    def target(x):
        d = dimension
        return np.sqrt(d) * x[:, 0] + np.sqrt((d + 2) * d) * x[:, 1] * x[:, 2]

    fresh, errors = points(1500), []
    for _ in range(repeats):
        x = points(count)
        gram = spectrum(np.clip(x @ x.T, -1, 1)) + (spectrum.tail + ridge) * np.eye(count)
        labels = target(x) + np.sqrt(noise) * rng.standard_normal(count)
        fit = spectrum(np.clip(fresh @ x.T, -1, 1)) @ np.linalg.solve(gram, labels)
        errors.append(np.mean((fit - target(fresh)) ** 2))
    return np.mean(errors), np.std(errors) / np.sqrt(repeats)


def predicted(count, spectrum, ridge, noise):
    weights = np.zeros(len(spectrum.degrees))
    weights[1:3] = 1
    return learning_curve(
        np.maximum(spectrum.eigenvalues, 0),
        weights,
        [count],
        multiplicities=spectrum.multiplicities,
        ridge=ridge,
        noise=noise,
        tail=spectrum.tail,
    ).error[0]


def check_curve(count, repeats):
    spectrum = sphere(lambda t: jnp.exp(2 * (t - 1)), 14, dimension=10)
    mean, error = simulated(count, repeats, spectrum, 10, 0.02, 0.25)
    expected = float(predicted(count, spectrum, 0.02, 0.25))
    assert abs(mean - expected) < 3 * error + 0.05 * expected
    assert error < 0.1 * expected


def test_learning_curve_agrees_with_simulation():
    check_curve(60, 30)


@pytest.mark.slow
@pytest.mark.parametrize("count", [20, 120, 400])
def test_learning_curves_agree_with_simulations(count):
    check_curve(count, 60)


def test_population_of_a_data_set(found):
    curve = found.learning_curve([1, 5, 10], ridge=0.1, noise=0.1)
    assert np.all(np.diff(curve.error) < 0)
