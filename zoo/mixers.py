"""Networks that mix tokens by a matrix over the positions: MLP-Mixer, gMLP."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import widelimit as wl
from zoo._inputs import normal
from zoo._row import row

PATCHES = normal(3, 4, 6)


class MlpBlock(nnx.Module):
    def __init__(self, size, hidden, rngs):
        self.first = nnx.Linear(size, hidden, rngs=rngs)
        self.second = nnx.Linear(hidden, size, rngs=rngs)

    def __call__(self, x):
        return self.second(nnx.gelu(self.first(x)))


class MixerBlock(nnx.Module):
    def __init__(self, tokens, width, rngs):
        self.norm1, self.norm2 = (nnx.LayerNorm(width, rngs=rngs) for _ in range(2))
        self.tokens = MlpBlock(tokens, 2 * tokens, rngs)
        self.channels = MlpBlock(width, 4 * width, rngs)

    def __call__(self, x):
        x = x + self.tokens(self.norm1(x).T).T
        return x + self.channels(self.norm2(x))


class Mixer(nnx.Module):
    def __init__(self, width, rngs):
        self.embed = nnx.Linear(6, width, kernel_init=nnx.initializers.normal(6**-0.5), rngs=rngs)
        self.block = MixerBlock(4, width, rngs)
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.out = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(self.norm(self.block(self.embed(x))).mean(0))


@row("MLP-Mixer", source="flax.nnx", x=PATCHES, refused="all coordinates of a wide axis share")
def mixer():
    return wl.from_flax(lambda width, rngs: Mixer(width, rngs=rngs))


def layer_norm(h):
    return jax.nn.standardize(h, axis=-1, epsilon=1e-6)


FIRST, SECOND = (np.random.default_rng(7).normal(size=s) / s[0] ** 0.5 for s in ((4, 8), (8, 4)))


@row("MLP-Mixer with known token mixing", source="jax", x=PATCHES, limit={"accuracy": 3e-3})
def frozen_mixer():
    """The matrices over the tokens are numbers of the code, and so are not trained."""

    def init(key, n):
        shapes = {"embed": (6, n), "up": (n, 2 * n), "down": (2 * n, n), "out": (n, 1)}
        keys = jax.random.split(key, len(shapes))
        return {p: jax.random.normal(k, s) / s[0] ** 0.5 for k, (p, s) in zip(keys, shapes.items(), strict=True)}

    def apply(p, x):
        h = x @ p["embed"]
        h = h + SECOND.T @ jnp.tanh(FIRST.T @ layer_norm(h))
        h = h + jax.nn.gelu(layer_norm(h) @ p["up"]) @ p["down"]
        return (layer_norm(h) @ p["out"]).mean(0)

    return wl.Network(init, apply)


def gated_mlp(spatial):
    """A block of gMLP: half of the channels gates the other half, after a linear map over the tokens."""

    def init(key, n):
        shapes = {"embed": (6, n), "up": (n, 2 * n), "down": (n, n), "out": (n, 1)}
        *keys, last = jax.random.split(key, len(shapes) + 1)
        params = {p: jax.random.normal(k, s) / s[0] ** 0.5 for k, (p, s) in zip(keys, shapes.items(), strict=True)}
        return params | {"spatial": spatial(last), "bias": jnp.ones((4, 1))}

    def apply(p, x):
        h = x @ p["embed"]
        u, v = jnp.split(jax.nn.gelu(layer_norm(h) @ p["up"]), 2, -1)
        v = p["spatial"] @ layer_norm(v) + p["bias"]
        h = h + (u * v) @ p["down"]
        return (layer_norm(h) @ p["out"]).mean(0)

    return wl.Network(init, apply)


@row("gMLP, spatial weights start at zero and stay", source="jax", x=PATCHES)
def gmlp():
    return gated_mlp(lambda key: jnp.zeros((4, 4)))


@row(
    "gMLP, spatial weights trained from zero",
    source="jax",
    x=PATCHES,
    limit={"learning_rates": {"spatial": 1.0}},
    refused="all coordinates of a wide axis share",
)
def trained_gmlp():
    return gated_mlp(lambda key: jnp.zeros((4, 4)))


@row("gMLP, spatial weights drawn at random", source="jax", x=PATCHES, refused="all coordinates of a wide axis share")
def random_gmlp():
    return gated_mlp(lambda key: jax.random.normal(key, (4, 4)) / 2)
