"""Standard normal noise whose sample moments are nearly those of its law.

It comes in pairs ±ξ; the first rows, few beside the particles, are orthonormal in the sample, those after them within one draw. Both
take away noise from the means of what is computed; the law of a few coordinates changes by one over the number of particles.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

_ALL, _BLOCK = 8, 4  # pairs of particles for each row that is made orthogonal to all, or within one draw


@dataclasses.dataclass(eq=False)
class Noise:
    """The noise of one batch of particles, handed out row by row."""

    key: Array
    particles: int
    rows: int
    dtype: Any
    used: int = 0

    @property
    def half(self) -> int:
        return self.particles // 2

    @functools.cached_property
    def _drawn(self) -> tuple[Array, Array]:
        """All rows at once: those that are orthonormal, and the others."""
        noise, first = jax.random.normal(self.key, (self.rows, self.half), self.dtype), self.half // _ALL
        return orthonormal(noise[:first]), noise[first:]

    def draw(self, shape: tuple[int, ...]) -> Array:
        """Noise of shape (*shape, particles)."""
        start, self.used = self.used, self.used + math.prod(shape)
        first, others = self._drawn
        if self.used <= len(first):
            return in_pairs(first[start : self.used].reshape(*shape, self.half))
        rest = max(0, start - len(first))
        mixed = jnp.concatenate([first[start:], others[rest : self.used - len(first)]]).reshape(*shape, self.half)
        return in_pairs(orthonormal(mixed) if _BLOCK * shape[-1] <= self.half else mixed)


def orthonormal(noise: Array) -> Array:
    """Rows with ξ ξᵀ = 1 in the mean over the last axis, matrix by matrix.

    A stack of triangular solves at once, twice in one program, stops for ever in JAX 0.10 on a CPU of two cores: each call waits on
    a thread of XLA's pool for parts of its work that stand in the queue behind the other.
    """
    stack = noise.reshape(-1, *noise.shape[-2:])
    return jax.lax.map(_orthonormal, stack).reshape(noise.shape)


def _orthonormal(rows: Array) -> Array:
    lower = jnp.linalg.cholesky(rows @ rows.mT / rows.shape[-1])
    return jax.scipy.linalg.solve_triangular(lower, rows, lower=True)


def in_pairs(half: Array) -> Array:
    return jnp.concatenate([half, -half], -1)
