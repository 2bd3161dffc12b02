"""The networks of the paper: fully connected, ReLU, depth 4, NTK parametrisation with bias factor β = 0.1 (section 2)."""

import math

import jax
import jax.numpy as jnp

import widelimit as wl

BETA = 0.1
DEPTH = 4


def perceptron(inputs: int) -> wl.Network:
    """f(x) of one output: h ← W h/√n + β b, all of W and b standard normal, DEPTH − 1 hidden layers."""

    def init(key, width):
        sizes = [inputs, *[width] * (DEPTH - 1), 1]
        keys = jax.random.split(key, DEPTH)
        return [
            {
                "w": jax.random.normal(k, (a, b), jnp.float32),
                "b": jax.random.normal(jax.random.fold_in(k, 1), (b,), jnp.float32),
            }
            for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)
        ]

    def apply(params, x):
        h = x
        for i, layer in enumerate(params):
            h = jax.nn.relu(h) if i else h
            h = h @ layer["w"] / math.sqrt(layer["w"].shape[0]) + BETA * layer["b"]
        return h

    return wl.Network(init, apply)
