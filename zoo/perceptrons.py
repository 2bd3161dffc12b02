"""Perceptrons, as the libraries' own layers and initialisers make them."""

import jax
import jax.numpy as jnp
from flax import nnx

import widelimit as wl
from zoo._inputs import unit
from zoo._row import row

VECTORS = unit(3, 10)


@row("perceptron, NTK parametrisation", source="jax", x=VECTORS)
def perceptron():
    def init(key, n):
        k = jax.random.split(key, 4)
        return {
            "w1": jax.random.normal(k[0], (10, n)),
            "b1": jax.random.normal(k[1], (n,)),
            "w2": jax.random.normal(k[2], (n, n)),
            "v": jax.random.normal(k[3], (n, 1)),
        }

    def apply(p, x):
        h = jax.nn.relu(x @ p["w1"] / jnp.sqrt(10) + 0.1 * p["b1"])
        h = jax.nn.relu(h @ p["w2"] * jnp.sqrt(2 / h.shape[-1]))
        return h @ p["v"] / jnp.sqrt(h.shape[-1])

    return wl.Network(init, apply)


class MLP(nnx.Module):
    def __init__(self, width, rngs):
        self.hidden = nnx.Linear(10, width, kernel_init=nnx.initializers.normal(10**-0.5), rngs=rngs)
        self.middle = nnx.Linear(width, width, rngs=rngs)
        self.out = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.gelu(self.middle(nnx.gelu(self.hidden(x)))))


@row("perceptron, GELU", source="flax.nnx", x=VECTORS)
def flax_perceptron():
    return wl.from_flax(lambda width, rngs: MLP(width, rngs=rngs))
