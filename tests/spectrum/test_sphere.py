"""Spectra on the sphere: Funk–Hecke against mpmath and closed forms, multiplicities, resummation, decay."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import widelimit as wl
from networks import drawn
from widelimit.spectrum import harmonics, sphere


def dense(activation, inputs, layers=1, bias=0.0):
    """NTK parametrisation, weights of variance 2/fan-in, biases of variance bias²."""

    def shapes(width):
        sizes = [inputs] + [width] * layers
        weights = {f"w{i}": (sizes[i], width) for i in range(layers)}
        return weights | {f"b{i}": (width,) for i in range(layers)} | {"v": (width, 1)}

    def apply(params, x):
        for i in range(layers):
            x = activation(jnp.sqrt(2 / x.shape[-1]) * (x @ params[f"w{i}"]) + bias * params[f"b{i}"])
        return x @ params["v"] / jnp.sqrt(x.shape[-1])

    return wl.limit(wl.Network(drawn(shapes), apply), (inputs,))


def arc_cosine(order, t):
    """E[u₊ⁿ v₊ⁿ]·2 for unit normals of correlation t (Cho & Saul 2009)."""
    theta = jnp.arccos(t)
    return 1 - theta / jnp.pi if order == 0 else (jnp.sin(theta) + (jnp.pi - theta) * t) / jnp.pi


def by_mpmath(kappa, dimension, degree):
    """∫ κ(t) P_k(t) (1 - t²)^{(d-3)/2} dt, normalised, by adaptive quadrature in 30 digits."""
    with mpmath.workdps(30):
        alpha = mpmath.mpf(dimension - 2) / 2

        def polynomial(t):
            return mpmath.chebyt(degree, t) if alpha == 0 else mpmath.gegenbauer(degree, alpha, t) / top

        top = mpmath.gegenbauer(degree, alpha, 1) if alpha else 1
        interval = [0, mpmath.pi / 2, mpmath.pi]
        density = lambda a: mpmath.sin(a) ** (dimension - 2)  # noqa: E731
        whole = mpmath.quad(density, interval)
        return mpmath.quad(lambda a: kappa(a) * polynomial(mpmath.cos(a)) * density(a), interval) / whole


@pytest.fixture(scope="module")
def relu_kernel():
    return dense(jax.nn.relu, 3, bias=0.3)


@pytest.fixture(scope="module")
def relu_sphere(relu_kernel):
    return sphere(relu_kernel, 60)


@pytest.mark.parametrize("dimension", [2, 3, 7])
def test_harmonics_make_up_the_homogeneous_polynomials(dimension):
    """Σ_{j ≤ k, j ≡ k mod 2} N(d, j) is the number of monomials of degree k in d variables."""
    for k in range(9):
        assert sum(harmonics(dimension, j) for j in range(k, -1, -2)) == math.comb(k + dimension - 1, k)


@pytest.mark.parametrize("dimension", [2, 3, 6])
@pytest.mark.parametrize("degree", [0, 1, 2, 4, 9])
def test_eigenvalues_agree_with_mpmath(dimension, degree):
    def reference(a):
        return (mpmath.sin(a) + (mpmath.pi - a) * mpmath.cos(a)) / mpmath.pi + mpmath.exp(mpmath.cos(a))

    found = sphere(lambda t: arc_cosine(1, t) + jnp.exp(t), 9, dimension=dimension)
    expected = float(by_mpmath(reference, dimension, degree))
    assert abs(found.eigenvalues[degree] - expected) < max(2 * found.uncertainty[degree], 1e-15)


def test_step_on_the_sphere_in_three_dimensions():
    """1[w·x > 0] has the Legendre coefficients s_k = ½ ∫₀¹ P_k, and 1 - θ/π those of twice its square: λ_k = 2 s_k²."""
    found = sphere(lambda t: arc_cosine(0, t), 200, dimension=3)
    odd = np.arange(1, 200, 2)
    middle = [math.comb(k - 1, (k - 1) // 2) / 2 ** (k - 1) for k in range(1, 200, 2)]  # |P_{k-1}(0)|
    assert found.eigenvalues[odd] == pytest.approx(2 * (np.array(middle) / (2 * (odd + 1))) ** 2, abs=1e-15)
    assert found.eigenvalues[0] == pytest.approx(0.5, abs=1e-14)
    assert np.abs(found.eigenvalues[2::2]).max() < 1e-15


def test_multiplicities_sum_to_the_diagonal():
    found = sphere(lambda t: jnp.exp(3 * (t - 1)), 40, dimension=5)
    assert np.sum(found.eigenvalues * found.multiplicities) == pytest.approx(1.0, abs=1e-13)
    assert found.share.sum() == pytest.approx(1.0, abs=1e-13)


def test_resummation_reproduces_the_kernel(relu_kernel, relu_sphere):
    a = np.linspace(0.3, 3.0, 7)
    pairs = jnp.asarray(np.stack([np.cos(a), np.sin(a), 0 * a], 1))
    direct = relu_kernel.ntk(jnp.array([[1.0, 0.0, 0.0]]), pairs)[0]
    assert np.abs(relu_sphere(np.cos(a)) - direct).max() < relu_sphere.tail
    assert 0 < relu_sphere.tail < 0.02 * relu_sphere.diagonal


@pytest.mark.parametrize(("kind", "exponent"), [("ntk", 3), ("nngp", 5)])
def test_relu_decays_as_theory_has_it(relu_kernel, kind, exponent):
    found = sphere(relu_kernel, 80, kind=kind)
    for parity in ("even", "odd"):
        assert found.decay(20, parity=parity).exponent == pytest.approx(exponent, abs=0.02)


def test_odd_degrees_vanish_without_bias():
    found = sphere(lambda t: t * arc_cosine(0, t) + arc_cosine(1, t), 21, dimension=4)
    assert not found.resolved[3::2].any()
    assert found.resolved[::2].all()
    with pytest.raises(ValueError, match="resolved in float64"):
        found.decay(5, parity="odd")


def test_large_eigenvalues_of_random_data():
    """Eigenvalues of K/N tend to λ_k, N(d, k) of each."""
    x = np.random.default_rng(0).standard_normal((400, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    found = sphere(lambda t: jnp.exp(t), 3, dimension=3).eigenvalues
    top = np.linalg.eigvalsh(np.exp(x @ x.T) / 400)[::-1]
    assert top[0] == pytest.approx(found[0], rel=0.1)
    assert top[1:4].mean() == pytest.approx(found[1], rel=0.1)
    assert top[4:9].mean() == pytest.approx(found[2], rel=0.12)


def test_kernel_that_prefers_directions_is_refused():
    def apply(params, x):
        return jax.nn.relu((x * jnp.array([1.0, 2.0, 3.0])) @ params["w0"]) @ params["v"] / params["v"].shape[0] ** 0.5

    net = wl.Network(drawn(lambda width: {"w0": (3, width), "v": (width, 1)}), apply)
    with pytest.raises(ValueError, match=r"not a function of x·x'"):
        sphere(wl.limit(net, (3,)), 4)


def test_function_needs_a_dimension():
    with pytest.raises(ValueError, match="dimension="):
        sphere(jnp.exp, 4)
