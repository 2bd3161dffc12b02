"""Gradient descent in parameters and in function space."""

from collections import deque

import jax
import numpy as np
import pytest

from widelimit.cli._descent import Descent, outputs, train
from widelimit.network import Network

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X, X_TEST, Y = RNG.normal(size=(12, 3)), RNG.normal(size=(5, 3)), RNG.normal(size=(12, 2))
THETA = X @ X.T


def trained(net, start, descent, rates):
    """The parameters after all steps."""
    (end,) = deque(train(net, start, (X, Y), descent=descent, rates=rates, watch=iter), maxlen=1)
    return end


@pytest.fixture(scope="module")
def descent():
    return Descent.plan(THETA, KEY, size=5, epochs=30)


def test_every_pass_takes_images_once(descent):
    assert descent.batches.shape == (60, 5)
    for one_pass in descent.batches.reshape(30, 10):
        assert len(set(one_pass)) == 10


def test_a_step_is_the_inverse_of_the_largest_eigenvalue(descent):
    largest = max(np.linalg.norm(THETA[np.ix_(b, b)], 2) for b in descent.batches)
    np.testing.assert_allclose(descent.step, 1 / largest)


def test_full_batches_have_a_closed_form():
    """Θ a_t = (1 − (1 − ηΘ)^t) Y."""
    descent = Descent.plan(THETA, KEY, size=12, epochs=7)
    left = np.linalg.matrix_power(np.eye(12) - descent.step * THETA, 7) @ Y
    np.testing.assert_allclose(THETA @ descent.in_the_limit(THETA, Y), Y - left, rtol=1e-10)


def test_a_linear_network_is_its_own_limit(descent):
    """f(x) = x W has the tangent kernel x·x' throughout, so both ways to descend agree, from any start."""
    net = Network(lambda key, width: {"w": jax.random.normal(key, (3, 2))}, lambda params, x: x @ params["w"])
    start = net.init(KEY, 1)
    end = trained(net, start, descent, {"w": 1.0})
    moved = outputs(net.apply, end, X_TEST) - outputs(net.apply, start, X_TEST)
    np.testing.assert_allclose(moved, X_TEST @ X.T @ descent.in_the_limit(THETA, Y), rtol=1e-3, atol=1e-5)


def test_a_parameter_of_rate_zero_stays(descent):
    net = Network(
        lambda key, width: {"w": jax.random.normal(key, (3, 2)), "b": np.ones(2)},
        lambda params, x: x @ params["w"] + params["b"],
    )
    end = trained(net, net.init(KEY, 1), descent, {"w": 1.0, "b": 0.0})
    np.testing.assert_array_equal(end["b"], 1)
