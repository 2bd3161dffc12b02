"""The angle between two Gaussians, and what a pair of half-lines needs of it."""

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


@jax.custom_jvp
def angle(k11: Float[Array, "..."], c: Float[Array, "..."], k22: Float[Array, "..."]) -> Angle:
    """Sine, supplement and determinant of a pair, with all the digits that the inputs have.

    For the acute θ, tan(θ/2) = √(k11 k22 − c²)/(√(k11 k22) + |c|), and with the gaps δ = k − |c|, exact where they
    are small, k11 k22 − c² = |c|(δ1 + δ2) + δ1 δ2: exactly zero where c = k11 = k22. Variances are first brought near 1
    by powers of two, so that products neither overflow nor vanish.

    The derivatives of θ and of the sine are infinite at θ = 0 and π; there they are given as zero.
    """
    (unit1, root1, shrink1), (unit2, root2, shrink2) = _scaled(k11), _scaled(k22)
    size = jnp.abs(c)
    small = size * shrink1 * shrink2
    gap1, gap2 = unit1 - small, unit2 - small
    near = jnp.sqrt(unit1) * jnp.sqrt(unit2) + small
    squared = jnp.maximum(small * (gap1 + gap2) + gap1 * gap2, 0) / (near * near)
    tangent, wide = jnp.sqrt(squared), root1 * root2 + size
    acute = 2 * arctan(tangent)
    return Angle(tangent * wide, jnp.where(c < 0, acute, jnp.pi - acute), squared * wide * wide)


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
    k11, c, k22 = primals
    dk11, dc, dk22 = tangents
    out = angle(k11, c, k22)
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
