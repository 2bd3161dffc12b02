"""Closed forms against brute-force integration, and at the places where formulas break down."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gaussian import brute
from marks import but_slow
from widelimit.gaussian import Joint, Pointwise, derivative, expect, is_nonnegative, squared_difference
from widelimit.gaussian._closed import Law, closes, pair
from widelimit.gaussian._recognise import recognise
from widelimit.gaussian._rectified import rectified


def exact_gelu(x):
    return jax.nn.gelu(x, approximate=False)


FUNCTIONS = {
    "relu": jax.nn.relu,
    "leaky": lambda x: jax.nn.leaky_relu(x, 0.1),
    "abs": jnp.abs,
    "affine relu": lambda x: 2 * jax.nn.relu(3 * x) + 1 + x,
    "sign": jnp.sign,
    "step": lambda x: jnp.where(x > 0, 1.0, 0.0),
    "rectified square": lambda x: jax.nn.relu(x) ** 2,
    "rectified cube": lambda x: jax.nn.relu(x) ** 3,
    "identity": lambda x: x,
    "polynomial": lambda x: x**4 - 2 * x + 1,
    "erf": jax.lax.erf,
    "normal cdf": jax.scipy.stats.norm.cdf,
    "gelu": exact_gelu,
    "wide gelu": lambda x: exact_gelu(2 * x) + 1,
    "gelu slope": lambda x: jax.jvp(exact_gelu, (x,), (jnp.ones_like(x),))[1],
    "sine": lambda x: jnp.sin(2.5 * x + 0.3) + 0.5 * x,
    "exponential": lambda x: 2 * jnp.exp(1 - x / 2) + x,
    "sinh": jnp.sinh,
    "bump": lambda x: 1 - jnp.exp(-2 * (x - 0.3) ** 2) + x,
}
POINTWISE = {name: Pointwise(fn, 1, name) for name, fn in FUNCTIONS.items()}
NUMPY = {name: (lambda x, phi=phi: np.asarray(phi.fn(jnp.asarray(x)))) for name, phi in POINTWISE.items()}
SAME = [(name, name) for name in FUNCTIONS]
MIXED = [
    ("relu", "abs"),
    ("relu", "step"),
    ("sign", "rectified cube"),
    ("rectified square", "polynomial"),
    ("relu", "polynomial"),
    ("identity", "gelu"),
    ("polynomial", "gelu"),
    ("polynomial", "bump"),
    ("erf", "normal cdf"),
    ("gelu", "wide gelu"),
    ("exponential", "sinh"),
    ("polynomial", "erf"),
]
LAWS = [(1.0, 0.3, 2.0), (1.0, -0.9, 1.0), (0.01, 0.005, 0.02), (1.3, 1.3, 1.3), (4.0, -2.0, 1.0), (0.5, 0.0, 1.0)]


def closed(f, g, k11, c, k22, m1=None, m2=None):
    arrays = (None if x is None else jnp.asarray(x) for x in (k11, c, k22, m1, m2))
    return pair(recognise(POINTWISE[f]), recognise(POINTWISE[g]), Law(*arrays))


def size(name, k):
    return np.sqrt(brute.two(NUMPY[name], NUMPY[name], k, k, k))


@pytest.mark.parametrize(("f", "g"), SAME + MIXED)
def test_closed_form_is_the_integral(f, g):
    for k11, c, k22 in LAWS:
        error = closed(f, g, k11, c, k22) - brute.two(NUMPY[f], NUMPY[g], k11, c, k22)
        assert abs(error) < 1e-12 * size(f, k11) * size(g, k22)


@pytest.mark.parametrize("f", ["identity", "polynomial", "sine", "exponential", "sinh", "bump"])
def test_closed_form_with_means(f):
    for g in (f, "polynomial", "identity"):
        found = closed(f, g, 1.0, 0.3, 2.0, 0.7, -0.4)
        np.testing.assert_allclose(found, brute.two(NUMPY[f], NUMPY[g], 1.0, 0.3, 2.0, 0.7, -0.4), rtol=1e-12)


@pytest.mark.parametrize(("f", "g"), [("relu", "sine"), ("gelu", "sine"), ("sine", "erf")])
def test_pairs_without_a_closed_form_say_so(f, g):
    assert not closes(recognise(POINTWISE[f]), recognise(POINTWISE[g]))
    assert closed(f, g, 1.0, 0.3, 2.0) is None


@pytest.mark.parametrize(("f", "g"), MIXED)
def test_symmetry(f, g):
    np.testing.assert_allclose(closed(f, g, 1.0, 0.4, 2.0), closed(g, f, 2.0, 0.4, 1.0), rtol=1e-14)


@pytest.mark.parametrize(("n", "m"), [(0, 0), (1, 1), (2, 2), (3, 3), (1, 0), (2, 1), (3, 0)])
def test_rectified_monomials_are_homogeneous(n, m):
    law, scales = (1.3, 0.4, 0.9), (3.0, 0.2)
    a, b = scales
    scaled = (a * a * law[0], a * b * law[1], b * b * law[2])
    one, other = (rectified((n, m), (0.5, 0.5), *map(jnp.asarray, x)) for x in (law, scaled))
    np.testing.assert_allclose(other, a**n * b**m * one, rtol=1e-13)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_both_halves_make_the_whole_line(n):
    k11, c, k22 = (jnp.asarray(x) for x in (1.3, 0.4, 0.9))
    same, opposite = (rectified((n, n), (0.5, 0.5), k11, s * c, k22) for s in (1, -1))
    whole = {0: 1.0, 1: c, 2: k11 * k22 + 2 * c * c, 3: 9 * k11 * k22 * c + 6 * c**3}[n]
    np.testing.assert_allclose(2 * (same + (-1) ** n * opposite), whole, rtol=1e-13)


SMOOTHED = ["relu", "leaky", "erf", "gelu", "sine", "exponential", "polynomial", "rectified cube"]


@pytest.mark.parametrize("f", SMOOTHED)
def test_price(f):
    k11, c, k22 = (jnp.array(x) for x in ([1.0, 0.8], [0.3, -0.7], [1.5, 1.0]))
    form, slope = recognise(POINTWISE[f]), recognise(derivative(POINTWISE[f], 0))
    _, found = jax.jvp(lambda c: pair(form, form, Law(k11, c, k22)), (c,), (jnp.ones_like(c),))
    np.testing.assert_allclose(found, pair(slope, slope, Law(k11, c, k22)), rtol=1e-11)


@pytest.mark.parametrize("f", [*SMOOTHED, "step", "bump"])
def test_gradients_are_finite_differences(f):
    form = recognise(POINTWISE[f])
    law = jnp.array([1.2, 0.5, 0.8])

    def value(law):
        return pair(form, form, Law(*law))

    def slope(law):
        return jax.jvp(lambda c: value(law.at[1].set(c)), (law[1],), (jnp.ones(()),))[1]

    for fn in (jax.jit(value), jax.jit(slope)):
        step = 1e-5 * jnp.eye(3)
        expected = [(fn(law + s) - fn(law - s)) / 2e-5 for s in step]
        np.testing.assert_allclose(jax.jit(jax.grad(fn))(law), expected, rtol=1e-6, atol=1e-8)


SPECIAL = {
    "equal": (1.0, 1.0, 1.0),
    "opposite": (1.0, -1.0, 1.0),
    "nothing and one": (0.0, 0.0, 1.0),
    "nothing": (0.0, 0.0, 0.0),
}


@pytest.mark.parametrize("f", FUNCTIONS)
def test_everything_is_finite_where_formulas_break_down_in_single_precision(f):
    check_finite(f, jnp.float32)


@pytest.mark.parametrize("f", but_slow(FUNCTIONS, "relu", "gelu", "polynomial"))
def test_everything_is_finite_where_formulas_break_down(f):
    check_finite(f, jnp.float64)


def check_finite(f, dtype):
    form = recognise(POINTWISE[f])
    laws = jnp.array(list(SPECIAL.values()), dtype)

    def value(law):
        return pair(form, form, Law(*law))

    def slope(law):
        return jax.jvp(lambda c: value(law.at[1].set(c)), (law[1],), (jnp.ones_like(law[1]),))[1]

    both = jax.jit(jax.vmap(lambda law: (value(law), slope(law), jax.grad(value)(law), jax.grad(slope)(law))))
    for found in both(laws):
        assert found.dtype == dtype
        assert jnp.all(jnp.isfinite(found))


def test_a_step_of_nothing_is_what_the_code_says():
    for fn, at_zero in ((jax.nn.relu, 0.0), (lambda x: jnp.maximum(x, 0), 0.5)):
        slope = recognise(derivative(Pointwise(fn, 1), 0))
        zero, one = jnp.zeros(()), jnp.ones(())
        assert pair(slope, slope, Law(zero, zero, one)) == pytest.approx(at_zero / 2)
        assert pair(slope, slope, Law(zero, zero, zero)) == pytest.approx(at_zero**2)


@pytest.mark.parametrize("f", ["relu", "gelu", "erf", "sine", "leaky", "rectified square"])
def test_gram_matrices_are_positive(f):
    x = np.random.default_rng(0).normal(size=(60, 3))
    x[30:] = x[:30] * 0.7
    covariance = jnp.asarray(x @ x.T)
    k = jnp.diag(covariance)
    gram = pair(recognise(POINTWISE[f]), recognise(POINTWISE[f]), Law(k[:, None], covariance, k[None]))
    eigenvalues = np.linalg.eigvalsh(gram)
    assert eigenvalues[0] > -1e-12 * eigenvalues[-1]


def test_deep_network_of_vanishing_variance_in_single_precision():
    k11, c, k22 = (jnp.asarray(x, jnp.float32) for x in (1.0, 0.5, 1.0))
    wide = [jnp.asarray(x, jnp.float64) for x in (1.0, 0.5, 1.0)]
    for _ in range(100):
        k11, c, k22 = (rectified((1, 1), (0.5, 0.5), *law) for law in ((k11, k11, k11), (k11, c, k22), (k22, k22, k22)))
        wide = [rectified((1, 1), (0.5, 0.5), *law) for law in ((wide[0],) * 3, wide, (wide[2],) * 3)]
    np.testing.assert_allclose(c, wide[1], rtol=1e-4)


def test_still_variances_cost_no_derivatives():
    def size(moving):
        law = [jnp.asarray(x) for x in (1.0, 0.5, 1.0)]

        def value(t):
            return rectified((1, 1), (0.5, 0.5), *(x + t if i in moving else x for i, x in enumerate(law)))

        return len(str(jax.make_jaxpr(lambda t: jax.jvp(value, (t,), (t,)))(jnp.zeros(()))))

    assert size((1,)) < 0.7 * size((0, 1, 2))


# --- nearly equal arguments -----------------------------------------------------------------------------------------------

KINKED = ["relu", "leaky", "abs", "affine relu", "sign", "step"]


def joint_with_gap(k11, c, k22, gap, *, positive=False, dtype=jnp.float64):
    k11, c, k22, gap = (jnp.asarray(x, dtype) for x in (k11, c, k22, gap))
    return Joint(((k11,),), ((k22,),), ((c,),), (None,), (None,), gap=gap, positive=positive)


@pytest.mark.parametrize("f", KINKED)
def test_the_squared_difference_is_that_of_the_moments(f):
    phi = POINTWISE[f]
    for k11, c, k22 in LAWS:
        own = [closed(f, f, k, k, k) for k in (k11, k22)]
        expected = sum(own) - 2 * closed(f, f, k11, c, k22)
        for positive in {False, c >= 0}:
            found = squared_difference(phi, phi, joint_with_gap(k11, c, k22, k11 + k22 - 2 * c, positive=positive))
            assert abs(found - expected) < 1e-13 * sum(own)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("f", KINKED)
def test_a_gap_keeps_the_digits_of_nearly_equal_arguments(f, positive):
    """In single precision, where k11 + k22 − 2c has none left: θ to rounding, and of rays the difference to that times θ."""
    phi, slope, k11 = POINTWISE[f], derivative(POINTWISE[f], 0), 1.3
    for distance in (1e-2, 1e-5):
        k22, gap = k11 * (1 + distance / 3), distance**2
        laws = [
            joint_with_gap(k11, (k11 + k22 - gap) / 2, k22, gap, positive=positive, dtype=dtype)
            for dtype in (jnp.float32, jnp.float64)
        ]
        for g in (phi, slope):
            single, double = (expect(g, g, law) for law in laws)
            assert abs(single - double) < 3e-7 * max(1, abs(double))
        single, double = (squared_difference(phi, phi, law) for law in laws)
        assert single.dtype == jnp.float32
        assert abs(single - double) < (3e-7 if f in ("sign", "step") else 1e-6 * distance)


def test_equal_arguments_stay_equal():
    for f in KINKED:
        law = joint_with_gap(1.1, 1.1 * (1 - 1e-7), 1.1, 0.0, dtype=jnp.float32)
        assert squared_difference(POINTWISE[f], POINTWISE[f], law) == 0


def test_no_derivative_is_taken_of_a_gap():
    phi, k, c = POINTWISE["relu"], jnp.asarray(1.0), jnp.asarray(0.95)

    def value(c, gap):
        return expect(phi, phi, Joint(((k,),), ((k,),), ((c,),), (None,), (None,), gap=gap))

    gap = 2 * (k - c)
    assert jax.grad(value, 1)(c, gap) == 0
    for with_gap, without in zip(
        (jax.grad(value)(c, gap), jax.grad(jax.grad(value))(c, gap)),
        (jax.grad(value)(c, None), jax.grad(jax.grad(value))(c, None)),
        strict=True,
    ):
        np.testing.assert_allclose(with_gap, without, rtol=1e-12)


@pytest.mark.parametrize("f", [*FUNCTIONS])
def test_what_is_said_of_signs(f):
    if is_nonnegative(POINTWISE[f]):
        assert np.all(NUMPY[f](np.linspace(-5, 5, 101)) >= 0)
    assert is_nonnegative(POINTWISE[f]) == (f in ("relu", "abs", "step"))
