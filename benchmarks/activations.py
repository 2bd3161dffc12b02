"""The activations of the accuracy table: each as users write it in JAX, and by hand in NumPy with its derivative and kinks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special


class Activation(NamedTuple):
    """φ for the library; φ, φ' (almost everywhere), the places where either is not smooth, and φ's jumps for the reference."""

    jax: Callable
    value: Callable
    slope: Callable
    places: tuple[float, ...] = ()
    jumps: tuple[tuple[float, float], ...] = ()
    grows: bool = False  # like an exponential: variances of at most 1
    waves: bool = False  # oscillates, also far out


ALPHA, SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
ROOT, CUBIC = np.sqrt(2 / np.pi), 0.044715


def sigmoid(u):
    return special.expit(u)


def bell(u):
    return sigmoid(u) * sigmoid(-u)


def between(u, low, high):
    return ((u > low) & (u < high)).astype(float)


def sech2(u):
    return 4 * bell(2 * u)


def mish_slope(u):
    t = np.tanh(np.logaddexp(0, u))
    return t + u * (1 - t) * (1 + t) * sigmoid(u)


def gelu_slope(u):
    return special.ndtr(u) + u * np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi)


def gelu_tanh(u):
    return u * sigmoid(2 * ROOT * (u + CUBIC * u**3))


def gelu_tanh_slope(u):
    w = 2 * ROOT * (u + CUBIC * u**3)
    return sigmoid(w) + u * bell(w) * 2 * ROOT * (1 + 3 * CUBIC * u * u)


def elu(alpha: float, scale: float = 1.0, rate: float = 1.0) -> tuple[Callable, Callable]:
    def value(u):
        return scale * np.where(u > 0, u, alpha * np.expm1(np.minimum(u, 0) / rate))

    def slope(u):
        return scale * np.where(u > 0, 1.0, alpha / rate * np.exp(np.minimum(u, 0) / rate))

    return value, slope


def sparse_plus(u):
    return np.where(u <= -1, 0.0, np.where(u >= 1, u, 0.25 * (u + 1) ** 2))


def bent(u):
    return np.where(u > 1, np.tanh(u), 0.3 * u * u)


def bent_slope(u):
    return np.where(u > 1, sech2(u), 0.6 * u)


def smaller_part(u):
    return np.where(u < 0, np.sin(np.minimum(u, 0)), u / (1 + np.maximum(u, 0)))


ACTIVATIONS = {
    "tanh": Activation(jnp.tanh, np.tanh, sech2),
    "sigmoid": Activation(jax.nn.sigmoid, sigmoid, bell),
    "softplus": Activation(jax.nn.softplus, lambda u: np.logaddexp(0, u), sigmoid),
    "log-sigmoid": Activation(jax.nn.log_sigmoid, lambda u: -np.logaddexp(0, -u), lambda u: sigmoid(-u)),
    "SiLU": Activation(jax.nn.silu, lambda u: u * sigmoid(u), lambda u: sigmoid(u) + u * bell(u)),
    "mish": Activation(jax.nn.mish, lambda u: u * np.tanh(np.logaddexp(0, u)), mish_slope),
    "GELU (exact)": Activation(lambda u: jax.nn.gelu(u, approximate=False), lambda u: u * special.ndtr(u), gelu_slope),
    "GELU (tanh)": Activation(jax.nn.gelu, gelu_tanh, gelu_tanh_slope),
    "quick GELU": Activation(
        lambda u: u * jax.nn.sigmoid(1.702 * u),
        lambda u: u * sigmoid(1.702 * u),
        lambda u: sigmoid(1.702 * u) + 1.702 * u * bell(1.702 * u),
    ),
    "squareplus": Activation(
        jax.nn.squareplus, lambda u: (u + np.sqrt(u * u + 4)) / 2, lambda u: (1 + u / np.sqrt(u * u + 4)) / 2
    ),
    "softsign": Activation(jax.nn.soft_sign, lambda u: u / (1 + np.abs(u)), lambda u: 1 / (1 + np.abs(u)) ** 2, (0.0,)),
    "arctan": Activation(jnp.arctan, np.arctan, lambda u: 1 / (1 + u * u)),
    "log(1 + u²)": Activation(lambda u: jnp.log1p(u * u), lambda u: np.log1p(u * u), lambda u: 2 * u / (1 + u * u)),
    "ELU": Activation(jax.nn.elu, *elu(1.0), (0.0,)),
    "SELU": Activation(jax.nn.selu, *elu(ALPHA, SCALE), (0.0,)),
    "CELU (α = 2)": Activation(lambda u: jax.nn.celu(u, 2.0), *elu(2.0, rate=2.0), (0.0,)),
    "hard tanh": Activation(jax.nn.hard_tanh, lambda u: np.clip(u, -1, 1), lambda u: between(u, -1, 1), (-1.0, 1.0)),
    "ReLU6": Activation(jax.nn.relu6, lambda u: np.clip(u, 0, 6), lambda u: between(u, 0, 6), (0.0, 6.0)),
    "hard sigmoid": Activation(
        jax.nn.hard_sigmoid, lambda u: np.clip(u + 3, 0, 6) / 6, lambda u: between(u, -3, 3) / 6, (-3.0, 3.0)
    ),
    "hard swish": Activation(
        jax.nn.hard_swish,
        lambda u: u * np.clip(u + 3, 0, 6) / 6,
        lambda u: np.where(u > 3, 1.0, between(u, -3, 3) * (2 * u + 3) / 6),
        (-3.0, 3.0),
    ),
    "soft shrink": Activation(
        lambda u: jnp.sign(u) * jnp.maximum(jnp.abs(u) - 0.5, 0),
        lambda u: np.sign(u) * np.maximum(np.abs(u) - 0.5, 0),
        lambda u: (np.abs(u) > 0.5).astype(float),
        (-0.5, 0.5),
    ),
    "sparse plus": Activation(
        jax.nn.sparse_plus,
        sparse_plus,
        lambda u: np.clip(0.5 * (u + 1), 0, 1),
        (-1.0, 1.0),
    ),
    "where(u > 0.7, u, 0.1)": Activation(
        lambda u: jnp.where(u > 0.7, u, 0.1),
        lambda u: np.where(u > 0.7, u, 0.1),
        lambda u: (u > 0.7).astype(float),
        (0.7,),
        ((0.7, 0.6),),
    ),
    "where(u > 1, tanh u, 0.3u²)": Activation(
        lambda u: jnp.where(u > 1, jnp.tanh(u), 0.3 * u * u), bent, bent_slope, (1.0,), ((1.0, np.tanh(1.0) - 0.3),)
    ),
    "where(u < 0, sin u, u/(1 + u))": Activation(
        lambda u: jnp.where(u < 0, jnp.sin(u), u / (1 + jnp.maximum(u, 0))),
        smaller_part,
        lambda u: np.where(u < 0, np.cos(np.minimum(u, 0)), 1 / (1 + np.maximum(u, 0)) ** 2),
        (0.0,),
        waves=True,
    ),
    "ReLU": Activation(jax.nn.relu, lambda u: np.maximum(u, 0), lambda u: (u > 0).astype(float), (0.0,)),
    "leaky ReLU": Activation(
        jax.nn.leaky_relu, lambda u: np.maximum(u, 0.01 * u), lambda u: np.where(u > 0, 1.0, 0.01), (0.0,)
    ),
    "abs": Activation(jnp.abs, np.abs, np.sign, (0.0,)),
    "step": Activation(
        lambda u: jnp.where(u > 0, 1.0, 0.0), lambda u: (u > 0).astype(float), np.zeros_like, (0.0,), ((0.0, 1.0),)
    ),
    "sign": Activation(jnp.sign, np.sign, np.zeros_like, (0.0,), ((0.0, 2.0),)),
    "ReLU²": Activation(
        lambda u: jax.nn.relu(u) ** 2, lambda u: np.maximum(u, 0) ** 2, lambda u: 2 * np.maximum(u, 0), (0.0,)
    ),
    "u·ReLU(u + 1)": Activation(
        lambda u: u * jax.nn.relu(u + 1),
        lambda u: u * np.maximum(u + 1, 0),
        lambda u: np.where(u > -1, 2 * u + 1, 0.0),
        (-1.0,),
    ),
    "erf": Activation(jax.scipy.special.erf, special.erf, lambda u: 2 / np.sqrt(np.pi) * np.exp(-u * u)),
    "sin": Activation(jnp.sin, np.sin, np.cos, waves=True),
    "cos": Activation(jnp.cos, np.cos, lambda u: -np.sin(u), waves=True),
    "exp(-u²)": Activation(lambda u: jnp.exp(-u * u), lambda u: np.exp(-u * u), lambda u: -2 * u * np.exp(-u * u)),
    "exp": Activation(jnp.exp, np.exp, np.exp, grows=True),
    "1 - u + u³/2": Activation(lambda u: 1 - u + u**3 / 2, lambda u: 1 - u + u**3 / 2, lambda u: 1.5 * u * u - 1),
}
