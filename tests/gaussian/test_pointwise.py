"""Pointwise functions, their derivatives, and the joint law of their arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.gaussian import IDENTITY, ONE, Joint, Pointwise, derivative


@jax.custom_vjp
def cube(x):
    return x**3


cube.defvjp(lambda x: (cube(x), x), lambda x, g: (3 * x**2 * g,))


def test_a_pointwise_function_is_a_key_by_identity():
    assert Pointwise(jnp.tanh, 1) != Pointwise(jnp.tanh, 1)
    assert len({IDENTITY, IDENTITY, ONE}) == 2


def test_derivative_is_made_once():
    phi = Pointwise(jnp.tanh, 1)
    assert derivative(phi, 0) is derivative(phi, 0)


def test_derivative_in_each_argument():
    phi = Pointwise(lambda u, v, a: a * u * v**2, 2)
    u, v, a = jnp.array([1.0, 2.0]), jnp.array([[3.0], [4.0]]), 5.0
    np.testing.assert_allclose(derivative(phi, 0).fn(u, v, a), np.broadcast_to(a * v**2, (2, 2)))
    np.testing.assert_allclose(derivative(phi, 1).fn(u, v, a), 2 * a * u * v)
    np.testing.assert_allclose(derivative(derivative(phi, 1), 1).fn(u, v, a), 2 * a * u * jnp.ones((2, 1)))


def test_derivative_of_a_function_with_a_reverse_rule_only():
    x = jnp.array([1.0, -2.0])
    np.testing.assert_allclose(derivative(Pointwise(cube, 1), 0).fn(x), 3 * x**2)


def test_derivative_of_a_truth_value_is_zero():
    slope = derivative(Pointwise(lambda u: u > 0, 1), 0).fn(jnp.array([1.0, -1.0]))
    np.testing.assert_array_equal(slope, [0.0, 0.0])


def test_derivative_in_what_is_no_gaussian_argument_is_refused():
    with pytest.raises(IndexError, match=r"`derivative\(phi, 1\)`: phi has 1 Gaussian argument"):
        derivative(IDENTITY, 1)


def test_swapping_a_joint_law():
    a, b, c = (jnp.asarray(x) for x in (1.0, 2.0, 3.0))
    joint = Joint(((a,),), ((b, None), (None, c)), ((None, c),), (a,), (None, b))
    swapped = joint.swapped()
    assert swapped.cross == ((None,), (c,))
    assert swapped.swapped() == joint
