"""Products in parallel along the width, and weights that all coordinates of the width share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import widelimit as wl
from networks import drawn

TOKENS = np.random.default_rng(0).normal(size=(2, 4, 3))


def mixing(**shapes):
    table = {"w": lambda n: (3, n), "t": lambda n: (4, 4), "v": lambda n: (n, 1)} | shapes
    init = drawn(lambda n: {name: shape(n) for name, shape in table.items()})
    return wl.Network(init, lambda p, x: (p["t"] @ (x @ p["w"]) @ p["v"] / p["v"].shape[0] ** 0.5).mean(0))


def test_token_mixing_is_refused_with_what_to_write():
    with pytest.raises(
        wl.Refusal, match=r"'t' mixes positions, and all coordinates of a wide axis share it.*known numbers"
    ):
        wl.limit(mixing(), TOKENS[0])


def gated(rates):
    """Token mixing that starts at zero: a gate of one."""

    def init(key, n):
        k = jax.random.split(key)
        return {"w": jax.random.normal(k[0], (3, n)), "t": jnp.zeros((4, 4)), "v": jax.random.normal(k[1], (n, 1))}

    def apply(p, x):
        h = jax.nn.relu(x @ p["w"])
        return ((p["t"] @ h + 1) * h @ p["v"] / h.shape[-1] ** 0.5).mean(0)

    return wl.limit(wl.Network(init, apply), TOKENS[0], learning_rates=rates)


def test_token_mixing_that_starts_at_zero_and_stays():
    plain = wl.Network(
        drawn(lambda n: {"w": (3, n), "v": (n, 1)}),
        lambda p, x: (jax.nn.relu(x @ p["w"]) @ p["v"] / p["v"].shape[0] ** 0.5).mean(0),
    )
    for got, expected in zip(
        jax.jit(gated("ntk").pair)(*TOKENS), jax.jit(wl.limit(plain, TOKENS[0]).pair)(*TOKENS), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_training_it_from_zero_is_refused():
    with pytest.raises(wl.Refusal, match="all coordinates of a wide axis share it"):
        gated({"t": 1.0})


# --- learned vectors, and halves of heads ---------------------------------------------------------------------------------


def test_learned_vectors_are_values():
    """Two learned vectors times a matrix: what a first layer with one-hot inputs makes of it."""
    shapes = {"points": lambda n: (2, n), "w": lambda n: (n, n), "v": lambda n: (n, 1)}
    init = drawn(lambda n: {name: shape(n) for name, shape in shapes.items()})

    def read(p, h):
        return (jax.nn.relu(h @ p["w"] / h.shape[-1] ** 0.5) @ p["v"] / h.shape[-1] ** 0.5).sum(0)

    learned = wl.Network(init, lambda p, x: x.sum() * read(p, p["points"]))
    given = wl.Network(init, lambda p, x: x.sum() * read(p, jnp.eye(2) @ p["points"]))
    for got, expected in zip(
        *(jax.jit(wl.limit(net, TOKENS[0]).pair)(*TOKENS) for net in (learned, given)), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_rotary_positions_inside_heads_of_fixed_size():
    """K_ts = κ_ts times the mean over the frequencies of cos (t − s)θ."""
    frequencies = 100.0 ** (-np.arange(2) / 2)
    angles = np.tile(np.outer(np.arange(4), frequencies), 2)

    def rotated(h):  # (tokens, heads, 4)
        half = jnp.concatenate([-h[..., 2:], h[..., :2]], -1)
        return h * jnp.cos(angles)[:, None] + half * jnp.sin(angles)[:, None]

    def apply(p, x):
        h = rotated((x @ p["w"]).reshape(4, -1, 4))
        return h.reshape(4, -1) @ p["v"] / p["v"].shape[0] ** 0.5

    net = wl.Network(drawn(lambda n: {"w": (3, n), "v": (n, 1)}), apply)
    turned = np.cos(np.subtract.outer(np.arange(4), np.arange(4))[..., None] * frequencies).mean(-1)
    nngp, ntk = jax.jit(wl.limit(net, TOKENS[0]).pair)(*TOKENS)
    expected = TOKENS[0] @ TOKENS[1].T * turned
    np.testing.assert_allclose(nngp, expected, rtol=1e-10)
    np.testing.assert_allclose(ntk, 2 * expected, rtol=1e-10)


# --- sums inside heads ----------------------------------------------------------------------------------------------------


def normalised(size):
    """The root mean square inside each head taken off, then a readout of all heads."""

    def apply(p, x):
        h = jnp.einsum("ti,ihd->thd", x, p["w"])
        h = h / jnp.sqrt((h * h).mean(-1, keepdims=True))
        return jnp.einsum("thd,hd->t", h, p["v"]) / (h.shape[1] * h.shape[2]) ** 0.5

    return wl.Network(drawn(lambda n: {"w": (3, n, size(n)), "v": (n, size(n))}), apply)


def test_a_norm_inside_wide_heads_is_deterministic():
    nngp, _ = jax.jit(wl.limit(normalised(lambda n: n), TOKENS[0]).pair)(*TOKENS)
    sides = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in TOKENS]
    np.testing.assert_allclose(nngp, sides[0] @ sides[1].T, rtol=1e-12)


# --- known arrays that vary along the width -------------------------------------------------------------------------------


def code(length, width):
    """The sines and cosines of Attention Is All You Need, one half after the other."""
    angles = np.outer(np.arange(length), 100.0 ** (-np.arange(width // 2) / (width // 2)))
    return np.concatenate([np.sin(angles), np.cos(angles)], 1)


def encoded(act, length=4):
    shapes = {"w": lambda n: (3, n), "u": lambda n: (n, n), "v": lambda n: (n, 1)}

    def apply(p, x):
        n = p["u"].shape[0]
        h = x @ p["w"] + code(length, n)
        h = act(h)
        return h @ p["u"] / n**0.5 @ p["v"] / n**0.5

    return wl.Network(drawn(lambda n: {name: shape(n) for name, shape in shapes.items()}), apply)


def mean_cosine(lag):
    """∫ cos(lag 100^{-u}) du over [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    return np.cos(np.multiply.outer(lag, 100.0 ** (-(nodes + 1) / 2))) @ weights / 2


LAG = np.subtract.outer(np.arange(4), np.arange(4))


def test_a_positional_code_along_the_width():
    """Its products average to ½ ∫ cos (t − s)θ."""
    nngp, ntk = jax.jit(wl.limit(encoded(lambda h: h), TOKENS[0]).pair)(*TOKENS)
    kappa, code_part = TOKENS[0] @ TOKENS[1].T, mean_cosine(LAG) / 2
    np.testing.assert_allclose(nngp, kappa + code_part, rtol=1e-5)
    np.testing.assert_allclose(ntk, 3 * kappa + 2 * code_part, rtol=1e-5)


def test_a_positional_code_in_a_nonlinearity_is_refused():
    with pytest.raises(wl.Refusal, match="a nonlinearity meets a known array that varies along the width"):
        wl.limit(encoded(jnp.tanh), TOKENS[0])


def test_draws_of_the_code_are_no_profile():
    net = wl.Network(
        drawn(lambda n: {"w": (3, n), "v": (n, 1)}),
        lambda p, x: (x @ p["w"] + np.random.default_rng(0).normal(size=p["v"].shape[0])) @ p["v"],
    )
    with pytest.raises(wl.Refusal, match="varies along an axis that grows"):
        wl.limit(net, TOKENS[0])


@pytest.mark.slow
def test_rotary_positions_in_wide_heads():
    """Linear attention: Σ_kl C_ik,jl κ_ij κ_kl κ_kl with C the mean cosine of the difference of the lags."""

    def rotated(h):  # (tokens, heads, d)
        turns, d = code(4, h.shape[-1]), h.shape[-1] // 2
        sin, cos = (np.tile(a, 2)[:, None] for a in (turns[:, :d], turns[:, d:]))
        return h * cos + jnp.concatenate([-h[..., d:], h[..., :d]], -1) * sin

    def apply(p, x):
        q, k, v = (jnp.einsum("ti,ihd->thd", x, p[name]) for name in "qkv")
        logits = jnp.einsum("thd,shd->hts", rotated(q), rotated(k)) / q.shape[-1] ** 0.5
        y = jnp.einsum("hts,shd->thd", logits, v)
        return jnp.einsum("thd,hd->t", y, p["o"]) / (v.shape[1] * v.shape[2]) ** 0.5

    shapes = {name: lambda n: (3, n, n) for name in "qkv"} | {"o": lambda n: (n, n)}
    net = wl.Network(drawn(lambda n: {name: shape(n) for name, shape in shapes.items()}), apply)
    nngp, _ = jax.jit(wl.limit(net, TOKENS[0]).pair)(*TOKENS)
    kappa = TOKENS[0] @ TOKENS[1].T
    cosines = mean_cosine(LAG[:, :, None, None] - LAG[None, None])  # [i, k, j, l]
    expected = np.einsum("ikjl,ij,kl,kl->ij", cosines, kappa, kappa, kappa)
    np.testing.assert_allclose(nngp, expected, rtol=1e-4)
