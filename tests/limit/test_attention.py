"""Attention with 1/√d and many heads: of fixed size, or growing too (Hron et al., Infinite attention, 2020)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import widelimit as wl
from montecarlo import assert_agrees
from networks import drawn

TOKENS = np.random.default_rng(0).normal(size=(2, 2, 3))


def attention(size, weights, *, mask=None, scale=0.5):
    """A readout of attention over the input's tokens, whose heads number n; `size(n)` is that of each."""

    def shapes(n):
        return {name: (3, n, size(n)) for name in "qkv"} | {"o": (n, size(n), 1)}

    def apply(p, x):
        q, k, v = (jnp.einsum("tn,nhd->thd", x, p[name]) / 3**0.5 for name in "qkv")
        logits = jnp.einsum("thd,shd->hts", q, k) / q.shape[-1] ** scale
        y = jnp.einsum("hts,shd->thd", weights(logits if mask is None else jnp.where(mask, logits, -jnp.inf)), v)
        return jnp.einsum("thd,hdo->to", y, p["o"]) / (y.shape[-1] * y.shape[-2]) ** 0.5

    return wl.Network(drawn(shapes), apply)


def fixed(_):
    return 2


def growing(n):
    return n


def both(kernel):
    return jax.jit(kernel.pair)(*TOKENS)


@pytest.mark.parametrize("size", [pytest.param(fixed, marks=pytest.mark.slow), growing])
def test_weights_linear_in_the_logits(size):
    """E[ζ_ik ζ_jl] = κ_ij κ_kl for ζ = G, at every size of the heads; all four weights add as much to the NTK."""
    nngp, ntk = both(wl.limit(attention(size, lambda g: g), TOKENS[0]))
    kappa = TOKENS[0] @ TOKENS[1].T / 3
    np.testing.assert_allclose(nngp, kappa * np.sum(kappa**2), rtol=1e-10)
    np.testing.assert_allclose(ntk, 4 * kappa * np.sum(kappa**2), rtol=1e-10)


@pytest.mark.slow
def test_softmax_of_gaussian_logits():
    """NNGP_ij = Σ_kl E[ζ_ik ζ_jl] κ_kl, the expectation by sampling."""
    nngp, _ = both(wl.limit(attention(growing, jax.nn.softmax), TOKENS[0], accuracy=3e-2))
    x = TOKENS.reshape(4, 3)
    kappa = x @ x.T / 3
    root = np.linalg.cholesky(np.kron(kappa, kappa) + 1e-12 * np.eye(16))
    logits = (root @ np.random.default_rng(1).normal(size=(16, 40_000))).reshape(2, 2, 2, 2, -1)
    z, w = (np.exp(logits[s, :, s]) / np.exp(logits[s, :, s]).sum(1, keepdims=True) for s in (0, 1))
    expected = np.einsum("ikn,jln,kl->ijn", z, w, kappa[:2, 2:])
    error = expected.std(-1) / 200
    assert np.abs(nngp - expected.mean(-1)).max() < 4 * error.max() + 1e-3


@pytest.mark.slow
def test_a_single_token_to_attend_to():
    """A causal mask leaves the first token itself alone: its attention is that of a linear network."""
    mask = jnp.tril(jnp.ones((2, 2), bool))
    nngp, ntk = both(wl.limit(attention(growing, jax.nn.softmax, mask=mask), TOKENS[0], accuracy=3e-2))
    first = TOKENS[0, 0] @ TOKENS[1, 0] / 3
    np.testing.assert_allclose([nngp[0, 0], ntk[0, 0]], [first, 2 * first], rtol=1e-6)


def test_logits_that_vanish():
    """Scaled by 1/d they tend to zero, and the attention to a mean."""
    nngp, _ = both(wl.limit(attention(growing, jax.nn.softmax, scale=1.0), TOKENS[0]))
    np.testing.assert_allclose(nngp, np.mean(TOKENS[0] @ TOKENS[1].T / 3) * np.ones((2, 2)), rtol=1e-10)


def test_coordinates_that_share_their_attention_are_not_taken_apart():
    def apply(p, x):
        q = jnp.einsum("tn,nhd->thd", x, p["q"])
        weights = jnp.tanh(jnp.einsum("thd,shd->hts", q, jnp.einsum("tn,nhd->thd", x, p["k"])) / q.shape[-1] ** 0.5)
        y = jnp.einsum("hts,shd->thd", weights, q)
        return jnp.tanh(y / jnp.sqrt((y**2).mean(-1, keepdims=True))).sum(0).ravel() @ p["o"]

    net = wl.Network(drawn(lambda n: {"q": (3, n, n), "k": (3, n, n), "o": (n * n, 1)}), apply)
    with pytest.raises(wl.Refusal, match="share what repeats along them"):
        wl.limit(net, TOKENS[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is not reached")
def test_softmax_in_heads_of_two():
    """With one layer finite kernels have the limit's mean at every number of heads."""
    assert_agrees(attention(fixed, jax.nn.softmax), TOKENS, draws=2000)
