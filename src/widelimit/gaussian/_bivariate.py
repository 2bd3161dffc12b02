"""Two Gaussians above two thresholds: what the correlation adds to the product of the probabilities."""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import erfc
from jaxtyping import Array, Float

_FAR = 0.9  # correlations up to here are integrated from independence, others from the line u = v
_NODES = {4: 10, 8: 24}  # Gauss–Legendre nodes, by bytes of the type


def normal_tail(h: Float[Array, "..."]) -> Float[Array, "..."]:
    """Q(h) = P(z > h) for z standard normal, with all digits of a small tail."""
    return erfc(h * math.sqrt(0.5)) / 2


def surplus(
    h: Float[Array, "..."],
    k: Float[Array, "..."],
    half: Float[Array, "..."],
    rest: Float[Array, "..."],
    sign: Float[Array, "..."],
) -> Float[Array, "..."]:
    """P(u > h, v > k) − Q(h)Q(k) for standard normal u, v of correlation ρ.

    Args:
        h: threshold of u, finite.
        k: threshold of v, finite.
        half: tan(asin|ρ|/2) = |ρ|/(1 + √(1−ρ²)), in [0, 1].
        rest: tan(acos|ρ|/2) = √(1−ρ²)/(1 + |ρ|), in [0, 1].
        sign: of ρ; 1 or −1.

    Plackett (1954): the derivative in ρ is the density at (h, k). With t = tan(acos ρ/2), p² = (h−k)²/8 and
    q² = (h+k)²/8, the density times dρ is e(t) dt/π(1+t²), e(t) = exp(−p²(1 + 1/t²) − q²(1 + t²)), hence for ρ >= 0

        P − QQ = (1/π) ∫_t^1 e(x) dx/(1+x²) = Q(max)Q(−min) − (1/π) ∫_0^t e(x) dx/(1+x²).

    The first is used for |ρ| <= 0.9, with x = (1−s)/(1+s); the second beyond, after e^{−q²x²}/(1+x²) ≈ 1 − a x² + b x⁴
    has been integrated by parts (the idea of Drezner & Wesolowsky 1990, made exact by Genz 2004). For ρ < 0,
    (h, k, ρ) becomes (h, −k, −ρ) and the sign changes. Not to be differentiated: the derivatives are densities.
    """
    k = sign * k
    p, q = (h - k) ** 2 / 8, (h + k) ** 2 / 8
    far = rest > math.tan(math.acos(_FAR) / 2)
    width = jnp.where(far, half, rest)
    total = _integral(far, width, p, q) / math.pi
    low, high = jnp.minimum(h, k), jnp.maximum(h, k)
    near = normal_tail(high) * normal_tail(-low) - (_expanded(width, p, q) / math.pi + total)
    return sign * jnp.where(far, total, near)


def _integral(far: Array, width: Array, p: Array, q: Array) -> Array:
    """∫_0^half e(x(s)) ds/(1+s²) where far; else ∫_0^rest of e(x)/(1+x²) less its expansion."""
    rule = np.polynomial.legendre.leggauss(_NODES[8 if width.dtype == jnp.float64 else 4])
    nodes, weights = ((jnp.asarray(a, width.dtype)) for a in ((rule[0] + 1) / 2, rule[1] / 2))
    tiny, (a, b) = float(jnp.finfo(width.dtype).tiny) ** 0.25, _coefficients(q)

    def add(i: Array, total: Array) -> Array:
        s = width * nodes[i]
        x2 = jnp.where(far, (1 - s) / (1 + s), jnp.maximum(s, tiny)) ** 2
        less = jnp.where(far, 0, 1 - a * x2 + b * x2 * x2)
        return total + weights[i] * jnp.exp(-p - q - p / x2) * (jnp.exp(-q * x2) / (1 + s * s) - less)

    # a loop, not its unrolling: small to compile, and never computed twice inside what reads it
    return width * lax.fori_loop(0, len(rule[0]), add, jnp.zeros(jnp.broadcast_shapes(width.shape, q.shape), q.dtype))


def _coefficients(q: Array) -> tuple[Array, Array]:
    """a and b of e^{−q x²}/(1+x²) = 1 − a x² + b x⁴ − … by powers of x."""
    return 1 + q, 1 + q + q * q / 2


def _expanded(t: Array, p: Array, q: Array) -> Array:
    """e^{−p−q} ∫_0^t e^{−p/x²} (1 − a x² + b x⁴) dx."""
    (a, b), t = _coefficients(q), jnp.maximum(t, float(jnp.finfo(t.dtype).tiny) ** 0.25)
    end = jnp.exp(-p - q - p / (t * t))
    zeroth = t * end - jnp.sqrt(math.pi * p) * jnp.exp(-p - q) * erfc(jnp.sqrt(p) / t)
    second = (t**3 * end - 2 * p * zeroth) / 3
    fourth = (t**5 * end - 2 * p * second) / 5
    return zeroth - a * second + b * fourth
