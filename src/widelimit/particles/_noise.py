"""Standard normal noise whose sample moments are nearly those of its law.

Draws come in pairs ±ξ and are orthonormal in the sample, to each other and to all earlier ones while these are few beside
the particles. Both take away noise; the law of a few coordinates changes by one over the number of particles.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

_ALL, _BLOCK = 8, 4  # pairs of particles for each coordinate that is made orthogonal to all, or within one draw


@dataclasses.dataclass(eq=False)
class Noise:
    """The noise of one batch of particles, drawn piece by piece."""

    particles: int
    dtype: Any

    def __post_init__(self) -> None:
        self._rows: list[Array] = []

    def draw(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Noise of shape (*shape, particles)."""
        noise = jax.random.normal(key, (*shape, self.particles // 2), self.dtype)
        return in_pairs(self._whitened(noise))

    def _whitened(self, noise: Array) -> Array:
        half = noise.shape[-1]
        rows = math.prod(noise.shape[:-1])
        if _ALL * (rows + sum(map(len, self._rows))) <= half:
            return self._apart(noise.reshape(rows, half)).reshape(noise.shape)
        return _orthonormal(noise) if _BLOCK * noise.shape[-2] <= half else noise

    def _apart(self, noise: Array) -> Array:
        """Orthonormal to all rows so far."""
        for row in self._rows:
            noise = noise - (noise @ row.T / noise.shape[-1]) @ row
        self._rows.append(_orthonormal(noise))
        return self._rows[-1]


def _orthonormal(noise: Array) -> Array:
    lower = jnp.linalg.cholesky(noise @ noise.mT / noise.shape[-1])
    return jax.scipy.linalg.solve_triangular(lower, noise, lower=True)


def in_pairs(half: Array) -> Array:
    return jnp.concatenate([half, -half], -1)
