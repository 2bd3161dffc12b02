"""E[u₊ⁿ v₊ᵐ] of two centred Gaussians: the arc-cosine kernels (Cho & Saul 2009), of any two orders."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.gaussian._angle import angle, total
from widelimit.gaussian._elementary import inverse, inverse_sqrt

Orders = tuple[int, int]
Steps = tuple[float, float]
MIDDLE: Steps = (0.5, 0.5)


def half_moment(n: int) -> float:
    """E[z₊ⁿ] for z standard normal; 1/2 for n = 0."""
    return 2 ** (n / 2 - 1) * math.gamma((n + 1) / 2) / math.sqrt(math.pi)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def rectified(
    orders: Orders,
    steps: Steps,
    k11: Float[Array, "..."],
    c: Float[Array, "..."],
    k22: Float[Array, "..."],
) -> Float[Array, "..."]:
    """E[u₊ⁿ v₊ᵐ], (u, v) centred with covariance [[k11, c], [c, k22]].

    Args:
        orders: (n, m); order 0 is the step 1[u > 0].
        steps: the values of the two steps at exactly 0, which matter where a variance is 0: there u is
            0 and the step is what the code says; 1/2 each is the limit of independent u and v.
        k11: variance of u.
        c: covariance.
        k22: variance of v.

    Gaussian integration by parts lowers the orders: Iₙₘ = (n−1) k11 Iₙ₋₂,ₘ + m c Iₙ₋₁,ₘ₋₁ and
    I₁ₘ = k11 E[δ(u) v₊ᵐ] + m c I₀,ₘ₋₁. Derivatives are such expectations again (Price's theorem):
    ∂I/∂c = n m Iₙ₋₁,ₘ₋₁, ∂I/∂k11 = ½ n(n−1) Iₙ₋₂,ₘ. That of I₀₀ = (π−θ)/2π with respect to c,
    1/(2π√(k11 k22 − c²)), is infinite for u = ±v and given as 0 there; so are derivatives with respect to
    a variance that is 0.
    """
    n, m = orders
    if n < m:
        return rectified((m, n), steps[::-1], k22, c, k11)
    if n == 0:
        return _orthant(steps, k11, c, k22)
    if m == 0:
        return _stepped(n, k11, c, k22) * _at_zero(steps[1], k22)
    if n == 1:
        plane = angle(k11, c, k22)
        return (plane.sine + c * plane.supplement) / (2 * math.pi)
    return (n - 1) * k11 * rectified((n - 2, m), MIDDLE, k11, c, k22) + m * c * rectified(
        (n - 1, m - 1), MIDDLE, k11, c, k22
    )


def _orthant(steps: Steps, k11: Array, c: Array, k22: Array) -> Array:
    """P(u > 0, v > 0) = (π − θ)/2π, with the steps' own values where a variance is zero."""
    inside = angle(k11, c, k22).supplement / (2 * math.pi)
    if steps == MIDDLE:
        return inside
    live1, live2 = ((k > 0).astype(inside.dtype) for k in (k11, k22))
    inside = live1 * live2 * inside
    if steps == (0.0, 0.0):
        return inside
    zero1, zero2 = steps[0] * (1 - live1), steps[1] * (1 - live2)
    return inside + zero1 * (live2 / 2 + zero2) + zero2 * live1 / 2


def _stepped(n: int, k11: Array, c: Array, k22: Array) -> Array:
    """E[u₊ⁿ 1[v > 0]] for n >= 1."""
    drift = c * _edge(n - 1, k22, c, k11)
    if n == 1:
        return k11 * _edge(0, k11, c, k22) + drift
    return (n - 1) * k11 * rectified((n - 2, 0), MIDDLE, k11, c, k22) + drift


def _at_zero(step: float, k: Array) -> Array | float:
    """Corrects a step that was taken to be 1/2 at 0."""
    return 1.0 if step == 0.5 else jnp.where(k > 0, 1.0, 2 * step).astype(k.dtype)


def _edge(m: int, k11: Array, c: Array, k22: Array) -> Array:
    """E[δ(u) v₊ᵐ]: the density of u at 0 times the moment of v given u = 0."""
    density = inverse_sqrt(k11) * (half_moment(m) / math.sqrt(2 * math.pi))
    if m == 0:
        return density
    given = angle(k11, c, k22)
    value = density * (given.determinant * inverse(k11)) ** (m // 2)
    return value * given.sine * inverse_sqrt(k11) if m % 2 else value


def _along_cross(orders: Orders, steps: Steps, k11: Array, c: Array, k22: Array) -> Array:
    n, m = orders
    if n and m:
        return n * m * rectified((n - 1, m - 1), steps, k11, c, k22)
    if n:
        return n * _edge(n - 1, k22, c, k11)
    if m:
        return m * _edge(m - 1, k11, c, k22)
    return inverse(angle(k11, c, k22).sine) / (2 * math.pi)


def _along_variance(orders: Orders, k11: Array, c: Array, k22: Array) -> Array:
    """∂/∂k11."""
    n, m = orders
    if n > 1:
        return n * (n - 1) / 2 * rectified((n - 2, m), MIDDLE, k11, c, k22)
    if n:
        return _edge(m, k11, c, k22) / 2
    return -c * inverse(k11) / 2 * _along_cross(orders, MIDDLE, k11, c, k22)


def _rectified_jvp(orders, steps, primals, tangents):
    k11, c, k22 = primals
    dk11, dc, dk22 = tangents
    out = rectified(orders, steps, k11, c, k22)
    change = total(
        (lambda: _along_cross(orders, steps, k11, c, k22), dc),
        (lambda: _along_variance(orders, k11, c, k22), dk11),
        (lambda: _along_variance(orders[::-1], k22, c, k11), dk22),
    )
    return out, jnp.broadcast_to(change, out.shape).astype(out.dtype)


rectified.defjvp(_rectified_jvp, symbolic_zeros=True)
