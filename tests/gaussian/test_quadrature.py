"""One Gaussian a side, any function: identities and independent references."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from gaussian.pairs import expect_one
from gaussian.plane import reference
from widelimit.gaussian._missed import missed
from widelimit.gaussian._pointwise import IDENTITY, ONE, Joint, Pointwise, derivative
from widelimit.gaussian._quadrature import _half, describe_one
from widelimit.gaussian._series import STEP
from widelimit.gaussian._sides import sides

VARIANCES = np.array([1e-4, 0.5, 3.0, 1e4])
CORRELATIONS = np.array([-1.0, -0.6, 0.3, 0.97, 0.999, 1.0])


def joint(k11, k22, k12, m1=None, m2=None):
    return Joint(((k11,),), ((k22,),), ((k12,),), (m1,), (m2,))


@cache
def pointwise(name):
    functions = {
        "tanh": jnp.tanh,
        "erf": jax.scipy.special.erf,
        "relu": jax.nn.relu,
        "hard_tanh": jax.nn.hard_tanh,
        "relu6": jax.nn.relu6,
        "selu": jax.nn.selu,
        "softsign": jax.nn.soft_sign,
    }
    return Pointwise(functions[name], 1, name)


@cache
def both(name):
    """(E[φφ], ∂E/∂k₁₂) as one compiled function of broadcastable arrays."""
    phi = pointwise(name)

    def call(k11, k22, k12):
        return jax.jvp(lambda k: expect_one(phi, phi, joint(k11, k22, k)), (k12,), (jnp.ones_like(k12),))

    return jax.jit(call)


def laws():
    k11 = VARIANCES[:, None]
    k22 = 1.7 * k11
    return k11, k22, CORRELATIONS * np.sqrt(k11 * k22)


def arcsine(a, b, c):
    return 2 / jnp.pi * jnp.arcsin(2 * c / jnp.sqrt((1 + 2 * a) * (1 + 2 * b)))


def arcsine_slope(a, b, c):
    return 4 / np.pi / np.sqrt((1 + 2 * a) * (1 + 2 * b) - 4 * c * c)


@pytest.fixture(scope="module")
def erf_values():
    return both("erf")(*(jnp.asarray(x) for x in laws()))


def test_erf_agrees_with_the_arcsine(erf_values):
    np.testing.assert_allclose(erf_values[0], arcsine(*laws()), rtol=1e-6)


def test_slope_of_erf_agrees_with_its_closed_form(erf_values):
    np.testing.assert_allclose(erf_values[1], arcsine_slope(*laws()), rtol=1e-6)


def test_relu_agrees_with_the_arc_cosine():
    k11, k22, k12 = laws()
    value, slope = both("relu")(*(jnp.asarray(x) for x in laws()))
    rho = np.broadcast_to(CORRELATIONS, k12.shape)
    angle = np.arccos(-rho)
    # the angle at ρ = -1 is the square root of a rounding error
    np.testing.assert_allclose(slope, angle / (2 * np.pi), rtol=1e-6, atol=1e-8)
    exact = (np.sqrt((1 - rho) * (1 + rho)) + rho * angle) / (2 * np.pi)
    np.testing.assert_allclose(value / np.sqrt(k11 * k22), exact, rtol=1e-6, atol=1e-9)


def at_one_shape(f, u):
    """f(u) of a compiled f, compiled once."""
    return np.asarray(f(np.append(u, np.zeros(-u.size % 16384))))[: u.size]


@pytest.mark.parametrize(
    ("name", "kinks"),
    [
        ("tanh", (0.0,)),
        ("relu6", (0.0, 6.0)),
        *(pytest.param(name, (0.0,), marks=pytest.mark.slow) for name in ("selu", "softsign")),
    ],
)
def test_values_and_slopes_agree_with_a_fine_rule(name, kinks):
    phi = pointwise(name)
    k11, k22, rho = np.array([1e-4, 2.0, 1e4]), np.array([2e-4, 0.9, 3e3]), np.array([0.5, 0.99, 1.0])
    got = both(name)(*(jnp.asarray(x) for x in (k11, k22, rho * np.sqrt(k11 * k22))))
    for function, values in zip((phi, derivative(phi, 0)), got, strict=True):
        f = jax.jit(function.fn)
        padded = partial(at_one_shape, f)
        expected = [reference(padded, padded, *law, kinks) for law in zip(k11, k22, rho, strict=True)]
        np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_the_slope_is_the_expectation_of_the_derivatives(erf_values):
    slope = derivative(pointwise("erf"), 0)
    direct = expect_one(slope, slope, joint(*(jnp.asarray(x) for x in laws())))
    np.testing.assert_allclose(erf_values[1], direct, rtol=1e-6)


@pytest.mark.slow
def test_sides_may_be_exchanged():
    f, g = pointwise("erf"), pointwise("relu")
    there = expect_one(f, g, joint(jnp.asarray(0.7), jnp.asarray(2.0), jnp.asarray(1.1), jnp.asarray(0.3), None))
    back = expect_one(g, f, joint(jnp.asarray(2.0), jnp.asarray(0.7), jnp.asarray(1.1), None, jnp.asarray(0.3)))
    np.testing.assert_allclose(there, back, rtol=1e-7)


def test_gram_of_tanh_is_positive_semidefinite():
    x = np.random.default_rng(0).normal(size=(12, 40)) / 2
    k = jnp.asarray(x.T @ x / 12)
    d = jnp.diag(k)
    gram = both("tanh")(d[:, None], d[None, :], k)[0]
    assert np.linalg.eigvalsh(gram).min() > -1e-13 * np.trace(gram)


def test_vmap_over_pairs_is_broadcasting():
    d, k = jnp.array([0.4, 0.9, 9.0]), jnp.array([[0.4, 0.3, 1.0], [0.3, 0.9, 2.0], [1.0, 2.0, 9.0]])
    paired = jax.vmap(jax.vmap(both("erf"), (None, 0, 0)), (0, None, 0))(d, d, k)
    np.testing.assert_allclose(paired, both("erf")(d[:, None], d[None, :], k), rtol=1e-12)


def difference(f, x, step=1e-5):
    return np.array([(f(x.at[i].add(step)) - f(x.at[i].add(-step))) / (2 * step) for i in range(x.size)])


@pytest.mark.slow
def test_gradient_with_kinks_and_means_agrees_with_differences():
    phi = pointwise("hard_tanh")
    f = jax.jit(lambda x: expect_one(phi, phi, joint(*x)))
    x = jnp.array([0.9, 1.3, 0.6, 0.2, -0.1])
    np.testing.assert_allclose(jax.jit(jax.grad(f))(x), difference(f, x), rtol=1e-7, atol=1e-9)


@pytest.mark.slow
def test_gradient_of_the_slope_agrees_with_its_closed_form():
    x = jnp.array([0.7, 1.1, 0.5])
    got = jax.jit(jax.grad(lambda x: both("erf")(*x)[1]))(x)
    expected = jax.grad(lambda x: jax.grad(arcsine, 2)(*x))(x)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.slow
def test_parameters_are_arguments_and_differentiable():
    phi = Pointwise(lambda u, t: jax.scipy.special.erf(t * u), 1)
    t = jnp.asarray(0.7)
    got = jax.value_and_grad(
        lambda t: expect_one(phi, phi, joint(jnp.asarray(1.0), jnp.asarray(1.0), jnp.asarray(0.5)), (t,), (t,))
    )(t)
    expected = jax.value_and_grad(lambda t: arcsine(t**2, t**2, 0.5 * t**2))(t)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("rho", [-1.0, 1.0])
def test_gradients_are_finite_at_extreme_correlations_and_zero_variance(rho):
    phi = pointwise("hard_tanh")
    gradient = jax.jit(jax.grad(lambda x: expect_one(phi, phi, joint(*x))))
    assert np.isfinite(gradient(jnp.array([1.0, 1.0, rho]))).all()
    assert np.isfinite(gradient(jnp.zeros(3))).all()


def test_float32_keeps_five_digits():
    k11, k22, k12 = (jnp.asarray(x[1:3], jnp.float32) for x in laws())
    value, slope = both("erf")(k11, k22, k12)
    assert value.dtype == slope.dtype == jnp.float32
    exact = [np.asarray(x, np.float64) for x in (k11, k22, k12)]
    np.testing.assert_allclose(value, arcsine(*exact), rtol=2e-5)
    np.testing.assert_allclose(slope, arcsine_slope(*exact), rtol=2e-5)


def test_constants_and_independent_sides_factor():
    phi = pointwise("relu")
    law = Joint(((jnp.asarray(4.0),),), ((jnp.asarray(4.0),),), ((None,),), (None,), (None,))
    np.testing.assert_allclose(expect_one(phi, phi, law), 4 / (2 * np.pi), rtol=1e-9)
    mean = Joint(((jnp.asarray(4.0),),), (), ((),), (None,), ())
    np.testing.assert_allclose(expect_one(phi, ONE, mean), 2 / np.sqrt(2 * np.pi), rtol=1e-9)
    np.testing.assert_allclose(expect_one(IDENTITY, ONE, mean), 0, atol=1e-12)


def clipped(u, limit):
    return jnp.clip(u, -limit, 2 * limit)


def test_kinks_that_depend_on_parameters_are_integrated_piecewise():
    phi, limit = Pointwise(clipped, 1), jnp.asarray(0.8)
    got = expect_one(phi, phi, joint(*map(jnp.asarray, (1.0, 2.0, [0.3, 1.4]))), (limit,), (limit,))
    f = partial(np.clip, a_min=-0.8, a_max=1.6)
    expected = [reference(f, f, 1.0, 2.0, c / 2**0.5, (-0.8, 1.6)) for c in (0.3, 1.4)]
    np.testing.assert_allclose(got, expected, rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["softsign", "hard_tanh"])
def test_less_accuracy_takes_fewer_terms(name):
    phi, k = pointwise(name), jnp.asarray([0.5, 2.0])
    half = _half(phi, 0, (), None, k)
    terms = [int(sides((half,), jnp.asarray(0.9), accuracy)[1]) for accuracy in (1e-2, 1e-5, 1e-10)]
    assert terms[0] < terms[-1] or terms[-1] == STEP
    assert terms == sorted(terms)


@pytest.mark.parametrize("name", ["tanh", pytest.param("selu", marks=pytest.mark.slow)])
def test_the_error_is_at_most_what_is_said(name):
    phi, accuracy = pointwise(name), 1e-3
    got = expect_one(phi, phi, joint(*map(jnp.asarray, (9.0, 9.0, 8.7))), accuracy=accuracy)
    f = partial(at_one_shape, jax.jit(phi.fn))
    exact, scale = (reference(f, f, 9.0, 9.0, rho) for rho in (8.7 / 9, 1.0))
    assert abs(got - exact) <= describe_one(phi, accuracy)[1] * scale


def test_description_names_kinks_and_bounds_the_error():
    rule, error = describe_one(pointwise("relu6"))
    assert "kinks 0 (order 1), 6 (order 1)" in rule
    assert error <= 1e-6
    rule, error = describe_one(pointwise("selu"))
    assert "0 (order 1)" in rule
    assert error <= 1e-6


HALF_WAVE = Pointwise(lambda u: jnp.where(u > 0, jnp.sin(u), 0.0), 1, "half wave")


def test_half_lines_of_waves_are_resolved_over_many_periods():
    # E[sin(sz) 1{z > 0}] = F(s/√2)/√π with Dawson's function F
    k = np.array([1.0, 1e2, 1e4])
    alone = Joint(((jnp.asarray(k),),), (), ((),), (None,), ())
    expected = scipy.special.dawsn(np.sqrt(k / 2)) / np.sqrt(np.pi)
    np.testing.assert_allclose(expect_one(HALF_WAVE, ONE, alone), expected, rtol=1e-9)


@pytest.mark.slow
def test_products_of_half_waves_over_many_periods():
    # at ρ = 1 half of E[sin²], at ρ = 0 the square of the mean
    k = jnp.asarray(1e4)
    mean = scipy.special.dawsn(np.sqrt(k / 2)) / np.sqrt(np.pi)
    got = jax.jit(lambda c: expect_one(HALF_WAVE, HALF_WAVE, joint(k, k, c)))(k * jnp.asarray([0.0, 1.0]))
    np.testing.assert_allclose(got, [mean**2, (1 - np.exp(-2e4)) / 4], rtol=1e-6)


@pytest.mark.slow
def test_a_miss_is_noted_when_it_is_met():
    phi = Pointwise(lambda u: jnp.where(u > 0, jnp.sin(u), 0.0), 1)
    f = jax.jit(lambda k: expect_one(phi, phi, joint(k, k, k / 2)))
    f(jnp.asarray([1.0, 1e4]))
    assert missed(phi) == 0
    f(jnp.asarray([1.0, 1e6]))
    assert missed(phi) > 1e-2
    assert describe_one(phi)[1] == missed(phi)


@pytest.mark.slow
def test_a_miss_of_a_function_with_parameters_is_noted():
    phi = Pointwise(lambda u, t: jnp.where(u > 0, jnp.sin(t * u), 0.0), 1)
    k = jnp.asarray(100.0)
    f = jax.jit(lambda t: expect_one(phi, phi, joint(k, k, 0.999 * k), (t,), (t,)))
    f(jnp.asarray(0.3))
    assert missed(phi) == 0
    f(jnp.asarray(60.0))
    assert missed(phi) > 1e-3
