"""What the derivative of a jump adds: the density at the jump.

In the sense of distributions f' = (f')_regular + Σ_c J_c δ_c, so that with p the density of u, of v or of both,

    E[f'(u) g(v)] = E[(f')_regular g] + Σ_c J_c p(c) E[g(v) | u = c],
    E[f'(u) g'(v)] ∋ Σ_{c,d} J_c J_d p(c, d).

Each term is an ordinary differentiable expression, hence so are all its derivatives.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from widelimit.gaussian._kinks import kinks
from widelimit.gaussian._plane import Law
from widelimit.gaussian._pointwise import Pointwise

Mean = Callable[[Pointwise, Array, Array, tuple], Array]  # (g, mean, variance, params) -> E[g]


def jumps(f: Pointwise, params: tuple) -> tuple[tuple[float, float], ...]:
    """(place, size) of the jumps of f; none are searched for in a function with parameters."""
    return () if params else tuple((kink.place, kink.jumps[0]) for kink in kinks(f) if kink.jumps[0])


def swap(law: Law) -> Law:
    """The law of (v, u)."""
    return Law(law.k22, law.k11, law.k12, law.m2, law.m1)


def one_sided(places: tuple, law: Law, mean: Callable[[Array, Array], Array]) -> Array | float:
    """Σ_c J_c p(c) E[g(v) | u = c], where mean(m, k) = E[g] under N(m, k)."""
    return sum((size * _weighted(law, c, mean) for c, size in places), 0.0)


def one_sided_slope(places: tuple, law: Law, mean: Callable[[Array, Array], Array]) -> Array | float:
    """E[Σ_c J_c δ'_c(u) g(v)] = -Σ_c J_c ∂/∂c (p(c) E[g(v) | u = c])."""
    total = 0.0
    for c, size in places:
        place = jnp.broadcast_to(
            jnp.asarray(c, law.k12.dtype), jnp.broadcast_shapes(law.k11.shape, law.k22.shape, law.k12.shape)
        )
        total = total - size * jax.jvp(lambda c: _weighted(law, c, mean), (place,), (jnp.ones_like(place),))[1]
    return total


def two_sided(left: tuple, right: tuple, law: Law) -> Array | float:
    """Σ J_c J_d p(c, d)."""
    return sum((a * b * _joint_density(law, c, d) for c, a in left for d, b in right), 0.0)


def _weighted(law: Law, c: Array | float, mean: Callable[[Array, Array], Array]) -> Array:
    slope = law.k12 * _safe_inverse(law.k11)
    centre = slope * _off(c, law.m1) + (0.0 if law.m2 is None else law.m2)
    return _density(law.k11, _off(c, law.m1)) * mean(centre, jnp.maximum(law.k22 - slope * law.k12, 0))


def _off(c: Array | float, mean: Array | None) -> Array | float:
    return c if mean is None else c - mean


def _safe_inverse(k: Array) -> Array:
    return jnp.where(k > 0, 1 / jnp.where(k > 0, k, 1), 0)


def _density(k: Array, x: Array | float) -> Array:
    """Density of N(0, k) at x; 0 where k = 0: a point mass at a jump has no derivative."""
    safe = jnp.where(k > 0, k, 1)
    return jnp.where(k > 0, jnp.exp(-0.5 * x * x / safe) / jnp.sqrt(2 * jnp.pi * safe), 0)


def _joint_density(law: Law, c: float, d: float) -> Array:
    """Density of (u, v) at (c, d); 0 where the law is degenerate (|ρ| = 1, up to rounding)."""
    x = _off(c, law.m1)
    slope = law.k12 * _safe_inverse(law.k11)
    rest = law.k22 - slope * law.k12
    rest = jnp.where(rest > 8 * jnp.finfo(rest.dtype).eps * law.k22, rest, 0)
    return _density(law.k11, x) * _density(rest, _off(d, law.m2) - slope * x)
