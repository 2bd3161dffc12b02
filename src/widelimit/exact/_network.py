"""The network itself, in plain JAX."""

from math import sqrt
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from widelimit.network import Network

from . import _arguments

Parametrisation = str  # one of
PARAMETRISATIONS = ("ntk", "standard")


def network(k: int, outputs: int, parametrisation: Parametrisation = "ntk", *, dtype: Any = None) -> Network:
    """The two-layer ReLU network on `k` bits, without biases, as a family over its width n.

    "ntk": f(x) = n^(-1/2) W₂ relu(k^(-1/2) W₁ x), entries of W₁ (n, k) and W₂ (outputs, n) N(0, 1). "standard": f(x) = W₂ relu(W₁ x),
    entries N(0, 1/k) and N(0, 1/n). At initialisation they are one random function; gradient descent with one learning
    rate tells them apart: in the second the last layer alone moves as n grows.
    """
    call = "`network(k, outputs, parametrisation)`"
    _arguments.at_least(call, "k", k, 1)
    _arguments.choice(call, "parametrisation", parametrisation, PARAMETRISATIONS)
    return _ntk(k, outputs, dtype) if parametrisation == "ntk" else _standard(k, outputs, dtype)


def _ntk(k: int, outputs: int, dtype: Any) -> Network:
    def init(key: PRNGKeyArray, width: int) -> PyTree:
        first, last = jax.random.split(key)
        return {
            "w1": jax.random.normal(first, (width, k), dtype),
            "w2": jax.random.normal(last, (outputs, width), dtype),
        }

    def apply(params: PyTree, x: Float[Array, " k"]) -> Float[Array, " outputs"]:
        width = params["w1"].shape[0]
        return params["w2"] @ jax.nn.relu(params["w1"] @ x / sqrt(k)) / sqrt(width)

    return Network(init, apply)


def _standard(k: int, outputs: int, dtype: Any) -> Network:
    def init(key: PRNGKeyArray, width: int) -> PyTree:
        first, last = jax.random.split(key)
        return {
            "w1": jax.random.normal(first, (width, k), dtype) / sqrt(k),
            "w2": jax.random.normal(last, (outputs, width), dtype) / sqrt(width),
        }

    def apply(params: PyTree, x: Float[Array, " k"]) -> Float[Array, " outputs"]:
        return params["w2"] @ jnp.maximum(params["w1"] @ x, 0)

    return Network(init, apply)
