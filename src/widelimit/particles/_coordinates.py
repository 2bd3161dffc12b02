"""Known vectors that vary along the width: every particle is one of its coordinates.

The coordinates of a program with a profile g are independent, no longer alike: Z_i depends on g_i, and what weights and Moments read
are means over them, (1/n) Σ_i E ψ(g_i, Z) → E_i E ψ(g_i, Z). Particle p of P stands at the place u_p = (p + U_p)/P of the width,
U_p uniform on [0, 1), and holds g at ⌊n u_p⌋: E (1/P) Σ_p ψ(g(u_p)) = (1/n) Σ_i ψ(g_i) without bias, and with the variance inside
the strata alone (Owen, Monte Carlo theory, ch. 8.4). Places are drawn, so that a profile whose coordinates alternate (sines and cosines
in turn) is met in all its phases. All profiles are read at the same place, as their products are; the two of a pair ±ξ stand at one.

The mean over n coordinates is apart from its limit by O(1/n), which no standard error tells: the program is to be read at widths of
`COORDINATES` and more (a sine code then has 6e-5 of its kernel, where 4 million particles have a standard error of 4e-4).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from widelimit import program as tp

COORDINATES = 2**14


def places(key: Array, particles: int) -> Array:
    """u (particles,) in [0, 1), one for each pair ±ξ."""
    half = particles // 2
    drawn = (jnp.arange(half) + jax.random.uniform(key, (half,))) / half
    return jnp.concatenate([drawn, drawn])


def at_places(profile: tp.Profile, u: Array) -> Array:
    """The profile's samples (particles, *positions)."""
    widest = profile.arrays[-1]
    size = widest.shape[-1]
    index = jnp.minimum((u * size).astype(int), size - 1)
    return jnp.moveaxis(jnp.asarray(widest)[..., index], -1, 0)


def resolving(output: tp.Value, widths: tuple[int, ...]) -> tuple[int, ...]:
    """The widths to read a program at: where it has profiles, all times one whole number, so that the largest has enough coordinates."""
    if not any(isinstance(v, tp.Profile) for v in tp.steps(output)):
        return widths
    factor = -(-COORDINATES // widths[-1])
    return tuple(factor * n for n in widths)
