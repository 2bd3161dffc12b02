"""Squared distances of the inputs, each with all its digits.

|a|² + |b|² − 2 a·b costs nothing beside the products that a kernel needs anyway, and is as good as the differences
themselves but for near pairs. So those, which a tile of a Gram matrix has few of or none, are computed again. The choice
is made a whole tile at a time, after every `vmap`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from widelimit import gaussian

NEAR = 1 / 16  # a squared distance below this part of |a|² + |b|² is computed from the differences
SHORT = 32  # numbers in a vector, up to which the differences are taken at once
FEW = 8
ROUNDS = 8  # near pairs in a row that are looked up one by one; where there are more, all are computed


def squared_distances(a: Array, b: Array, products: Callable[[], tuple[Array, Array, Array]]) -> Array:
    """|a − b|² along the last axis, exactly 0 for equal vectors.

    Args:
        a: vectors, in axes that broadcast with those of `b`.
        b: vectors.
        products: gives (|a|², a·b, |b|²), broadcastable without that axis, where they are needed.
    """
    if a.shape[-1] <= SHORT:
        return _directly(a, b)
    return _chosen(*gaussian.aligned(*(p[..., None] for p in products()), a, b))


@jax.jit
def _directly(a: Array, b: Array) -> Array:
    return along_last(lambda a, b: (a - b) ** 2, a, b)


def along_last(f: Callable[[Array, Array], Array], a: Array, b: Array) -> Array:
    """Σ f(aᵢ, bᵢ) along the last axis; written out where it is very short, so that no array of all pairs has that axis."""
    if a.shape[-1] > FEW:
        return jnp.sum(f(a, b), -1)
    return functools.reduce(jnp.add, (f(a[..., i], b[..., i]) for i in range(a.shape[-1])))


@gaussian.after_vmap
def _chosen(k11: Array, c: Array, k22: Array, a: Array, b: Array) -> Array:
    shape = jnp.broadcast_shapes(a.shape, b.shape)[:-1]
    if math.prod(shape) * a.shape[-1] <= 4 * max(a.size, b.size):  # each vector is in a few pairs only
        return jnp.broadcast_to(_directly(a, b), c.shape[:-1])
    k11, c, k22 = k11[..., 0], c[..., 0], k22[..., 0]
    excess = jnp.max(2 * c - (1 - NEAR) * (k11 + k22))
    return lax.cond(excess > 0, functools.partial(_renewed, a, b), _by_products, k11, c, k22)


def _by_products(k11: Array, c: Array, k22: Array) -> Array:
    return jnp.maximum(k11 + k22 - 2 * c, 0)


def _renewed(a: Array, b: Array, k11: Array, c: Array, k22: Array) -> Array:
    """The near ones again: row by row the last one that is left, for all rows at once; or all, where a row has many."""
    distances = _by_products(k11, c, k22)
    near = distances < NEAR * (k11 + k22)
    axis = max((i for i in range(near.ndim) if a.shape[i] == 1), key=lambda i: b.shape[i])
    many = jnp.max(jnp.sum(near, axis)) > ROUNDS
    return lax.cond(
        many,
        lambda: jnp.where(near, _directly(a, b), distances),
        lambda: _looked_up(a, b, distances, near, axis),
    )


def _looked_up(a: Array, b: Array, distances: Array, near: Array, axis: int) -> Array:
    column = lax.broadcasted_iota(jnp.int32, near.shape, axis)

    def before(last: Array | int) -> Array:
        return jnp.max(jnp.where(near & (column < last), column, -1), axis, keepdims=True)

    def renew(state: tuple[Array, Array]) -> tuple[Array, Array]:
        distances, at = state
        other = jnp.take_along_axis(b, jnp.maximum(at, 0)[..., None], axis)
        return jnp.where(column == at, _directly(a, other), distances), before(at)

    start = distances, before(near.shape[axis])
    return lax.while_loop(lambda state: jnp.any(state[1] >= 0), renew, start)[0]
