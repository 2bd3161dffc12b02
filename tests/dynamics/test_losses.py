"""The losses, against their definitions."""

import jax
import numpy as np
import pytest

import widelimit as wl

F = np.linspace(-2, 2, 41) + 0.013
Y = np.float64(0.1)


def each(loss):
    return np.array([loss(f, Y) for f in F])


def test_squared_error_is_half_a_sum():
    assert float(wl.squared_error(np.array([1.0, 2.0]), np.array([0.0, 4.0]))) == 2.5


def test_cross_entropy_of_a_class_and_of_probabilities():
    f = np.array([0.3, -1.0, 2.0])
    p = np.exp(f) / np.exp(f).sum()
    np.testing.assert_allclose(wl.cross_entropy(f, np.int64(1)), -np.log(p[1]))
    np.testing.assert_allclose(wl.cross_entropy(f, np.array([0.2, 0.3, 0.5])), -np.log(p) @ [0.2, 0.3, 0.5])


def test_huber_is_a_parabola_with_straight_ends():
    r = F - Y
    np.testing.assert_allclose(each(wl.huber(0.7)), np.where(abs(r) < 0.7, r**2 / 2, 0.7 * (abs(r) - 0.35)), atol=1e-15)


def test_quantile_is_the_pinball():
    r = Y - F
    np.testing.assert_allclose(each(wl.quantile(0.3)), np.maximum(0.3 * r, -0.7 * r), atol=1e-15)


@pytest.mark.parametrize("f", [-0.9, 0.099, 0.101, 0.25, 1.5])
def test_a_smooth_pinball_has_a_ramp_for_a_slope(f):
    """q turns into q − 1 over |y − f| <= s."""
    slope = jax.grad(wl.quantile(0.3, smooth=0.2))(f, Y)
    np.testing.assert_allclose(slope, np.clip((f - Y) / 0.4, -0.5, 0.5) + 0.5 - 0.3, atol=1e-14)


@pytest.mark.parametrize(
    "make", [lambda: wl.huber(0.0), lambda: wl.quantile(1.0), lambda: wl.quantile(0.5, smooth=-1.0)]
)
def test_nonsense_is_refused(make):
    with pytest.raises(ValueError, match="expected"):
        make()
