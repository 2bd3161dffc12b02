"""Piecewise linear functions: the density at the kinks.

φ'' = Σ_c J_c δ_c, so Price's identity twice gives ∂²E[φψ]/∂k₁₂² = Σ_{c,d} J_c J_d p(c, d), hence with t the covariance

    E[φ'ψ'] = E[φ']E[ψ'] + Σ J_c J_d ∫₀^{k₁₂} p_t(c, d) dt,
    E[φψ] = E[φ]E[ψ] + k₁₂ E[φ']E[ψ'] + Σ J_c J_d ∫₀^{k₁₂} (k₁₂ - t) p_t(c, d) dt.

With t = s₁s₂ cos y the density is exp(-(h-k)²/(2 sin²y) - hk/(1 + cos y)) dy/2π (Plackett), h and k the standardised places:
smooth in y but for the scale |h - k|, which y = δ sinh x resolves.
"""

from math import pi

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from widelimit.gaussian._kinks import concretely, kinks
from widelimit.gaussian._plane import Law
from widelimit.gaussian._pointwise import Pointwise
from widelimit.gaussian._series import correlation

_NODES = 32
_FAR = 30.0
_FINEST = 1e-6


def is_piecewise_linear(phi: Pointwise) -> bool:
    """Whether φ (without parameters) is continuous, and linear between its kinks, of which there are at most six."""
    return phi.remember("piecewise linear", lambda: _check(phi))


def _check(phi: Pointwise) -> bool:
    found = kinks(phi)
    continuous = all(not kink.jumps[0] and not kink.jumps[2] for kink in found)
    u = np.sinh(np.linspace(-8, 8, 1021) + 1e-4 * np.pi)
    return 0 < len(found) <= 6 and continuous and not np.any(concretely(phi, u, 2)[2])


def over_kinks(phi: Pointwise, psi: Pointwise, law: Law, means: tuple[tuple, tuple]) -> tuple[Array, Array]:
    """(E[φψ], E[φ'ψ']) from (E[φ], E[φ']) and (E[ψ], E[ψ'])."""
    (a0, a1), (b0, b1) = means
    rho = correlation(law.k11, law.k22, law.k12)
    s1, s2 = jnp.sqrt(jnp.maximum(law.k11, 0)), jnp.sqrt(jnp.maximum(law.k22, 0))
    sign, lowest = jnp.where(rho < 0, -1, 1), jnp.arctan2(jnp.sqrt((1 - rho) * (1 + rho)), jnp.abs(rho))
    first = second = 0.0
    for left in kinks(phi):
        for right in kinks(psi):
            h, k = _standard(left.place, law.m1, s1), sign * _standard(right.place, law.m2, s2)
            size = left.jumps[1] * right.jumps[1] / (2 * pi)
            whole, lever = _integrals(h, k, lowest)
            first, second = first + size * whole, second + size * lever
    return a0 * b0 + law.k12 * a1 * b1 + s1 * s2 * second, a1 * b1 + sign * first


def _standard(place: float, mean: Array | None, scale: Array) -> Array:
    offset = place if mean is None else place - mean
    tiny = float(jnp.finfo(scale.dtype).tiny) * 1e10
    return jnp.clip(offset / jnp.maximum(scale, tiny), -_FAR, _FAR)


def _integrals(h: Array, k: Array, lowest: Array) -> tuple[Array, Array]:
    """∫ e dy and ∫ (cos y₁ - cos y) e dy over [y₁, π/2], e = exp(-(h-k)²/(2 sin²y) - hk/(1 + cos y))."""
    delta = jnp.clip(0.25 * jnp.abs(h - k), _FINEST, 1)
    x0, x1 = jnp.arcsinh(lowest / delta), jnp.arcsinh(0.5 * pi / delta)
    nodes, weights = (jnp.asarray(a, h.dtype) for a in np.polynomial.legendre.leggauss(_NODES))
    half, middle = 0.5 * (x1 - x0), 0.5 * (x1 + x0)
    apart, product, floor = (h - k) ** 2, h * k, jnp.finfo(h.dtype).tiny ** 0.5
    least = jnp.sin(0.5 * lowest) ** 2

    def add(i: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        up = jnp.exp(middle + half * nodes[i])
        y = jnp.clip(0.5 * delta * (up - 1 / up), lowest, 0.5 * pi)
        # with S = sin²(y/2): sin²y = 4S(1-S), 1 + cos y = 2(1-S)
        share = jnp.maximum(jnp.sin(0.5 * y) ** 2, floor)
        e = jnp.exp(-(0.125 * apart / share + 0.5 * product) / (1 - share))
        e = e * (weights[i] * (up + 1 / up))
        return sums[0] + e, sums[1] + (share - least) * e

    zero = jnp.zeros(jnp.broadcast_shapes(h.shape, k.shape, lowest.shape), h.dtype)
    whole, lever = lax.fori_loop(0, _NODES, add, (zero, zero))
    scale = 0.5 * half * delta
    return scale * whole, 2 * scale * lever
