"""The angle between two Gaussians, and what a pair of half-lines needs of it."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from widelimit.gaussian._elementary import arctan, inverse


class Angle(NamedTuple):
    """Geometry of a covariance [[k11, c], [c, k22]] with cos θ = c/√(k11 k22).

    Attributes:
        sine: √(k11 k22 − c²) = √(k11 k22) sin θ.
        supplement: π − θ, in [0, π]; π/2 where a variance is zero.
        determinant: k11 k22 − c².
    """

    sine: Array
    supplement: Array
    determinant: Array


def is_zero(tangent: Any) -> bool:
    """Whether a tangent is known to be zero without being computed."""
    return isinstance(tangent, jax.custom_derivatives.SymbolicZero)


def total(*terms: tuple[Callable[[], Any], Any]) -> Any:
    """Σ partial · tangent over the `(partial, tangent)` whose tangent is not known to be zero.

    Partials come as functions, called only if needed.
    """
    return sum(partial() * tangent for partial, tangent in terms if not is_zero(tangent))


@dataclasses.dataclass(frozen=True)
class Gap:
    """E[(u − v)²] of centred u and v, where it is known with more digits than k11 + k22 − 2c has.

    Attributes:
        value: of the shape of the law's entries.
        positive: whether c >= 0 is known, which saves work.
    """

    value: Any
    positive: bool = False


jax.tree_util.register_dataclass(Gap, ["value"], ["positive"])

NEAR = 1 / 8  # the gap, over the sum of the variances, below which the angle is taken from it


@jax.custom_jvp
def angle(k11: Float[Array, "..."], c: Float[Array, "..."], k22: Float[Array, "..."], gap: Gap | None = None) -> Angle:
    """Sine, supplement and determinant of a pair, with all the digits that the inputs have (`half_angle`).

    The gap is a function of the others: its own tangent is not looked at. The derivatives of θ and of the sine are
    infinite at θ = 0 and π; there they are given as zero.
    """
    half = half_angle(k11, c, k22, gap)
    supplement = jnp.pi - half.acute
    if gap is None or not gap.positive:
        supplement = jnp.where(c < 0, half.acute, supplement)
    return Angle(half.sine, supplement, half.determinant)


class Half(NamedTuple):
    """The acute one of θ and π − θ, the tangent of half of it, with sine and determinant as in `Angle`."""

    acute: Array
    tangent: Array
    sine: Array
    determinant: Array


def half_angle(k11: Array, c: Array, k22: Array, gap: Gap | None) -> Half:
    """The acute angle of a pair: tan(θ/2) = √(k11 k22 − c²)/(√(k11 k22) + |c|).

    With the differences δ = k − |c|, exact where they are small, k11 k22 − c² = |c|(δ1 + δ2) + δ1 δ2: exactly zero where
    c = k11 = k22. Variances are first brought near 1 by powers of two, so that products neither overflow nor vanish.
    Where the entries are themselves rounded, an error ε is one of √ε in a small θ; there the gap g gives it to ε:
    1 − cos θ = (g − (√k11 − √k22)²)/(2√(k11 k22)). It does so for near pairs only: of variances of different size it knows
    little but the larger one.
    """
    (unit1, root1, shrink1), (unit2, root2, shrink2) = _scaled(k11), _scaled(k22)
    if gap is not None:
        near = gap.value < NEAR * (root1 * root1) + NEAR * (root2 * root2)
        steep = inverse(root1) * inverse(root2)  # both sides alike: what is of one is computed once an input
        versine = (gap.value - (root1 - root2) ** 2) * steep / 2
        if gap.positive:
            return _by_versine(jnp.where(near, versine, 1 - c * steep), root1 * root2 + c)
    size = jnp.abs(c)
    small = size * shrink1 * shrink2
    difference1, difference2 = unit1 - small, unit2 - small
    above = small * (difference1 + difference2) + difference1 * difference2
    below = (jnp.sqrt(unit1) * jnp.sqrt(unit2) + small) ** 2
    if gap is not None:
        above, below = jnp.where(near, versine, above), jnp.where(near, 2 - versine, below)
    return _half(jnp.maximum(above, 0) / below, root1 * root2 + size)


def quarter_tangent(
    k11: Float[Array, "..."], c: Float[Array, "..."], k22: Float[Array, "..."], gap: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """tan(θ/4) for θ in [0, π] as (numerator, denominator), without an arc-tangent: tan(θ/2) = t or 1/t, t of the acute angle.

    Args:
        k11: variance of u.
        c: covariance.
        k22: variance of v.
        gap: E[(u − v)²], or E[(u + v)²] where c < 0, with all its digits.
    """
    t = half_angle(k11, jnp.abs(c), k22, Gap(gap, positive=True)).tangent
    obtuse = c < 0
    return jnp.where(obtuse, 1, t), jnp.where(obtuse, t, 1) + jnp.sqrt(1 + t * t)


def _by_versine(versine: Array, wide: Array) -> Half:
    """Of a pair with c >= 0 and thus 1 − cos θ <= 1."""
    versine = jnp.clip(versine, 0, 1)
    return _half(versine / (2 - versine), wide)


def _half(squared: Array, wide: Array) -> Half:
    """From tan²(θ/2) and √(k11 k22) + |c|."""
    tangent = jnp.sqrt(squared)
    return Half(2 * arctan(tangent), tangent, tangent * wide, squared * wide * wide)


def _scaled(k: Array) -> tuple[Array, Array, Array]:
    """`(k/g², √k, 1/g)` with g a power of two and k/g² in [0.7, 2.9); a k that is not positive counts as tiny, its √k as 0.

    The range is cut away from 1, so that inputs of nearly unit norm are scaled alike.
    """
    least = jnp.finfo(k.dtype)
    floor = jnp.maximum(k, least.tiny)
    root = jnp.sqrt(floor)
    integer = jnp.int64 if k.dtype == jnp.float64 else jnp.int32
    mask = lax.bitcast_convert_type(jnp.asarray(jnp.inf, k.dtype), integer)
    exponent = lax.bitcast_convert_type(1.19 * root, integer) & mask
    shrink = lax.bitcast_convert_type((2 * least.maxexp - 2 << least.nmant) - exponent, k.dtype)
    return floor * shrink * shrink, jnp.where(k > 0, root, 0), shrink


def _angle_jvp(primals, tangents):
    k11, c, k22, _ = primals
    dk11, dc, dk22, _ = tangents
    out = angle(*primals)
    steep = inverse(out.sine)
    slope = total(
        (lambda: -2 * c, dc),
        (lambda: k22, dk11),
        (lambda: k11, dk22),
    )
    turn = total(
        (lambda: steep, dc),
        (lambda: -c * inverse(k11) * steep / 2, dk11),
        (lambda: -c * inverse(k22) * steep / 2, dk22),
    )
    shape, dtype = out.sine.shape, out.sine.dtype
    slope, turn = (jnp.broadcast_to(x, shape).astype(dtype) for x in (slope, turn))
    return out, Angle(slope * steep / 2, turn, slope)


angle.defjvp(_angle_jvp, symbolic_zeros=True)


@jax.custom_jvp
def arcsine(
    k11: Float[Array, "..."],
    c: Float[Array, "..."],
    k22: Float[Array, "..."],
    sine: Float[Array, "..."],
) -> Float[Array, "..."]:
    """asin(c/√(k11 k22)) given `sine` = √(k11 k22 − c²) > 0, with all digits of a small c.

    `sine` is a function of the others: its own tangent is not looked at.
    """
    return 2 * arctan(c / (jnp.sqrt(k11 * k22) + sine))


def _arcsine_jvp(primals, tangents):
    k11, c, k22, sine = primals
    dk11, dc, dk22, _ = tangents
    out = arcsine(*primals)
    if all(is_zero(t) for t in (dk11, dc, dk22)):
        return out, jnp.zeros_like(out)
    change = total(
        (lambda: 1 / sine, dc),
        (lambda: -c / (2 * k11 * sine), dk11),
        (lambda: -c / (2 * k22 * sine), dk22),
    )
    return out, jnp.broadcast_to(change, out.shape).astype(out.dtype)


arcsine.defjvp(_arcsine_jvp, symbolic_zeros=True)
