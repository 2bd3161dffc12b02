"""Gaussian draws with memory: each given all earlier ones of its family.

A draw is asked for by its *features* F, such that the covariance of two draws is F F'ᵀ. Block by block this is
a Cholesky factorisation, g_k = Σ_{j<k} B_kj ξ_j + R_k ξ_k, with B_kj = (F_k F_jᵀ − Σ_l B_kl B_jlᵀ) R_j^{−ᵀ} and R_k a root of what
is left. Equal inputs and padded positions make it singular, so the roots are of eigenvectors and their inverses leave out
what is rounding. The features are those of the same particles throughout, so that the whole matrix is positive semi-definite
in the sample too.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from widelimit.particles._noise import Noise


class _Block(NamedTuple):
    features: Array  # (independent, D, M)
    left: list[Array]  # B_kj, (independent, D, D_j)
    inverse: Array  # R⁻ᵀ, (independent, D, D)
    noise: Array  # ξ, (copies, independent, D, particles)


@dataclasses.dataclass(eq=False)
class Gaussians:
    """The draws of one family so far."""

    noise: Noise
    blocks: list[_Block] = dataclasses.field(default_factory=list)

    def draw(self, features: Array, *, copies: int) -> Array:
        """Independent copies of a Gaussian vector, jointly with the earlier draws: (copies, independent, D, particles)."""
        left: list[Array] = []
        for block in self.blocks:
            cross = features @ block.features.mT
            for earlier, mine in zip(left, block.left, strict=True):
                cross = cross - earlier @ mine.mT
            left.append(cross @ block.inverse)
        covariance = features @ features.mT
        rest = covariance - sum(b @ b.mT for b in left)
        root, inverse = _root(rest, covariance)
        noise = self.noise.draw((copies, *root.shape[:-1]))
        self.blocks.append(_Block(features, left, inverse, noise))
        return root @ noise + sum(b @ block.noise for b, block in zip(left, self.blocks[:-1], strict=True))


def _root(rest: Array, whole: Array) -> tuple[Array, Array]:
    """R with R Rᵀ = rest, and R⁻ᵀ on its range; what is rounding beside the whole covariance counts as zero."""
    eigenvalues, vectors = jnp.linalg.eigh((rest + rest.mT) / 2)
    scale = jnp.max(jnp.diagonal(whole, axis1=-2, axis2=-1), -1, keepdims=True)
    least = 8 * whole.shape[-1] * jnp.finfo(rest.dtype).eps * scale
    kept = eigenvalues > least
    deviations = jnp.sqrt(jnp.where(kept, eigenvalues, 1))[..., None, :]
    kept = kept[..., None, :]
    return jnp.where(kept, vectors * deviations, 0), jnp.where(kept, vectors / deviations, 0)
