"""Finite networks of many kinds against their limits: what the closed forms do not reach."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import widelimit as wl
from networks import residual_mlp


def drawn(**shapes):
    """Unit normal parameters, by name; a shape is a function of the width."""

    def init(key, width):
        keys = jax.random.split(key, len(shapes))
        return {name: jax.random.normal(k, shape(width)) for k, (name, shape) in zip(keys, shapes.items(), strict=True)}

    return init


def square(n):
    return (n, n)


def readout(params, h):
    return h @ params["v"] / jnp.sqrt(h.shape[-1])


def recurrent():
    """An RNN whose one matrix works at every step, read at its last state."""

    def apply(params, x):
        n = params["w"].shape[0]

        def step(h, token):
            h = jnp.tanh(h @ params["w"] / jnp.sqrt(n) + token @ params["u"] / jnp.sqrt(3) + 0.3 * params["b"])
            return h, None

        return readout(params, jax.lax.scan(step, jnp.zeros(n), x)[0])

    return wl.Network(drawn(w=square, u=lambda n: (3, n), b=lambda n: (n,), v=lambda n: (n, 4)), apply)


def gated():
    """A minimal gated unit: each state mixes the last one and a candidate by a sigmoid of both."""

    def apply(params, x):
        n = params["w"].shape[0]
        h = jnp.zeros(n)
        for token in x:
            gate = jax.nn.sigmoid(h @ params["w"] / jnp.sqrt(n) + token @ params["u"] / jnp.sqrt(3))
            candidate = jnp.tanh(h @ params["wc"] / jnp.sqrt(n) + token @ params["uc"] / jnp.sqrt(3))
            h = gate * h + (1 - gate) * candidate
        return readout(params, h)

    shapes = {"w": square, "wc": square, "u": lambda n: (3, n), "uc": lambda n: (3, n), "v": lambda n: (n, 4)}
    return wl.Network(drawn(**shapes), apply)


def layer_norm(h):
    centred = h - h.mean(-1, keepdims=True)
    return centred / jnp.sqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-6)


def transformer():
    """One pre-LayerNorm block with 1/n attention logits and a GELU perceptron, read at its mean token."""

    def apply(params, x):
        def dense(name, h):
            return h @ params[name] / jnp.sqrt(h.shape[-1])

        h = dense("embed", x)
        a = layer_norm(h)
        logits = dense("q", a) @ dense("k", a).T / a.shape[-1]
        h = h + dense("o", jax.nn.softmax(logits) @ dense("val", a))
        h = h + dense("down", jax.nn.gelu(dense("up", layer_norm(h)), approximate=False))
        return readout(params, layer_norm(h).mean(0))

    squares = dict.fromkeys(("q", "k", "val", "o", "up", "down"), square)
    return wl.Network(drawn(embed=lambda n: (3, n), v=lambda n: (n, 4), **squares), apply)


TOKENS = np.random.default_rng(0).standard_normal((2, 3, 3))
VECTORS = np.random.default_rng(0).standard_normal((3, 10))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "x"),
    [(recurrent, TOKENS), (gated, TOKENS[:, :2]), (transformer, TOKENS), (residual_mlp, VECTORS)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_finite_networks_point_to_the_limit(net, x):
    report = wl.verify(net(), x, key=jax.random.key(0), widths=(32, 64, 128, 256), accuracy=0.01, cost=3e8)
    assert report.passed, f"\n{report}"
    assert max(report.nngp.largest_z, report.ntk.largest_z) <= 3, f"\n{report}"
    assert report.resolution < 0.08
    assert abs(report.ntk.spread_exponent.value + 0.5) < 0.15
