"""Several Gaussians a side: factorisation, closed forms, degenerate laws, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.gaussian._pointwise import Joint, Pointwise
from widelimit.gaussian._quadrature import expect_one
from widelimit.gaussian._several import describe_several, expect_several

GATE = Pointwise(lambda a, b: jax.nn.sigmoid(a) * jnp.sin(b), 2, "gate")
MAX = Pointwise(jnp.maximum, 2, "max")
WAVE = Pointwise(lambda a, b: jnp.cos(a + 0.5 * b), 2, "wave")
LAW = np.array([[1.0, 0.2, 0.5, 0.1], [0.2, 1.2, -0.1, 0.3], [0.5, -0.1, 0.8, 0.0], [0.1, 0.3, 0.0, 0.9]])


def joint(c, p=2):
    rows = [[c[i, j] for j in range(len(c))] for i in range(len(c))]

    def pick(a, b):
        return tuple(tuple(row[b]) for row in rows[a])

    left, right = slice(0, p), slice(p, None)
    return Joint(pick(left, left), pick(right, right), pick(left, right), (None,) * p, (None,) * (len(c) - p))


@jax.jit
def gate(c):
    return expect_several(GATE, GATE, joint(c))


@jax.jit
def largest(c):
    return expect_several(MAX, MAX, joint(c))


def exact_largest(c):
    """max(a, b) = (a + b + |a - b|)/2, and E|x||y| in closed form."""
    plus, minus = jnp.array([1.0, 1, 0, 0]), jnp.array([1.0, -1, 0, 0])
    other = jnp.roll(minus, 2)
    kxx, kyy, kxy = minus @ c @ minus, other @ c @ other, minus @ c @ other
    root = jnp.sqrt(kxx * kyy)
    distance = 2 / jnp.pi * (jnp.sqrt(kxx * kyy - kxy**2) + kxy * jnp.arcsin(kxy / root))
    return 0.25 * (plus @ c @ jnp.roll(plus, 2) + distance)


def test_waves_agree_with_their_closed_form():
    w = np.array([1, 0.5])
    a, b, x = w @ LAW[:2, :2] @ w, w @ LAW[2:, 2:] @ w, w @ LAW[:2, 2:] @ w
    got = expect_several(WAVE, WAVE, joint(jnp.asarray(LAW)))
    np.testing.assert_allclose(got, np.exp(-0.5 * (a + b)) * np.cosh(x), rtol=1e-8)


def test_independent_arguments_factor():
    c = LAW * (np.add.outer(np.arange(4), np.arange(4)) % 2 == 0)

    def one(f, i):
        law = (((jnp.asarray(c[a, b]),),) for a, b in ((i, i), (i + 2, i + 2), (i, i + 2)))
        return expect_one(Pointwise(f, 1), Pointwise(f, 1), Joint(*law, (None,), (None,)))

    np.testing.assert_allclose(gate(jnp.asarray(c)), one(jax.nn.sigmoid, 0) * one(jnp.sin, 1), rtol=1e-6)


def test_max_agrees_with_its_closed_form_within_the_stated_error():
    c = jnp.asarray(LAW)
    rule, error = describe_several(MAX, MAX)
    assert "lattice" in rule
    assert error < 1e-3
    assert abs(largest(c) - exact_largest(c)) < 6 * error


def test_gradient_of_max_agrees_with_its_closed_form():
    got, expected = (jax.grad(f)(jnp.asarray(LAW)) for f in (largest, exact_largest))
    np.testing.assert_allclose(got + got.T, expected + expected.T, atol=3e-3)


@pytest.mark.slow
@pytest.mark.parametrize("entry", [(0, 0), (0, 1), (0, 2), (1, 3), (2, 3)])
def test_gradient_of_a_smooth_function_agrees_with_differences(entry):
    gradient = jax.jit(jax.grad(gate))(jnp.asarray(LAW))
    step = np.zeros((4, 4))
    step[entry] = step[entry[::-1]] = 1e-4
    difference = gate(jnp.asarray(LAW + step)) - gate(jnp.asarray(LAW - step))
    np.testing.assert_allclose(np.sum(gradient * step) * 2, difference, rtol=1e-5, atol=1e-10)


def test_equal_inputs_and_zero_variance_are_ordinary():
    np.testing.assert_allclose(largest(jnp.ones((4, 4))), 1, rtol=1e-3)
    np.testing.assert_allclose(largest(jnp.zeros((4, 4))), 0, atol=1e-12)
    assert np.isfinite(jax.grad(largest)(jnp.ones((4, 4)))).all()
    assert np.isfinite(jax.grad(gate)(jnp.zeros((4, 4)))).all()


@pytest.mark.slow
def test_shared_lattice_in_many_dimensions_agrees_with_the_closed_form():
    mean = Pointwise(lambda *u: jnp.sin(sum(u)), 4, "sum of four")
    c = 0.2 * np.eye(8) + 0.05
    got = expect_several(mean, mean, joint(jnp.asarray(c), p=4))
    side, cross = 4 * 0.2 + 16 * 0.05, 16 * 0.05
    np.testing.assert_allclose(got, np.exp(-side) * np.sinh(cross), rtol=5e-3)


def test_parameters_broadcast():
    scaled = Pointwise(lambda a, b, t: jnp.cos(t * (a + b)), 2)
    t = jnp.array([0.5, 1.0])
    got = expect_several(scaled, scaled, joint(jnp.asarray(np.eye(4))), (t,), (t,))
    np.testing.assert_allclose(got, np.exp(-2 * t**2), rtol=5e-3)
