"""E[u₊ⁿ v₊ᵐ] of two centred Gaussians: the arc-cosine kernels (Cho & Saul 2009), of any two orders."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.gaussian._angle import Gap, angle, half_angle, total
from widelimit.gaussian._elementary import inverse, inverse_sqrt

Orders = tuple[int, int]
Steps = tuple[float, float]
MIDDLE: Steps = (0.5, 0.5)


def half_moment(n: int) -> float:
    """E[z₊ⁿ] for z standard normal; 1/2 for n = 0."""
    return 2 ** (n / 2 - 1) * math.gamma((n + 1) / 2) / math.sqrt(math.pi)


class Plane(NamedTuple):
    """Law of two centred Gaussians."""

    k11: Array
    c: Array
    k22: Array
    gap: Gap | None = None

    def swapped(self) -> "Plane":
        """The law of (v, u)."""
        return Plane(self.k22, self.c, self.k11, self.gap)


def rectified(
    orders: Orders,
    steps: Steps,
    k11: Float[Array, "..."],
    c: Float[Array, "..."],
    k22: Float[Array, "..."],
    *,
    gap: Gap | None = None,
) -> Float[Array, "..."]:
    """E[u₊ⁿ v₊ᵐ], (u, v) centred with covariance [[k11, c], [c, k22]].

    Args:
        orders: (n, m); order 0 is the step 1[u > 0].
        steps: the values of the two steps at exactly 0, which matter where a variance is 0: there u is
            0 and the step is what the code says; 1/2 each is the limit of independent u and v.
        k11: variance of u.
        c: covariance.
        k22: variance of v.
        gap: E[(u − v)²] = k11 + k22 − 2c, if it is known better than these say: nearly equal u and v then keep their
            digits. Derivatives are those in k11, c and k22, of which it is a function.

    Gaussian integration by parts lowers the orders: Iₙₘ = (n−1) k11 Iₙ₋₂,ₘ + m c Iₙ₋₁,ₘ₋₁ and
    I₁ₘ = k11 E[δ(u) v₊ᵐ] + m c I₀,ₘ₋₁. Derivatives are such expectations again (Price's theorem):
    ∂I/∂c = n m Iₙ₋₁,ₘ₋₁, ∂I/∂k11 = ½ n(n−1) Iₙ₋₂,ₘ. That of I₀₀ = (π−θ)/2π with respect to c,
    1/(2π√(k11 k22 − c²)), is infinite for u = ±v and given as 0 there; so are derivatives with respect to
    a variance that is 0.
    """
    return _moment(orders, steps, Plane(k11, c, k22, gap))


def lens(k11: Array, c: Array, k22: Array, gap: Gap) -> Array:
    """(√(k11 k22) sin θ − c θ)/π, small for a small θ: 2 E[u₊v₊] − c, without that difference.

    For an obtuse θ it is that of π − θ, less c. Rounding leaves an error ε θ.
    """
    half = half_angle(k11, c, k22, gap)
    if gap.positive:
        return (half.sine - c * half.acute) / math.pi
    return (half.sine - jnp.abs(c) * half.acute) / math.pi + jnp.maximum(-c, 0)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _moment(orders: Orders, steps: Steps, law: Plane) -> Array:
    n, m = orders
    if n < m:
        return _moment((m, n), steps[::-1], law.swapped())
    if n == 0:
        return _orthant(steps, law)
    if m == 0:
        return _stepped(n, law) * _at_zero(steps[1], law.k22)
    if n == 1:
        plane = angle(*law)
        return (plane.sine + law.c * plane.supplement) / (2 * math.pi)
    return (n - 1) * law.k11 * _moment((n - 2, m), MIDDLE, law) + m * law.c * _moment((n - 1, m - 1), MIDDLE, law)


def _orthant(steps: Steps, law: Plane) -> Array:
    """P(u > 0, v > 0) = (π − θ)/2π, with the steps' own values where a variance is zero."""
    inside = angle(*law).supplement / (2 * math.pi)
    if steps == MIDDLE:
        return inside
    live1, live2 = ((k > 0).astype(inside.dtype) for k in (law.k11, law.k22))
    inside = live1 * live2 * inside
    if steps == (0.0, 0.0):
        return inside
    zero1, zero2 = steps[0] * (1 - live1), steps[1] * (1 - live2)
    return inside + zero1 * (live2 / 2 + zero2) + zero2 * live1 / 2


def _stepped(n: int, law: Plane) -> Array:
    """E[u₊ⁿ 1[v > 0]] for n >= 1."""
    drift = law.c * _edge(n - 1, law.swapped())
    if n == 1:
        return law.k11 * _edge(0, law) + drift
    return (n - 1) * law.k11 * _moment((n - 2, 0), MIDDLE, law) + drift


def _at_zero(step: float, k: Array) -> Array | float:
    """Corrects a step that was taken to be 1/2 at 0."""
    return 1.0 if step == 0.5 else jnp.where(k > 0, 1.0, 2 * step).astype(k.dtype)


def _edge(m: int, law: Plane) -> Array:
    """E[δ(u) v₊ᵐ]: the density of u at 0 times the moment of v given u = 0."""
    density = inverse_sqrt(law.k11) * (half_moment(m) / math.sqrt(2 * math.pi))
    if m == 0:
        return density
    given = angle(*law)
    value = density * (given.determinant * inverse(law.k11)) ** (m // 2)
    return value * given.sine * inverse_sqrt(law.k11) if m % 2 else value


def _along_cross(orders: Orders, steps: Steps, law: Plane) -> Array:
    n, m = orders
    if n and m:
        return n * m * _moment((n - 1, m - 1), steps, law)
    if n:
        return n * _edge(n - 1, law.swapped())
    if m:
        return m * _edge(m - 1, law)
    return inverse(angle(*law).sine) / (2 * math.pi)


def _along_variance(orders: Orders, law: Plane) -> Array:
    """∂/∂k11."""
    n, m = orders
    if n > 1:
        return n * (n - 1) / 2 * _moment((n - 2, m), MIDDLE, law)
    if n:
        return _edge(m, law) / 2
    return -law.c * inverse(law.k11) / 2 * _along_cross(orders, MIDDLE, law)


def _moment_jvp(orders, steps, primals, tangents):
    (law,), (moved,) = primals, tangents
    out = _moment(orders, steps, law)
    change = total(
        (lambda: _along_cross(orders, steps, law), moved.c),
        (lambda: _along_variance(orders, law), moved.k11),
        (lambda: _along_variance(orders[::-1], law.swapped()), moved.k22),
    )
    return out, jnp.broadcast_to(change, out.shape).astype(out.dtype)


_moment.defjvp(_moment_jvp, symbolic_zeros=True)
