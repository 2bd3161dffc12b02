"""The rule of MatMul and of initial vectors: Cov(Z^{Wh}, Z^{Wh'}) = σ_W² E[Z^h Z^h'], zero for different weights."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from jax import Array

from widelimit import program as tp
from widelimit.limit._labels import free_axes, into, right_into
from widelimit.limit._near import SHORT, along_last
from widelimit.limit._request import Match, Request


class SharingError(ValueError):
    """Two uses of one parameter overlap in a way that has no rule."""


def split_for_weights(r: Request) -> frozenset[int]:
    """Axes of v under a window that are matched with another axis than their own, or with another window."""
    kept_u, kept_v = kept(r.u), kept(r.v)

    def fits(j: int, i: int) -> bool:
        if (i < len(kept_u)) != (j < len(kept_v)):
            return False
        return (i == j and _window(r.u, i) == _window(r.v, j)) or (_window(r.u, i).trivial and _window(r.v, j).trivial)

    return frozenset(j for j, i in enumerate(r.match) if i is not None and not fits(j, i))


def kept(g: tp.MatMul | tp.Depthwise) -> list[int]:
    return [i for i in range(len(g.h.shape)) if i not in g.contracted]


def _window(g: tp.MatMul | tp.Depthwise, axis: int) -> tp.Window:
    return g.windows[axis] if axis < len(g.windows) else tp.Window(1)


def through_weight(recursion: Any, r: Request) -> Array | None:
    """c_W · amplitudes · Σ over contracted axes and taps of E[Z^h Z^h'], with δ between independent matrices."""
    u, v = r.u, r.v
    if not shares(u.weight, v.weight):
        return None
    k = contracted(recursion, r)
    if k is None:
        return None
    k = slide(k, r)
    k = k * (recursion.covariance(u.weight.path, r.sides) * u.weight.amplitude * v.weight.amplitude)
    return with_independent(new_axes(k, r), r, zip(u.independent, v.independent, strict=True))


def through_vector(recursion: Any, r: Request) -> Array | None:
    """c_b · amplitudes, with δ along every axis: the entries are independent."""
    u, v = r.u, r.v
    if not shares(u.weight, v.weight):
        return None
    covariance = recursion.covariance(u.weight.path, r.sides) * u.weight.amplitude * v.weight.amplitude
    value = jnp.asarray(covariance, recursion.dtype)
    axes = zip(range(len(u.shape)), range(len(v.shape)), strict=True)
    return with_independent(value.reshape((1,) * len(r.shape)), r, axes)


def contracted(recursion: Any, r: Request) -> Array | None:
    """Σ over the contracted axes of K(h, h'): axes kept of u, then those of v that are not matched."""
    if isinstance(r.u.h, tp.Given) and isinstance(r.v.h, tp.Given):
        return recursion.data_product(r)
    k = recursion.second(source_request(r))
    return None if k is None else k.sum(r.u.contracted)


def source_request(r: Request) -> Request:
    """K(h, h') at the positions that K(W h, W h') needs."""
    return Request(r.u.h, r.v.h, r.sides, _source_match(r))


def _source_match(r: Request) -> Match:
    kept_u, kept_v = kept(r.u), kept(r.v)
    match: list[int | None] = [None] * len(r.v.h.shape)
    for i, j in zip(r.u.contracted, r.v.contracted, strict=True):
        match[j] = i
    for j, axis in enumerate(kept_v):
        if r.match[j] is not None:
            match[axis] = kept_u[r.match[j]]
    return tuple(match)


def data_product(recursion: Any, r: Request) -> Array:
    """Known arrays are multiplied and summed at once, as a matrix product; of short vectors at many positions elementwise.

    The positions would be the batch of a matrix product, and the outermost axes of its result.
    """
    u, v, match = r.u, r.v, _source_match(r)
    a, b = (jnp.broadcast_to(recursion.known(g.h.known, s), g.h.shape) for g, s in zip((u, v), r.sides, strict=True))
    if math.prod(u.h.shape[i] for i in u.contracted) <= SHORT and any(match[j] is not None for j in kept(v)):
        q = source_request(r)
        return along_last(jnp.multiply, *(vectors(x, u.contracted) for x in (into(a, q), right_into(b, q))))
    rank = len(u.h.shape)
    labels_b = [rank + i if m is None else m for i, m in enumerate(match)]
    result = [*kept(u), *(rank + i for i in free_axes(match))]
    return jnp.einsum(a, list(range(rank)), b, labels_b, result)


def vectors(a: Array, contracted: tuple[int, ...]) -> Array:
    """The contracted axes as one, at the end."""
    a = jnp.moveaxis(a, contracted, range(a.ndim - len(contracted), a.ndim))
    return a.reshape(*a.shape[: a.ndim - len(contracted)], -1)


def slide(k: Array, r: Request) -> Array:
    """Σ over the taps: both sides read at the same tap."""
    return tp.sum_of_taps(k, taps(r))


def taps(r: Request) -> list[tuple[tp.Window, tuple[int, ...]]]:
    """Each window, with the axes of K(h, h') that it slides along: one where both sides are matched, else one a side."""
    kept_u, kept_v = kept(r.u), kept(r.v)
    free = [j for j in range(len(kept_v)) if r.match[j] is None]
    found: list[tuple[tp.Window, tuple[int, ...]]] = []
    for axis in range(len(kept_u)):
        window = _window(r.u, axis)
        if window.trivial:
            continue
        if window != _window(r.v, axis):
            raise SharingError(
                f"at {r.u.where}: one filter is used with different strides, dilations or paddings; there is no rule "
                "for the covariance between them"
            )
        found.append((window, (axis,) if r.match[axis] is not None else (axis, len(kept_u) + free.index(axis))))
    return found


def new_axes(k: Array, r: Request) -> Array:
    """Room for axes that only number matrices."""
    kept_u, kept_v = len(kept(r.u)), len(kept(r.v))
    fresh = len(r.u.shape) - kept_u
    last = len([j for j in free_axes(r.match) if j >= kept_v])
    return k.reshape(*k.shape[:kept_u], *[1] * fresh, *k.shape[kept_u:], *[1] * last)


def with_independent(k: Array, r: Request, pairs: Any) -> Array:
    """δ between the positions of independent matrices."""
    rank, free = len(r.u.shape), free_axes(r.match)
    for i, j in pairs:
        other = rank + free.index(j) if r.match[j] is None else r.match[j]
        if other != i:
            shape = [1] * len(r.shape)
            shape[i] = shape[other] = r.u.shape[i]
            k = k * jnp.eye(r.u.shape[i], dtype=k.dtype).reshape(shape)
    return jnp.broadcast_to(k, r.shape)


def shares(a: tp.Weight, b: tp.Weight) -> bool:
    """Whether two uses read the same entries (True) or independent ones (False)."""
    if a.has_other_entries(b):
        return False
    if a.same_entries(b):
        return True
    if a.contracted != b.contracted:  # W and Wᵀ: what they have in common is the part Ż, a term of its own
        return False
    raise SharingError(
        f"the parameter {a.path!r} is used twice with blocks that overlap in part; slice it in the same way at each use"
    )
