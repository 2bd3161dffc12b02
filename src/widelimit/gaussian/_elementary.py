"""Elementary functions at the speed of memory: angles from one polynomial.

XLA's arc-cosine and arc-tangent branch their way through several ranges; on a CPU they cost 15 to 20
times a pass over memory. Every angle wanted here is twice an arc-tangent of a number in [0, 1]
(the half-angle formula tan(θ/2) = sin θ / (1 + cos θ)), and atan(t)/t is analytic in t² with its nearest
singularity at t² = −1: one polynomial, no branches, small angles to full relative accuracy.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# atan(√s)/√s on [0, 1]: polynomials of least worst relative error, by Remez exchange.
# Worst errors 1.5e-8 and 2.8e-17, below half a unit in the last place.
_ARCTAN_FLOAT32 = (
    0.9999999847707556,
    -0.3333307340725442,
    0.19992620612498704,
    -0.14203653584220663,
    0.10640968074753103,
    -0.07504364950134407,
    0.042692339094144036,
    -0.016069132050896124,
    0.002850016088042213,
)
_ARCTAN_FLOAT64 = (
    1.0,
    -0.3333333333333111,
    0.19999999999696363,
    -0.14285714269198443,
    0.11111110634404188,
    -0.09090900648309039,
    0.0769220761511953,
    -0.06665825894946112,
    0.058771425479813386,
    -0.05238634735187721,
    0.046722898261623035,
    -0.04089081566117459,
    0.034008799928366674,
    -0.02575123900586648,
    0.016904127625849034,
    -0.009130377586748816,
    0.003827173486111452,
    -0.00115359309627209,
    0.000220689068065972,
    -2.0018784795825596e-05,
)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """Horner's rule, constant term first."""
    value = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * x + coefficient
    return value


@jax.custom_jvp
def arctan(t: Float[Array, "..."]) -> Float[Array, "..."]:
    """atan(t) for |t| <= 1, to about one unit in the last place.

    Args:
        t: tangent of the angle, at most 1 in modulus; not checked, useless beyond.

    Returns:
        The angle, in [−π/4, π/4].
    """
    double = jnp.result_type(t) == jnp.float64
    return t * _polynomial(_ARCTAN_FLOAT64 if double else _ARCTAN_FLOAT32, t * t)


@arctan.defjvp
def _arctan_jvp(primals, tangents):
    (t,), (dt,) = primals, tangents
    return arctan(t), dt / (1 + t * t)


@jax.custom_jvp
def arccos(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The arc-cosine of x for |x| <= 1, at the speed of memory; a rounding beyond ±1 is taken as ±1.

    Its derivative −1/√(1−x²) is infinite at ±1; there it is given as 0, the mean of the two sides of
    the cusp that the angle between two vectors has where they meet.
    """
    size = jnp.minimum(jnp.abs(x), 1)
    angle = 2 * arctan(jnp.sqrt((1 - size) / (1 + size)))
    return jnp.where(x < 0, jnp.pi - angle, angle)


@arccos.defjvp
def _arccos_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return arccos(x), -dx * inverse_sqrt((1 - x) * (1 + x))


def inverse(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """1/x where x > 0; 0, with zero derivative, elsewhere."""
    positive = x > 0
    return jnp.where(positive, 1 / jnp.where(positive, x, 1), 0)


def root(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """√x where x > 0; 0, with zero derivative, elsewhere."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def inverse_sqrt(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """1/√x where x > 0; 0, with zero derivative, elsewhere."""
    positive = x > 0
    return jnp.where(positive, 1 / jnp.sqrt(jnp.where(positive, x, 1)), 0)
