"""Known arrays along the width: every particle is one of their coordinates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import widelimit as wl
from networks import drawn
from widelimit import particles
from widelimit import program as tp
from widelimit.particles import _coordinates

X = np.random.default_rng(0).normal(size=(2, 4, 3)) / 2
NODES, WEIGHTS = np.polynomial.legendre.leggauss(60)
ANGLES = np.multiply.outer(np.arange(4), 100.0 ** (-(NODES + 1) / 2))  # of the limit, at the nodes


def in_halves(angles):
    return np.concatenate([np.sin(angles), np.cos(angles)], -1)


def in_turn(angles):
    return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(len(angles), -1)


def coded(code, act):
    def apply(p, x):
        n = p["u"].shape[0]
        angles = np.outer(np.arange(len(x)), 100.0 ** (-np.arange(n // 2) / (n // 2)))
        h = act(x @ p["w"] + code(angles))
        return h @ p["u"] / n**0.5 @ p["v"] / n**0.5

    return wl.Network(drawn(lambda n: {"w": (3, n), "u": (n, n), "v": (n, 1)}), apply)


def expected():
    """E sin(Z + g) sin(Z' + g') = ½ E_i [e^{-V(Z−Z')/2} cos(g − g') − e^{-V(Z+Z')/2} cos(g + g')], and its κ E cos cos."""
    x = X.reshape(8, 3)
    k = x @ x.T
    sizes = np.add.outer(np.diag(k), np.diag(k))
    lows, highs = np.exp(k - sizes / 2), np.exp(-k - sizes / 2)
    code = np.tile(np.concatenate([np.sin(ANGLES), np.cos(ANGLES)], 1), (2, 1))
    apart, joint = (np.cos(op.outer(code, code)) for op in (np.subtract, np.add))
    weights = np.tile(WEIGHTS, 2) / 4
    apart, joint = (np.einsum("iajb,ab->ij", a, np.diag(weights)) for a in (apart, joint))
    sines, cosines = (lows * apart - highs * joint) / 2, (lows * apart + highs * joint) / 2
    return [a.reshape(2, 4, 2, 4).transpose(0, 2, 1, 3) for a in (sines, 2 * sines + k * cosines)]


@pytest.mark.parametrize("code", [in_halves, pytest.param(in_turn, marks=pytest.mark.slow)])
def test_a_nonlinearity_of_a_positional_code(code):
    """Which the recursion refuses: an expectation at each coordinate, and the mean over them."""
    kernel = wl.limit(coded(code, jnp.sin), X[0], engine="particles", particles=2**20)
    for exact, found, error in zip(expected(), kernel(X), kernel.errors(X), strict=True):
        assert np.abs(found - exact).max() < 5e-3 * exact.max()
        assert np.all(np.abs(found - exact) < 5 * error)


@pytest.mark.parametrize("code", [in_halves, in_turn])
def test_a_positional_code_by_two_engines(code):
    net = coded(code, lambda h: h)
    kernel = wl.limit(net, X[0], engine="particles", particles=2**14)
    for exact, found in zip(wl.limit(net, X[0])(X), kernel(X), strict=True):
        assert np.abs(found - exact).max() < 5e-3 * exact.max()


def test_every_stratum_has_a_pair_of_particles():
    u = _coordinates.places(jax.random.key(0), 64)
    np.testing.assert_array_equal(u[:32], u[32:])
    np.testing.assert_array_equal(np.floor(u[:32] * 32), np.arange(32))


def test_a_mean_over_places_is_that_over_coordinates():
    array = np.random.default_rng(0).normal(size=(2, 30))
    profile = tp.Profile((2,), "", (array,) * 3)
    keys = jax.random.split(jax.random.key(0), 4000)
    means = jax.vmap(lambda k: _coordinates.at_places(profile, _coordinates.places(k, 8)).mean(0))(keys)
    error = np.std(means, 0) / np.sqrt(len(keys))
    assert np.all(np.abs(means.mean(0) - array.mean(-1)) < 4 * error)


def test_only_known_arrays_ask_for_larger_widths():
    given = tp.Given((), "", tp.constant(np.zeros(())))
    profile = tp.Profile((), "", tuple(np.arange(float(n)) for n in (8, 16, 32)))
    assert particles.resolving(given, (8, 16, 32)) == (8, 16, 32)
    assert particles.resolving(tp.Sum((), "", (given, profile)), (8, 16, 32)) == (4096, 8192, 16384)
