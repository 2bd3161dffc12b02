"""The certificate stays below the smallest eigenvalue, and says where there is none."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import widelimit as wl
from networks import drawn
from widelimit.spectrum import certificate, harmonics


@functools.cache
def shallow(activation, inputs, bias=0.3):
    shapes = lambda width: {"w": (inputs, width), "b": (width,), "v": (width, 1)}  # noqa: E731

    def apply(params, x):
        return activation(x @ params["w"] + bias * params["b"]) @ params["v"] / params["v"].shape[0] ** 0.5

    return wl.limit(wl.Network(drawn(shapes), apply), (inputs,))


def square(u):
    return u**2 + u


def points(count, dimension, seed=0):
    x = np.random.default_rng(seed).standard_normal((count, dimension))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def relu_ntk(t):
    """Of one hidden layer with a bias of variance 0.2, all trained (Cho & Saul 2009; Jacot et al. 2018)."""
    c = (t + 0.2) / 1.2
    theta = jnp.arccos(jnp.clip(c, -1, 1))
    return (1.2 * (jnp.sin(theta) + 2 * (jnp.pi - theta) * c)) / (2 * jnp.pi)


@pytest.mark.parametrize(("count", "dimension"), [(6, 2), (40, 3), (30, 10)])
def test_bound_is_positive_and_holds(count, dimension):
    x = points(count, dimension)
    found, smallest = certificate(relu_ntk, x), np.linalg.eigvalsh(relu_ntk(x @ x.T))[0]
    assert 0.4 * smallest < found.bound <= smallest
    assert found
    assert found.strict


def test_bound_of_a_network():
    kernel, x = shallow(jax.nn.relu, 3), points(20, 3)
    found, smallest = certificate(kernel, x), np.linalg.eigvalsh(kernel.ntk(jnp.asarray(x)))[0]
    assert 0.4 * smallest < found.bound <= smallest


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_analytic_kernels_are_bounded_too(scale):
    """λ_k falls faster than any power, so discs alone do not reach far."""
    x = points(24, 4)
    smallest = np.linalg.eigvalsh(np.exp(scale * (x @ x.T - 1)))[0]
    found = certificate(lambda t: jnp.exp(scale * (t - 1)), x)
    assert 0.02 * smallest < found.bound <= smallest


def test_bound_holds_for_whatever_is_removed():
    from widelimit.spectrum._gegenbauer import polynomials
    from widelimit.spectrum._peel import Peeler

    x, rng = points(12, 3), np.random.default_rng(1)
    i, j = np.triu_indices(12, 1)
    gram = np.exp(2 * (x @ x.T - 1))
    basis = np.stack(list(polynomials(3, 8, (x @ x.T)[i, j])))
    peeler = Peeler(12, 1.0, gram[i, j], basis, np.ones(9))
    smallest = np.linalg.eigvalsh(gram)[0]
    assert all(peeler.bound(rng.exponential(0.1, 9)) <= smallest for _ in range(50))


def test_polynomial_fails_beyond_its_rank():
    """φ of degree 2 gives all polynomials up to degree 2 on the sphere: 1 + 3 + 5 = 9 in R³."""
    kernel = shallow(square, 3)
    enough, more = certificate(kernel, points(9, 3)), certificate(kernel, points(10, 3))
    assert (enough.polynomial, enough.rank) == (2, sum(harmonics(3, k) for k in range(3))) == (2, 9)
    assert enough.bound > 0
    assert more.bound == 0
    assert "rank 9" in more.reason
    assert not more.strict
    assert np.linalg.eigvalsh(kernel.ntk(jnp.asarray(points(10, 3))))[0] < 1e-13


def test_duplicates_have_bound_zero():
    x = points(8, 3)
    found = certificate(relu_ntk, np.concatenate([x, x[2:3]]))
    assert found.bound == 0
    assert "examples 2 and 8 coincide" in found.reason
    assert not found


def test_antipodal_points_need_both_parities():
    x = points(6, 3)
    both = np.concatenate([x, -x])
    without = certificate(lambda t: relu_ntk(1.2 * t - 0.2), both)
    assert without.bound == 0
    assert not without.strict
    assert "6 antipodal pairs" in without.reason
    assert certificate(relu_ntk, both).bound > 0


def test_radius_is_the_inputs():
    """A bias makes the kernel of the radius that the inputs have."""
    kernel, x = shallow(jax.nn.relu, 3), points(10, 3)
    for radius in (1.0, 2.5):
        found = certificate(kernel, radius * x)
        smallest = np.linalg.eigvalsh(kernel.ntk(jnp.asarray(radius * x)))[0]
        assert 0.4 * smallest < found.bound <= smallest


def test_inputs_off_the_sphere_are_refused():
    x = points(5, 3) * np.linspace(1, 2, 5)[:, None]
    with pytest.raises(ValueError, match="divide each by its norm"):
        certificate(relu_ntk, x)


def test_report_names_the_coefficients():
    text = str(certificate(relu_ntk, points(6, 3)))
    assert "smallest eigenvalue >= 0." in text
    assert "λ_0 = " in text
    assert math.isfinite(float(text.split(">= ")[1].split(":")[0]))
