"""E[∂Z^y/∂Ẑ^{Wx}]: what a product with W leaves in a later product with its transpose.

By Gaussian integration by parts it is E[Z^y g*] for a Gaussian g* that has covariance one with Ẑ^{Wx} and none with
anything else, a *probe*. So the recursion finds it as it finds every second moment, through sums, images, products of
independent factors and functions of several Gaussians (Tensor Programs III, Remark 2.12).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from jax import Array

from widelimit import program as tp
from widelimit.limit._positions import FusionError
from widelimit.limit._request import Request, complete, same_positions
from widelimit.limit._weights import with_independent

if TYPE_CHECKING:
    from widelimit.limit._fuse import Fused


@dataclasses.dataclass(frozen=True, eq=False)
class Probe(tp.Value):
    """The Gaussian g* whose only covariance is one with `of`, at equal positions."""

    of: tp.MatMul


def slope(recursion: Any, x: tp.Slope, side: int) -> Array:
    """σ_W² E[∂Z^of/∂Ẑ^by] at one input: it belongs to one copy of the weights and does not move with their covariance."""
    probe = tp.once(x.by, "probe", lambda: Probe(x.by.shape, x.by.where, x.by))
    r = complete(x.of, probe, (side, side))
    value = recursion.second(r.replace(match=same_positions(probe)) if x.matched else r)
    if value is None:
        return jnp.zeros(x.shape, recursion.dtype)
    return jnp.broadcast_to(value * (recursion.variances[x.by.weight.path] * x.factor), x.shape)


def probed(recursion: Any, r: Request) -> Array | None:
    """Cov(Ẑ^u, g*): one with its own product at equal positions, zero with all others."""
    if r.u is not r.v.of:
        return None
    axes = range(len(r.u.shape))
    return with_independent(jnp.ones((1,) * len(r.shape), recursion.dtype), r, zip(axes, axes, strict=True))


def by_parts(recursion: Any, phi: Fused, r: Request) -> Array:
    """E[φ(u) g*] = Σ_i Cov(u_i, g*) E[∂_iφ(u)] (Stein)."""
    if phi.has_jumps:
        raise FusionError(
            f"at {r.u.where}: a discontinuous function between a matrix and its transpose: the derivative that the limit "
            "needs there includes the jumps, the one that backpropagation takes does not; there is no rule for that. Use a "
            "continuous function, or two parameters."
        )
    total = 0.0
    for i, base in enumerate(phi.bases):
        covariance = recursion.second(r.between(base, r.v, (0, 1), centred=True))
        if covariance is not None:
            total = total + covariance * recursion.expected_slope(phi, i, r)
    return jnp.broadcast_to(total, r.shape)
