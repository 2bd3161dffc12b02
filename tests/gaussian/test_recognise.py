"""Recognition of functions from their values, however they were spelled."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.gaussian import Pointwise, derivative, describe, homogeneity
from widelimit.gaussian._family import form
from widelimit.gaussian._forms import (
    Bump,
    Erf,
    ErfLine,
    ErfLineSlope,
    Exponential,
    Product,
    Rectified,
    Sine,
)
from widelimit.gaussian._recognise import recognise


@jax.custom_jvp
def ramp(x):
    return jnp.maximum(x, 0)


ramp.defjvp(lambda x, dx: (ramp(*x), dx[0] * (x[0] > 0)))


def slow_but(names, kept):
    """All names, those that are not kept marked as slow."""
    return [name if name in kept else pytest.param(name, marks=pytest.mark.slow) for name in names]


RELUS = {
    "jax.nn.relu": jax.nn.relu,
    "maximum": lambda x: jnp.maximum(x, 0),
    "clip": lambda x: jnp.clip(x, 0),
    "where": lambda x: jnp.where(x > 0, x, 0),
    "times a step": lambda x: x * (x > 0),
    "half of a sum": lambda x: (x + jnp.abs(x)) / 2,
    "custom_jvp": ramp,
    "jit": jax.jit(jax.nn.relu),
    "cast comparison": lambda x: x * jnp.greater(x, 0).astype(x.dtype),
    "times its sign": lambda x: x * (1 + jnp.sign(x)) / 2,
    "root of a square": lambda x: (x + jnp.sqrt(x**2)) / 2,
    "heaviside": lambda x: x * jnp.heaviside(x, 0.0),
    "leaky of slope 0": lambda x: jax.nn.leaky_relu(x, 0.0),
}


def atoms(phi):
    found = recognise(Pointwise(phi, 1))
    return None if found is None else found.terms


@pytest.mark.parametrize("spelling", RELUS)
def test_relu_in_each_spelling(spelling):
    found = recognise(Pointwise(RELUS[spelling], 1))
    (weight, atom), *rest = found.terms
    assert (weight, atom.order, found.polynomial, rest) == (1.0, 1, (), [])


def test_the_slope_at_zero_is_the_code_s_own():
    assert atoms(jax.nn.relu) == ((1.0, Rectified(1, 0.0)),)
    assert atoms(lambda x: jnp.maximum(x, 0)) == ((1.0, Rectified(1, 0.5)),)


POLYNOMIALS = {
    "identity": (lambda x: x, (0.0, 1.0)),
    "constant": (lambda x: 3.0 + 0 * x, (3.0,)),
    "zero": (jnp.zeros_like, (0.0,)),
    "Hermite": (lambda x: x**3 - 3 * x, (0.0, -3.0, 0.0, 1.0)),
    "degree 9": (lambda x: x**9 - x**2 / 3, (0, 0, -1 / 3, 0, 0, 0, 0, 0, 0, 1)),
    "horner": (lambda x: 1 + x * (2 + x * (3 + x)), (1.0, 2.0, 3.0, 1.0)),
}


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomials(name):
    phi, coefficients = POLYNOMIALS[name]
    found = recognise(Pointwise(phi, 1))
    assert not found.terms
    np.testing.assert_allclose(found.polynomial, coefficients, rtol=1e-12, atol=1e-12)


KINKED = {
    "leaky": (lambda x: jax.nn.leaky_relu(x, 0.1), (0, 0.1), {1: 0.9}),
    "abs": (jnp.abs, (0, -1), {1: 2}),
    "sign": (jnp.sign, (-1,), {0: 2}),
    "step": (lambda x: 3.0 * (x >= 0), (), {0: 3}),
    "square": (lambda x: jax.nn.relu(x) ** 2, (), {2: 1}),
    "cube": (lambda x: jnp.maximum(x, 0) ** 3, (), {3: 1}),
    "x|x|": (lambda x: x * jnp.abs(x), (0, 0, -1), {2: 2}),
    "affine": (lambda x: 2 * jax.nn.relu(3 * x) + 1 + x, (1, 1), {1: 6}),
    "leaky by where": (lambda x: jnp.where(x > 0, x, 0.1 * x), (0, 0.1), {1: 0.9}),
    "leaky by maximum": (lambda x: jnp.maximum(x, 0.1 * x), (0, 0.1), {1: 0.9}),
    "heaviside": (lambda x: jnp.heaviside(x, 0.5), (), {0: 1}),
    "cast": (lambda x: (x > 0).astype(float), (), {0: 1}),
    "x times relu": (lambda x: x * jax.nn.relu(x), (), {2: 1}),
    "relu less half": (lambda x: jax.nn.relu(x) - 0.5 * x, (0, -0.5), {1: 1}),
}


@pytest.mark.parametrize("name", KINKED)
def test_functions_with_a_kink_at_zero(name):
    phi, polynomial, jumps = KINKED[name]
    found = recognise(Pointwise(phi, 1))
    np.testing.assert_allclose(found.polynomial, polynomial, rtol=1e-13)
    assert {atom.order: pytest.approx(w, rel=1e-13) for w, atom in found.terms} == jumps


HALF = math.sqrt(0.5)
SMOOTH = {
    "erf": (jax.lax.erf, Erf(1.0), 1.0),
    "erf affine": (lambda x: 2 * jax.lax.erf(1.3 * x - 0.4) + x - 1, Erf(1.3, -0.4), 2.0),
    "normal cdf": (jax.scipy.stats.norm.cdf, Erf(HALF), 0.5),
    "erfc": (lambda x: jax.lax.erfc(-x), Erf(1.0), 1.0),
    "gelu": (lambda x: jax.nn.gelu(x, approximate=False), ErfLine(HALF), 0.5),
    "normal cdf by erfc": (lambda x: 0.5 * jax.scipy.special.erfc(-x * HALF), Erf(HALF), 0.5),
    "gelu by erf": (lambda x: 0.5 * x * (1 + jax.lax.erf(x / math.sqrt(2))), ErfLine(HALF), 0.5),
    "gelu by erfc": (lambda x: x * jax.lax.erfc(-x / math.sqrt(2)) / 2, ErfLine(HALF), 0.5),
    "gelu by cdf": (jax.jit(lambda x: x * jax.scipy.stats.norm.cdf(x)), ErfLine(HALF), 0.5),
    "gelu affine": (lambda x: 3 * jax.nn.gelu(2 * x, approximate=False) + 1, ErfLine(2 * HALF), 3.0),
    "gelu slope": (jax.vmap(jax.grad(lambda x: jax.nn.gelu(x, approximate=False))), ErfLineSlope(HALF), 0.5),
    "sin": (jnp.sin, Sine(1.0), 1.0),
    "cos": (jnp.cos, Sine(1.0, math.pi / 2), 1.0),
    "sin affine": (lambda x: jnp.sin(2.5 * x + 0.3) + x / 2, Sine(2.5, 0.3), 1.0),
    "snake": (lambda x: x + jnp.sin(x) ** 2, Sine(2.0, math.pi / 2), -0.5),
    "exp": (jnp.exp, Exponential(1.0), 1.0),
    "exp affine": (lambda x: 2 * jnp.exp(1 - x / 2) + x, Exponential(-0.5), 2 * math.e),
    "bump": (lambda x: jnp.exp(-(x**2)), Bump(1.0), 1.0),
    "bump affine": (lambda x: x - 3 * jnp.exp(-2 * (x - 0.3) ** 2), Bump(2.0, 0.3), -3.0),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions(name):
    phi, atom, weight = SMOOTH[name]
    ((found_weight, found),) = atoms(phi)
    assert type(found) is type(atom)
    np.testing.assert_allclose(list(vars(found).values()), list(vars(atom).values()), rtol=1e-9, atol=1e-9)
    assert abs(found_weight) == pytest.approx(abs(weight), rel=1e-9)


SQRT = math.sqrt
PRODUCTS = {
    "x exp x": (lambda x: x * jnp.exp(x), {Product(1, Exponential(1.0)): 1}),
    "damped square": (lambda x: x * x * jnp.exp(-x / 2) + x, {Product(2, Exponential(-0.5)): 1}),
    "x sin x": (lambda x: x * jnp.sin(x), {Product(1, Sine(1.0)): 1}),
    "x exp -x2": (lambda x: x * jnp.exp(-(x**2)), {Product(1, Bump(1.0)): 1}),
    "Mexican hat": (lambda x: (1 - x * x) * jnp.exp(-(x**2) / 2), {Bump(0.5): 1, Product(2, Bump(0.5)): -1}),
    "x Phi(ax + b)": (
        lambda x: x * jax.scipy.stats.norm.cdf(SQRT(2) * (0.9 * x + 0.3)),
        {Product(1, Erf(0.9, 0.3)): 0.5},
    ),
    "x2 erf x": (lambda x: x * x * jax.lax.erf(0.7 * x), {Product(2, Erf(0.7)): 1}),
    "moved gelu": (
        lambda x: SMOOTH["gelu"][0](2 * x - 1) + x,
        {Erf(2 * HALF, -HALF): -0.5, Product(1, Erf(2 * HALF, -HALF)): 1},
    ),
}


@pytest.mark.parametrize("name", slow_but(PRODUCTS, ("x exp x", "x Phi(ax + b)", "Mexican hat")))
def test_products_with_polynomials(name):
    phi, expected = PRODUCTS[name]
    found = {atom: w for w, atom in atoms(phi)}
    assert len(found) == len(expected)
    for atom, weight in expected.items():
        match = next(a for a in found if str(a) == str(atom))
        assert found[match] == pytest.approx(weight, rel=1e-9)


MOVED = {
    "relu": (lambda x: jax.nn.relu(x - 0.3), (), {(1, 0.3): 1}),
    "barely moved": (lambda x: jax.nn.relu(x - 1e-4), (), {(1, 1e-4): 1}),
    "step": (lambda x: 2.0 * (x > 1.1), (), {(0, 1.1): 2}),
    "square": (lambda x: jax.nn.relu(x + 2) ** 2, (), {(2, -2): 1}),
    "leaky": (lambda x: jax.nn.leaky_relu(x - 0.25, 0.5), (-0.125, 0.5), {(1, 0.25): 0.5}),
    "not a neat place": (lambda x: jax.nn.relu(x - math.pi / 7), (), {(1, math.pi / 7): 1}),
    "mirrored": (lambda x: jax.nn.relu(0.2 - x), (0.2, -1), {(1, 0.2): 1}),
    "of both": (lambda x: x * jax.nn.relu(x - 1), (), {(1, 1): 1, (2, 1): 1}),
}


@pytest.mark.parametrize("name", slow_but(MOVED, ("relu", "step", "not a neat place")))
def test_thresholds(name):
    phi, polynomial, jumps = MOVED[name]
    found = recognise(Pointwise(phi, 1))
    np.testing.assert_allclose(found.polynomial, polynomial, rtol=1e-12)
    assert len(found.terms) == len(jumps)
    for (weight, atom), ((order, place), expected) in zip(found.terms, sorted(jumps.items()), strict=True):
        assert (atom.order, atom.threshold) == (order, pytest.approx(place, rel=1e-12))
        assert weight == pytest.approx(expected, rel=1e-11)


def test_hyperbolic_functions_are_two_exponentials():
    found = sorted((f.rate, w) for w, f in atoms(jnp.sinh))
    np.testing.assert_allclose(found, [(-1, -0.5), (1, 0.5)], rtol=1e-9)


OTHERS = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "gelu by tanh": jax.nn.gelu,
    "elu": jax.nn.elu,
    "relu6": jax.nn.relu6,
    "hard swish": jax.nn.hard_swish,
    "sharp softplus": lambda x: jax.nn.softplus(100 * x) / 100,
    "relu and a little tanh": lambda x: jax.nn.relu(x) + 1e-3 * jnp.tanh(x),
    "relu and very little tanh": lambda x: jax.nn.relu(x) + 1e-8 * jnp.tanh(x),
    "erf and very little tanh": lambda x: jax.lax.erf(x) + 1e-8 * jnp.tanh(x),
    "dead zone": lambda x: jnp.where(jnp.abs(x) > 1e-3, x, 0),
    "clipped far away": lambda x: jnp.clip(x, -50, 50),
    "softsign": jax.nn.soft_sign,
    "relu and a very small sine": lambda x: jax.nn.relu(x) + 1e-9 * jnp.sin(x),
    "relu and a narrow bump far away": lambda x: jax.nn.relu(x) + jnp.exp(-(((x - 37) / 0.01) ** 2)),
    "the same bump multiplied out": lambda x: jax.nn.relu(x) + jnp.exp(-1e4 * (x * x - 74 * x + 37**2)),
    "erf but between 37 and 37.001": lambda x: jnp.where((x > 37) & (x < 37.001), 0, jax.lax.erf(x)),
    "line but within 1e-12": lambda x: jnp.where(jnp.abs(x) < 1e-12, 1, x),
    "two kinks 1e-12 apart": lambda x: jax.nn.relu(x) + jax.nn.relu(x - 1e-12),
    "clipped very far away": lambda x: jnp.clip(x, -1e6, 1e6),
    "soft absolute value": lambda x: jnp.sqrt(x**2 + 1e-6),
}


QUICK = ("tanh", "silu", "relu6", "dead zone", "relu and very little tanh", "line but within 1e-12")
QUICK += ("relu and a narrow bump far away", "clipped very far away")


@pytest.mark.parametrize("name", slow_but(OTHERS, QUICK))
def test_what_only_looks_like_them_is_not_taken_for_them(name):
    assert recognise(Pointwise(OTHERS[name], 1)) is None


SINGLE = {
    "relu": (jax.nn.relu, "relu"),
    "leaky": (lambda x: jax.nn.leaky_relu(x, 0.1), "two-slope"),
    "polynomial": (lambda x: x**3 - 3 * x, "polynomial"),
    "erf": (jax.lax.erf, "erf"),
    "gelu": (lambda x: jax.nn.gelu(x, approximate=False), "gelu"),
    "sharp softplus": (lambda x: jax.nn.softplus(100 * x) / 100, None),
    "relu and a little tanh": (lambda x: jax.nn.relu(x) + 1e-3 * jnp.tanh(x), None),
    "tanh": (jnp.tanh, None),
}


@pytest.mark.parametrize("name", SINGLE)
def test_functions_that_insist_on_single_precision(name):
    phi, expected = SINGLE[name]
    found = recognise(Pointwise(lambda x: phi(x.astype(jnp.float32)), 1))
    assert (found and found.name) == expected


def test_without_64_bits():
    with jax.enable_x64(False):
        assert recognise(Pointwise(lambda x: jax.nn.gelu(x, approximate=False), 1)).name == "gelu"
        assert recognise(Pointwise(OTHERS["relu and very little tanh"], 1)) is None


def test_while_being_traced():
    phi = Pointwise(lambda x: jnp.maximum(x, 0.0), 1)

    @jax.jit
    @jax.vmap
    def traced(x):
        assert recognise(phi).name == "relu"
        return jax.grad(phi.fn)(x)

    traced(jnp.ones(3))


def test_recognition_is_kept():
    calls = []
    phi = Pointwise(lambda x: calls.append(1) or x, 1)
    found, count = recognise(phi), len(calls)
    assert recognise(phi) is found
    assert len(calls) == count


def test_derivatives_of_recognised_functions_are_recognised():
    for phi in (jax.nn.relu, jax.lax.erf, SMOOTH["gelu"][0], jnp.sin, jnp.exp, jnp.square):
        assert recognise(derivative(Pointwise(phi, 1), 0)) is not None


def test_known_parameters_become_weights():
    phi = Pointwise(lambda u, m, s: (jax.nn.relu(u) - m) / s, 1)
    m, s = jnp.array([0.5, 1.0]), jnp.array([2.0, 4.0])
    found = form(phi, (m, s), jnp.float64)
    (offset,), ((weight, atom),) = found.polynomial, found.terms
    np.testing.assert_allclose(offset, -m / s, rtol=1e-14)
    np.testing.assert_allclose(weight, 1 / s, rtol=1e-14)
    assert atom.order == 1


def test_masks_are_parameters():
    phi = Pointwise(lambda u, keep: jnp.where(keep, jax.nn.relu(u), 0), 1)
    found = form(phi, (jnp.array([True, False]),), jnp.float64)
    np.testing.assert_allclose(found.terms[0][0], [1.0, 0.0])


def test_parameters_inside_a_nonlinear_function_are_not_weights():
    assert form(Pointwise(lambda u, a: jax.lax.erf(a * u), 1), (jnp.ones(()),), jnp.float64) is None


def test_descriptions():
    assert describe(Pointwise(jax.nn.relu, 1)).formula == "max(u,0)"
    assert describe(Pointwise(jax.nn.relu, 1)).rule == "closed form"
    other = describe(Pointwise(jnp.tanh, 1, "tanh"), accuracy=1e-5)
    assert (other.name, other.formula) == ("tanh", "")
    assert 0 < other.error <= 1e-5


@pytest.mark.parametrize(
    ("phi", "degree"),
    [
        (jax.nn.relu, 1),
        (lambda x: jax.nn.leaky_relu(x, 0.3), 1),
        (lambda x: jnp.abs(x) * x, 2),
        (lambda x: 2 * x**3 - jax.nn.relu(x) ** 3, 3),
        (lambda x: x + x**2, None),
        (lambda x: jnp.where(x > 0, 1.0, 0.0), None),
        (lambda x: jax.nn.relu(x) + 1, None),
        (lambda x: jax.nn.relu(x - 1), None),
        (jnp.tanh, None),
    ],
)
def test_degree_of_homogeneity(phi, degree):
    assert homogeneity(Pointwise(phi, 1)) == degree
