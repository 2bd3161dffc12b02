"""What a MatMul reads: for each of its positions the entries of h that meet the entries of W, tap by tap.

g_s = Σ_k W_k h_{s,k}: k runs over the taps of its windows and its contracted axes, in each of which W differs. The
positions s are (independent, others): along the independent ones the matrices differ too.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from widelimit import program as tp

Use = tp.MatMul | tp.Vector | tp.Fluctuation  # what is drawn


def kept(g: tp.MatMul | tp.Depthwise) -> list[int]:
    return [i for i in range(len(g.h.shape)) if i not in g.contracted]


def counts(g: Use) -> tuple[int, int]:
    """The numbers of independent and of other positions."""
    independent = math.prod(g.shape[i] for i in _independent(g))
    return independent, math.prod(g.shape) // max(1, independent)


def entries_met(g: tp.MatMul | tp.Fluctuation) -> int:
    """How many entries of W meet one position of g."""
    if isinstance(g, tp.Fluctuation):
        return 1
    return math.prod(g.h.shape[i] for i in g.contracted) * math.prod(w.size for w in g.windows)


def tapped(g: tp.MatMul | tp.Fluctuation, h: Array) -> Array:
    """h_{s,k} as (…, independent, others, k) from h as (…, *positions)."""
    lead = h.ndim - len(g.h.shape)
    return _over(lambda a: _tapped(g, a), lead)(h)


def _tapped(g: tp.MatMul | tp.Fluctuation, h: Array) -> Array:
    return h.reshape(1, -1, 1) if isinstance(g, tp.Fluctuation) else by_position(g, patches(g, h))


def patches(g: tp.MatMul | tp.Depthwise, h: Array) -> Array:
    """h_{s,k} as (*positions, k)."""
    axes = kept(g)
    a = jnp.transpose(h, [*axes, *g.contracted])
    a = a.reshape(*a.shape[: len(axes)], -1)
    for axis, window in enumerate(g.windows):
        a = a if window.trivial else _slid(a, axis, window)
    return _with_new_axes(g, a.reshape(*a.shape[: len(axes)], -1))


def _slid(a: Array, axis: int, window: tp.Window) -> Array:
    length = window.length(a.shape[axis])
    a = window.pad(a, axis)
    return jnp.stack([window.tap(a, axis, k, length) for k in range(window.size)], -1)


def _with_new_axes(g: tp.MatMul | tp.Depthwise, a: Array) -> Array:
    """Axes of g that only number matrices: h repeats along them."""
    fresh = len(g.shape) - (a.ndim - 1)
    a = a.reshape(*a.shape[:-1], *[1] * fresh, a.shape[-1])
    return jnp.broadcast_to(a, (*g.shape, a.shape[-1]))


def by_position(g: tp.MatMul | tp.Depthwise, a: Array) -> Array:
    """(*positions, k) as (independent, others, k)."""
    return jnp.transpose(a, [*_order(g), a.ndim - 1]).reshape(*counts(g), a.shape[-1])


def positions(g: Use, a: Array) -> Array:
    """(…, independent, others) as (…, *positions)."""
    lead, order = a.ndim - 2, _order(g)
    a = a.reshape(*a.shape[:lead], *(g.shape[i] for i in order))
    return jnp.transpose(a, [*range(lead), *(lead + order.index(i) for i in range(len(order)))])


def flattened(g: Use, a: Array) -> Array:
    """(…, *positions) as (…, independent, others)."""
    lead = a.ndim - len(g.shape)
    a = jnp.transpose(a, [*range(lead), *(lead + i for i in _order(g))])
    return a.reshape(*a.shape[:lead], *counts(g))


def spread_back(g: tp.MatMul | tp.Fluctuation, cotangent: Array) -> Array:
    """The transpose of `tapped`."""
    lead = cotangent.ndim - 3
    shape = jax.ShapeDtypeStruct(g.h.shape, cotangent.dtype)
    transpose = jax.linear_transpose(lambda h: _tapped(g, h), shape)
    return _over(lambda c: transpose(c)[0], lead)(cotangent)


def _order(g: Use) -> list[int]:
    independent = _independent(g)
    return [*independent, *(i for i in range(len(g.shape)) if i not in independent)]


def _independent(g: Use) -> tuple[int, ...]:
    """The entries of an initial vector are independent at all positions."""
    if isinstance(g, tp.Vector):
        return tuple(range(len(g.shape)))
    return g.independent if isinstance(g, tp.MatMul) else ()


def _over(fn: Callable[[Array], Array], lead: int) -> Callable[[Array], Array]:
    for _ in range(lead):
        fn = jax.vmap(fn)
    return fn
