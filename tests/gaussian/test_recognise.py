"""Recognition of functions from their values, however they were spelled."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.gaussian import Pointwise, derivative, describe
from widelimit.gaussian._family import form
from widelimit.gaussian._forms import (
    Bump,
    Erf,
    ErfLine,
    ErfLineSlope,
    Exponential,
    Rectified,
    Sine,
)
from widelimit.gaussian._recognise import recognise


@jax.custom_jvp
def ramp(x):
    return jnp.maximum(x, 0)


ramp.defjvp(lambda x, dx: (ramp(*x), dx[0] * (x[0] > 0)))

RELUS = {
    "jax.nn.relu": jax.nn.relu,
    "maximum": lambda x: jnp.maximum(x, 0),
    "clip": lambda x: jnp.clip(x, 0),
    "where": lambda x: jnp.where(x > 0, x, 0),
    "times a step": lambda x: x * (x > 0),
    "half of a sum": lambda x: (x + jnp.abs(x)) / 2,
    "custom_jvp": ramp,
    "jit": jax.jit(jax.nn.relu),
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
    "relu off zero": lambda x: jax.nn.relu(x - 1e-4),
    "dead zone": lambda x: jnp.where(jnp.abs(x) > 1e-3, x, 0),
    "clipped far away": lambda x: jnp.clip(x, -50, 50),
    "soft absolute value": lambda x: jnp.sqrt(x**2 + 1e-6),
}


@pytest.mark.parametrize("name", OTHERS)
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
    assert recognise(phi) is recognise(phi)
    assert len(calls) == 1


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
