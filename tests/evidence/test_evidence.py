"""The evidence against direct formulas, scikit-learn and finite differences; fits reach maxima."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import multivariate_normal

import widelimit as wl
from networks import drawn
from widelimit.evidence import evidence, fit_evidence, rescaled


def shapes(width):
    return {"w1": (3, width), "b1": (width,), "v": (width, 1)}


def apply(params, x):
    h = jax.scipy.special.erf(1.2 * x @ params["w1"] / 3**0.5 + 0.3 * params["b1"])
    return h @ params["v"] / h.shape[-1] ** 0.5


@pytest.fixture(scope="module")
def kernel():
    return wl.limit(wl.Network(drawn(shapes), apply), (3,))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((14, 3)))
    return x, jnp.sin(2 * x[:, 0]) + 0.1 * rng.standard_normal(14)


MOVED = {"w1": 1.3, "b1": 0.6}


def test_value_is_the_log_density(kernel, data):
    x, y = data
    covariance = kernel.ntk(x) + 0.05 * jnp.eye(len(x))
    expected = multivariate_normal(np.zeros(len(x)), covariance).logpdf(y)
    assert evidence(kernel, x, y, noise=0.05, kind="ntk") == pytest.approx(expected, rel=1e-8)


def test_value_is_that_of_scikit_learn(kernel, data):
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import PairwiseKernel

    x, y = data
    pair = jax.jit(kernel.pair)
    given = PairwiseKernel(metric=lambda a, b, **_: float(pair(a, b).nngp))
    fitted = GaussianProcessRegressor(given, alpha=0.05, optimizer=None).fit(x[:5], y[:5])
    expected = fitted.log_marginal_likelihood_value_
    assert evidence(kernel, x[:5], y[:5], noise=0.05) == pytest.approx(expected, rel=1e-8)


def test_outputs_add_up(kernel, data):
    x, y = data
    both = evidence(kernel, x, jnp.stack([y, 2 * y], 1), noise=0.05)
    assert both == pytest.approx(float(evidence(kernel, x, y, noise=0.05) + evidence(kernel, x, 2 * y, noise=0.05)))


def test_rescaled_kernel_has_the_same_evidence(kernel, data):
    x, y = data
    other = rescaled(kernel, MOVED, fixed_rates=True)
    expected = multivariate_normal(np.zeros(len(x)), other.ntk(x) + 0.05 * jnp.eye(len(x))).logpdf(y)
    found = evidence(kernel, x, y, noise=0.05, variances=MOVED, kind="ntk", fixed_rates=True)
    assert found == pytest.approx(expected, rel=1e-8)


def test_rescaled_kernel_is_that_of_the_rescaled_network(kernel, data):
    """Multiplying the variance of a weight by m is multiplying the weight by √m."""

    def scaled(params, x):
        return apply(params | {p: m**0.5 * params[p] for p, m in MOVED.items()}, x)

    direct, found = wl.limit(wl.Network(drawn(shapes), scaled), (3,))(data[0]), rescaled(kernel, MOVED)(data[0])
    assert found.nngp == pytest.approx(np.asarray(direct.nngp), abs=1e-12)
    assert found.ntk == pytest.approx(np.asarray(direct.ntk), abs=1e-12)


def test_gradient_agrees_with_finite_differences(kernel, data):
    x, y = data

    def fn(noise, variances):
        return evidence(kernel, x, y, noise=noise, variances=variances, kind="ntk")

    slopes = jax.tree_util.tree_leaves(jax.grad(fn, (0, 1))(0.05, MOVED))
    point, rebuild = jax.flatten_util.ravel_pytree((0.05, MOVED))
    for i, slope in enumerate(slopes):
        f = [float(fn(*rebuild(point.at[i].multiply(1 + 1e-2 * s)))) for s in (-2, -1, 1, 2)]
        numerical = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12e-2 * point[i])
        assert slope == pytest.approx(float(numerical), rel=2e-5, abs=1e-5)


def test_fit_is_a_maximum(kernel, data):
    x, y = data
    fit = fit_evidence(kernel, x, y, frozen=("v",), steps=60)
    assert fit.log_evidence > fit.start + 1
    assert fit.log_evidence == pytest.approx(
        float(evidence(kernel, x, y, noise=fit.noise, variances=fit.variances)), rel=1e-9
    )
    assert "v" not in fit.variances
    assert fit.gradient < 0.05
    assert "noise variance" in str(fit)


def test_fit_by_optax_with_ties(kernel, data):
    x, y = data
    tie = lambda path: "bias" if path[0] == "b" else "weights"  # noqa: E731
    fit = fit_evidence(kernel, x, y, tie=tie, fit_noise=False, noise=0.02, optimizer=optax.adam(0.1), steps=15)
    assert fit.variances["w1"] == fit.variances["v"]
    assert fit.noise == pytest.approx(0.02)
    assert fit.log_evidence > fit.start
    assert len(fit.history) == 15


def test_paths_are_checked(kernel, data):
    x, y = data
    with pytest.raises(ValueError, match="not parameters with a variance"):
        evidence(kernel, x, y, noise=0.1, variances={"w9": 1.0})
    with pytest.raises(ValueError, match="positive factors"):
        rescaled(kernel, {"w1": -1.0})


def test_singular_covariance_is_an_error(kernel, data):
    x, y = data
    twice, targets = jnp.concatenate([x, x]), jnp.concatenate([y, y])
    with pytest.raises(ValueError, match="not positive definite"):
        evidence(kernel, twice[:14].at[1].set(twice[0]), targets[:14], noise=-1e-3)
