"""Hermite coefficients of activations against closed forms and mpmath; Mehler's series against expectations."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from widelimit.spectrum import hermite


def test_relu_has_its_closed_form():
    """a_0 = 1/√(2π), a_1 = 1/2, a_{2m} = (-1)^{m+1} (2m-3)!! / √(2π (2m)!), other odd ones 0."""
    found = hermite(jax.nn.relu, 40).coefficients
    assert found[:2] == pytest.approx([1 / math.sqrt(2 * math.pi), 0.5], abs=1e-14)
    assert np.abs(found[3::2]).max() < 1e-14
    for m in range(1, 21):
        double = math.prod(range(2 * m - 3, 0, -2))
        expected = (-1) ** (m + 1) * double / math.sqrt(2 * math.pi * math.factorial(2 * m))
        assert found[2 * m] == pytest.approx(expected, abs=1e-14)


def test_exponential_has_a_power_law():
    """E[e^{sz} h_k(z)] = s^k e^{s²/2} / √k!."""
    found = hermite(jnp.exp, 12, variance=0.49).coefficients
    expected = [0.7**k * math.exp(0.245) / math.sqrt(math.factorial(k)) for k in range(13)]
    assert found == pytest.approx(expected, abs=1e-13)


def test_polynomial_ends():
    found = hermite(lambda u: u**3 - 2 * u + 1, 8)
    assert found.coefficients[:4] == pytest.approx([1, 1, 0, math.sqrt(6)], abs=1e-13)
    assert np.abs(found.coefficients[4:]).max() < 1e-13
    assert found.tail < 1e-12


@pytest.mark.parametrize("k", [1, 5, 16])
def test_sharp_tanh_agrees_with_mpmath(k):
    def term(z):
        polynomial = mpmath.hermite(k, z / mpmath.sqrt(2)) / mpmath.sqrt(mpmath.mpf(2) ** k * mpmath.factorial(k))
        return mpmath.tanh(20 * z + 3) * polynomial * mpmath.exp(-z * z / 2) / mpmath.sqrt(2 * mpmath.pi)

    expected = mpmath.quad(term, [-12, -6, -2, -0.5, -0.25, -0.15, -0.05, 0.2, 1, 3, 6, 12])
    found = hermite(lambda u: jnp.tanh(20 * u), 16, mean=0.15, variance=1.0).coefficients[k]
    assert found == pytest.approx(float(expected), abs=1e-12)


def test_dual_is_the_arc_cosine_kernel():
    rho = np.linspace(-0.8, 0.8, 5)
    theta = np.arccos(rho)
    found = hermite(jax.nn.relu, 160)
    assert found.dual(rho) == pytest.approx((np.sin(theta) + (np.pi - theta) * rho) / (2 * np.pi), abs=1e-14)
    assert found.dual_derivative(rho) == pytest.approx((np.pi - theta) / (2 * np.pi), abs=1e-14)
    assert found.square == pytest.approx(0.5, abs=1e-14)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="variance > 0"):
        hermite(jnp.tanh, 4, variance=0.0)
