"""Entries that no sum over the width makes Gaussian: drawn from the law of the parameter itself."""

from __future__ import annotations

import math
from statistics import NormalDist

import jax
import jax.numpy as jnp
from jax import Array

from widelimit.particles._noise import Noise, in_pairs
from widelimit.trace import Law


def entries(key: Array, law: Law, shape: tuple[int, ...], *, fan: int, noise: Noise) -> Array:
    """Entries of mean 0 and variance 1, (*shape, particles); each a sum over `fan` coordinates, over √fan."""
    if law.kind not in ("uniform", "truncated_normal"):
        return noise.draw(shape)  # a sum of Gaussians is one
    half = (*shape, noise.particles // 2)

    def drawn(key: Array) -> Array:
        return sum(_standard(k, law, half, noise.dtype) for k in jax.random.split(key, fan)) / math.sqrt(fan)

    if math.isclose(sum(law.quantiles), 1):
        return in_pairs(drawn(key))
    return jnp.concatenate([drawn(k) for k in jax.random.split(key)], -1)  # a law without symmetry


def _standard(key: Array, law: Law, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    if law.kind == "uniform":
        return jax.random.uniform(key, shape, dtype, -math.sqrt(3), math.sqrt(3))
    low, high = (NormalDist().inv_cdf(q) if 0 < q < 1 else math.copysign(math.inf, q - 0.5) for q in law.quantiles)
    mean, deviation = _moments(low, high)
    return (jax.random.truncated_normal(key, low, high, shape, dtype) - mean) / deviation


def _moments(low: float, high: float) -> tuple[float, float]:
    """Mean and standard deviation of a standard normal law between two bounds."""

    def density(z: float) -> float:
        return math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)

    def edge(z: float) -> float:
        return z * density(z) if math.isfinite(z) else 0.0

    mass = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
    mean = (density(low) - density(high)) / mass
    return mean, math.sqrt(1 + (edge(low) - edge(high)) / mass - mean**2)
