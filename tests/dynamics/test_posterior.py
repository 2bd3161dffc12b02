"""Gaussian-process regression, against scikit-learn and the formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

import widelimit as wl
from dynamics.features import X_TEST, X, Y, kernel, matrices

K, THETA, K_CROSS, CROSS, K_TEST = matrices()
KEY = jax.random.key(0)


def test_is_that_of_scikit_learn():
    prior = RBF(1.3)
    theirs = GaussianProcessRegressor(prior, alpha=0.1, optimizer=None).fit(X, Y)
    mean, covariance = theirs.predict(X_TEST, return_cov=True)
    p = wl.posterior(lambda a, b: (prior(a, b),) * 2, X, Y, noise=0.1)(X_TEST)
    np.testing.assert_allclose(p.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(p.covariance, covariance[..., 0], rtol=1e-9, atol=1e-12)


def test_with_the_ntk_as_prior():
    p = wl.posterior(kernel, X, Y[:, 0], noise=0.2, prior="ntk")(X_TEST)
    solved = np.linalg.solve(THETA + 0.2 * np.eye(6), np.concatenate([Y[:, :1], CROSS.T], axis=1))
    np.testing.assert_allclose(p.mean, CROSS @ solved[:, 0], rtol=1e-10)
    np.testing.assert_allclose(p.covariance, kernel(X_TEST, X_TEST)[1] - CROSS @ solved[:, 1:], rtol=1e-8)


def test_without_noise_is_training_the_readout_to_the_end():
    """Lee et al. 2019: the ensemble of networks whose readout is trained is the Bayesian posterior."""
    trained, bayes = wl.train(kernel, X, Y, regime="last")(X_TEST), wl.posterior(kernel, X, Y)(X_TEST)
    np.testing.assert_allclose(trained.mean, bayes.mean, rtol=1e-9)
    np.testing.assert_allclose(trained.covariance, bayes.covariance, rtol=1e-7, atol=1e-11)


def test_samples_have_the_mean_and_the_covariance():
    p = wl.posterior(kernel, X, Y, noise=0.1)(X_TEST)
    centred = p.sample(KEY, 4000) - p.mean
    assert centred.shape == (4000, 4, 2)
    z = centred.mean(0) / (centred.std(0) / 4000**0.5)
    products = jnp.einsum("smc,snc->smn", centred, centred) / 2
    z2 = (products.mean(0) - p.covariance) / (products.std(0) / 4000**0.5)
    assert max(float(jnp.abs(z).max()), float(jnp.abs(z2).max())) < 4


def test_coinciding_points_are_warned_of():
    post = wl.posterior(kernel, np.concatenate([X, X]), np.concatenate([Y, Y + 1]))
    with pytest.warns(wl.JitterWarning, match="6 of the 12"):
        p = post(X_TEST)
    expected = wl.posterior(kernel, X, Y + 0.5)(X_TEST)
    np.testing.assert_allclose(p.mean, expected.mean, rtol=1e-6)
    np.testing.assert_allclose(p.covariance, expected.covariance, rtol=1e-6, atol=1e-10)
    assert p.jitter == post.jitter > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [({"noise": -1.0}, r"`wl.posterior\(..., noise=-1.0\)`"), ({"prior": "gp"}, "'nngp', 'ntk'")],
)
def test_nonsense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        wl.posterior(kernel, X, Y, **options)
