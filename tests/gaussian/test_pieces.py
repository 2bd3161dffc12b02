"""Closed forms by pieces: thresholds, means, products and mixed families against graded integration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gaussian import graded
from widelimit.gaussian import _pieces
from widelimit.gaussian._bivariate import surplus
from widelimit.gaussian._closed import Law, pair
from widelimit.gaussian._forms import (
    Bump,
    Erf,
    ErfLine,
    ErfLineSlope,
    Exponential,
    Form,
    Product,
    Ramp,
    Rectified,
    Sine,
)
from widelimit.gaussian._probe import component_values

FORMS = {
    "relu": Form((), ((1.0, Rectified(1)),)),
    "moved relu": Form((), ((1.0, Ramp(1, 0.3)),)),
    "moved step": Form((0.2,), ((1.0, Ramp(0, -0.7)),)),
    "moved cube": Form((), ((1.0, Ramp(3, 0.3)),)),
    "erf": Form((), ((1.0, Erf(1.3, -0.4)),)),
    "gelu": Form((0.0, 0.5), ((0.5, ErfLine(0.5**0.5)),)),
    "moved gelu": Form((0.0, 0.5), ((0.5, Product(1, Erf(0.9, 0.3))),)),
    "gelu slope": Form((0.5,), ((0.5, ErfLineSlope(0.5**0.5)),)),
    "square of erf": Form((0.0, 1.0), ((1.0, Product(2, Erf(-0.8, 0.2))),)),
    "bump": Form((0.0, 1.0), ((1.0, Product(1, Bump(0.5, 0.2))),)),
    "exponential": Form((0.0, 1.0), ((0.5, Product(1, Exponential(0.3))),)),
    "sine": Form((0.0, 1.0), ((0.5, Product(2, Sine(1.3, 0.4))), (1.0, Sine(0.3, 0.2)))),
    "polynomial": Form((1.0, 0.0, 2.0, 0.5)),
    "degree 7": Form((0.0,) * 7 + (1.0,)),
}
SLOPES = {
    "moved relu": lambda u: 1.0 * (u > 0.3),
    "moved cube": lambda u: 3 * np.maximum(u - 0.3, 0) ** 2,
    "erf": lambda u: 1.3 * 2 / np.sqrt(np.pi) * np.exp(-((1.3 * u - 0.4) ** 2)),
    "gelu": lambda u: value("gelu slope")(u),
    "bump": lambda u: 1 + (1 - u * (u - 0.2)) * np.exp(-0.5 * (u - 0.2) ** 2),
}
PLACES = (0.0, 0.3, -0.7, 0.4 / 1.3, 0.25)
# k11, c, k22, m1, m2: every correlation from -1 to 1, variances from 1e-4 to 1e4, means inside, at and far off the kinks.
LAWS = {
    "ordinary": (1.0, 0.3, 2.0, 0.7, -0.4),
    "centred": (1.0, -0.9, 1.0, 0.0, 0.0),
    "equal": (1.0, 1.0, 1.0, 0.5, 0.5),
    "opposite": (1.0, -1.0, 1.0, 0.5, 0.5),
    "independent": (1.0, 0.0, 1.0, 2.0, -4.0),
    "tail": (1.0, 0.9999, 1.0, -4.0, -4.0),
    "small": (1e-4, 5e-5, 1e-4, 0.31, 0.3),
    "large": (1e4, -7e3, 1e4, 5.0, -3.0),
    "large and equal": (1e4, 1e4, 1e4, 0.0, 0.0),
}
UNBOUNDED = {"exponential", "sine"}
QUICK = [
    ("moved relu", "moved relu"),
    ("moved step", "moved step"),
    ("erf", "erf"),
    ("moved gelu", "moved gelu"),
    ("relu", "gelu"),
    ("exponential", "moved relu"),
    ("bump", "sine"),
]
SLOW = [
    *((name, name) for name in FORMS if (name, name) not in QUICK),
    ("relu", "moved relu"),
    ("moved relu", "erf"),
    ("erf", "moved step"),
    ("erf", "square of erf"),
    ("gelu slope", "bump"),
    ("moved relu", "bump"),
    ("erf", "exponential"),
    ("bump", "exponential"),
    ("exponential", "sine"),
    ("degree 7", "moved relu"),
    ("polynomial", "sine"),
]


def value(name):
    form = FORMS[name]

    def f(u):
        powers = [w * u**k for k, w in enumerate(form.polynomial)]
        return sum(powers + [w * component_values(atom, u) for w, atom in form.terms], 0 * u)

    return f


def size(f, k, m):
    return np.sqrt(graded.one(lambda u: f(u) ** 2, k, m, PLACES))


def by_pieces(f, g):
    return jax.jit(jax.vmap(lambda law: jnp.asarray(_pieces.pair(FORMS[f], FORMS[g], tuple(law)))))


def agree(found, f, g, laws):
    """To 1e-12 of √(E[f²]E[g²]); in a tail, four deviations off, differences of large numbers cost a cube more."""
    for number, law in zip(found, laws, strict=True):
        scale = size(f, law[0], law[3]) * size(g, law[2], law[4])
        tolerance = 1e-9 if law == LAWS["tail"] else 1e-12
        assert abs(number - graded.two(f, g, law, PLACES)) <= tolerance * scale


def check(f, g, names):
    laws = [LAWS[name] for name in names if not ({f, g} & UNBOUNDED and "large" in name)]
    found = by_pieces(f, g)(jnp.asarray(laws))
    agree(found, value(f), value(g), laws)


@pytest.mark.parametrize(("f", "g"), QUICK)
def test_closed_form_is_the_integral(f, g):
    check(f, g, ("ordinary", "equal", "opposite", "large and equal"))


@pytest.mark.slow
@pytest.mark.parametrize(("f", "g"), QUICK + SLOW)
def test_closed_form_is_the_integral_for_every_law(f, g):
    check(f, g, LAWS)


def derivative(f, g):
    def along(law):
        return jax.jvp(
            lambda c: _pieces.pair(FORMS[f], FORMS[g], (law[0], c, *law[2:])), (law[1],), (jnp.ones_like(law[1]),)
        )[1]

    return along


def check_slope(f, g, names):
    laws = [LAWS[name] for name in names]
    agree(jax.jit(jax.vmap(derivative(f, g)))(jnp.asarray(laws)), SLOPES[f], SLOPES[g], laws)


def test_price():
    check_slope("moved relu", "moved relu", ("ordinary", "equal", "opposite", "large and equal"))


@pytest.mark.slow
@pytest.mark.parametrize(("f", "g"), [*((f, f) for f in SLOPES), ("moved relu", "gelu"), ("erf", "bump")])
def test_price_for_every_law(f, g):
    check_slope(f, g, LAWS)


@pytest.mark.parametrize(
    ("f", "g"),
    [
        ("moved relu", "moved relu"),
        pytest.param("moved step", "erf", marks=pytest.mark.slow),
        pytest.param("gelu", "bump", marks=pytest.mark.slow),
    ],
)
def test_gradients_are_finite_differences(f, g):
    law = jnp.array([1.2, 0.5, 0.8, 0.3, -0.2])
    steps = 1e-5 * jnp.eye(5)
    for fn in (lambda x: _pieces.pair(FORMS[f], FORMS[g], tuple(x)), derivative(f, g)):
        both = jax.jit(jax.vmap(fn))(jnp.concatenate([law + steps, law - steps])).reshape(2, 5)
        np.testing.assert_allclose(jax.jit(jax.grad(fn))(law), (both[0] - both[1]) / 2e-5, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_everything_is_finite_where_laws_degenerate(dtype):
    laws = [(1, 1, 1, 0.3, 0.3), (1, -1, 1, 0.3, 0.3), (0, 0, 1, 0.3, 0.1), (0, 0, 0, 0.3, 0.3), (0, 0, 0, 0, 0)]
    for f in ("moved relu", "moved step", "moved gelu"):

        def values(law, f=f):
            slope = derivative(f, f)
            return _pieces.pair(FORMS[f], FORMS[f], tuple(law)), slope(law), jax.grad(slope)(law)

        for found in jax.jit(jax.vmap(values))(jnp.asarray(laws, dtype)):
            assert found.dtype == dtype
            assert jnp.all(jnp.isfinite(found))


@pytest.mark.slow
def test_single_precision():
    laws = jnp.asarray([LAWS[name] for name in ("ordinary", "centred", "equal", "opposite", "large")])
    for f in ("moved relu", "erf", "gelu"):
        double, single = by_pieces(f, f)(laws), by_pieces(f, f)(laws.astype(jnp.float32))
        diagonal = [by_pieces(f, f)(laws[:, jnp.array(side)]) for side in ((0, 0, 0, 3, 3), (2, 2, 2, 4, 4))]
        assert np.all(np.abs(single - double) < 2e-6 * np.sqrt(diagonal[0] * diagonal[1]))


def test_a_mean_is_a_threshold():
    law = tuple(map(jnp.asarray, (1.3, 0.4, 0.9, 0.2, 0.2)))
    moved = tuple(Form((), ((1.0, atom),)) for atom in (Rectified(1), Ramp(1, -0.2)))
    np.testing.assert_allclose(pair(moved[0], moved[0], Law(*law)), pair(moved[1], moved[1], Law(*law[:3])), rtol=1e-14)


def test_surplus_of_the_quadrant():
    """P(u > 0, v > 0) = 1/4 + asin(ρ)/2π, and Slepian's identity of opposite correlations."""
    rho = np.concatenate([np.linspace(-1, 1, 41), [0.9 - 1e-9, 0.9 + 1e-9]])
    wide = np.sqrt((1 - rho) * (1 + rho))
    tangents = [np.abs(rho) / (1 + wide), wide / (1 + np.abs(rho)), np.where(rho < 0, -1.0, 1.0)]
    tangents = [jnp.asarray(x) for x in tangents]
    zero = jnp.zeros_like(tangents[0])
    np.testing.assert_allclose(surplus(zero, zero, *tangents), np.arcsin(rho) / (2 * np.pi), atol=1e-16)
    mirrored = surplus(zero + 0.7, zero + 0.4, tangents[0], tangents[1], -tangents[2])
    np.testing.assert_allclose(surplus(zero + 0.7, zero - 0.4, *tangents), -mirrored, atol=1e-16)
