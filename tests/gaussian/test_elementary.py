"""Angles from one polynomial: accuracy, derivatives at the ends, and where the constants come from."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from gaussian.remez import arctan_over_x, remez
from widelimit.gaussian import _elementary
from widelimit.gaussian._angle import angle, quarter_tangent
from widelimit.gaussian._elementary import arccos, arctan

EPS = {jnp.float32: 6e-8, jnp.float64: 1.2e-16}


@pytest.mark.parametrize("dtype", EPS)
def test_arctan_is_right_to_a_few_roundings(dtype):
    t = np.linspace(-1, 1, 20001).astype(dtype)
    exact = np.arctan(t.astype(np.longdouble))
    error = np.abs(np.asarray(arctan(jnp.asarray(t)), np.longdouble) - exact)
    assert np.all(error <= 4 * EPS[dtype] * np.abs(exact))


@pytest.mark.parametrize("dtype", EPS)
def test_arccos_is_right_to_a_few_roundings(dtype):
    x = np.concatenate([np.linspace(-1, 1, 20001), 1 - np.geomspace(1e-7, 0.1, 200)]).astype(dtype)
    exact = np.arccos(x.astype(np.longdouble))
    error = np.abs(np.asarray(arccos(jnp.asarray(x)), np.longdouble) - exact)
    assert np.all(error <= 8 * EPS[dtype] * np.maximum(exact, 0))


def test_arccos_takes_roundings_beyond_one_as_one():
    x = jnp.array([1 + 1e-7, -1 - 1e-7], jnp.float32)
    np.testing.assert_allclose(arccos(x), [0, np.pi], rtol=1e-6)


def test_slope_of_arccos():
    x = jnp.array([-0.9, -0.2, 0.0, 0.7])
    np.testing.assert_allclose(jax.vmap(jax.grad(arccos))(x), -1 / np.sqrt(1 - x**2), rtol=1e-14)


@pytest.mark.parametrize("x", [-1.0, 1.0])
def test_slope_of_arccos_is_zero_at_the_ends(x):
    assert jax.grad(arccos)(jnp.asarray(x)) == 0


@pytest.mark.parametrize(("name", "degree", "digits"), [("_ARCTAN_FLOAT32", 8, 15), ("_ARCTAN_FLOAT64", 19, 25)])
def test_constants_come_from_the_exchange_algorithm(name, degree, digits):
    constants, error = remez(arctan_over_x, degree, digits=digits + 15)
    np.testing.assert_allclose(getattr(_elementary, name), [float(c) for c in constants], rtol=1e-6)
    assert error < 2e-8 if degree == 8 else error < 3e-17


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("size", [1e-30, 1e-3, 1.0, 7.3, 1e30])
def test_angle_of_equal_vectors_is_exactly_zero(dtype, size):
    k = jnp.asarray(size, dtype) * jnp.linspace(1, 5, 1001, dtype=dtype)
    found = angle(k, k, k)
    assert jnp.all(found.sine == 0)
    np.testing.assert_allclose(found.supplement, np.pi, rtol=1e-7)


def test_angle_of_close_vectors_keeps_the_digits_of_the_data():
    k11, c, k22 = (jnp.asarray(x) for x in (1.0, 1.0, 1.0 + 1e-12))
    with mp.workdps(40):
        exact = mp.acos(1 / mp.sqrt(mp.mpf(float(k22))))
    np.testing.assert_allclose(np.pi - angle(k11, c, k22).supplement, float(exact), rtol=1e-4)
    np.testing.assert_allclose(angle(k11, c, k22).sine, float(mp.sqrt(mp.mpf(float(k22)) - 1)), rtol=1e-4)


def test_angle_of_close_vectors_in_single_precision_is_that_of_its_inputs():
    x = np.random.default_rng(0).normal(size=(400, 50)) / np.sqrt(50)
    y = x + 1e-3 * np.random.default_rng(1).normal(size=x.shape) / np.sqrt(50)
    law = [jnp.asarray(np.sum(a * b, 1), jnp.float32) for a, b in ((x, x), (x, y), (y, y))]
    single, double = angle(*law), angle(*(k.astype(jnp.float64) for k in law))
    np.testing.assert_allclose(single.sine, double.sine, rtol=2e-5, atol=1e-9)


def test_angle_with_nothing_is_a_right_angle():
    found = angle(jnp.zeros(()), jnp.zeros(()), jnp.ones(()))
    np.testing.assert_allclose(found.supplement, np.pi / 2, rtol=1e-15)
    assert found.sine == 0


def test_nan_comes_through():
    assert jnp.isnan(angle(jnp.asarray(jnp.nan), jnp.ones(()), jnp.ones(())).supplement)


@pytest.mark.parametrize("dtype", EPS)
def test_quarter_tangent_at_all_angles(dtype):
    small = np.geomspace(1e-6, 0.1, 50)
    theta = np.concatenate([[0], small, np.linspace(0.2, 2.9, 200), np.pi - small, [np.pi]])
    gap = np.where(theta > np.pi / 2, 4 * np.cos(theta / 2) ** 2, 4 * np.sin(theta / 2) ** 2)
    one = jnp.ones(theta.shape, dtype)
    top, bottom = quarter_tangent(one, jnp.asarray(np.cos(theta), dtype), one, jnp.asarray(gap, dtype))
    exact = np.tan(theta / 4)
    np.testing.assert_allclose(top / bottom, exact, rtol=12 * EPS[dtype], atol=1e-12 if dtype == jnp.float32 else 1e-16)
