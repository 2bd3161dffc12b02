"""The rule of MatMul and of initial vectors: Cov(Z^{Wh}, Z^{Wh'}) = σ_W² E[Z^h Z^h'], zero for different weights."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from widelimit import program as tp
from widelimit.limit._labels import free_axes
from widelimit.limit._request import Match, Request


class SharingError(ValueError):
    """Two uses of one parameter overlap in a way that has no rule."""


def split_for_weights(r: Request) -> frozenset[int]:
    """Axes of v under a window that are matched with another axis than their own, or with another window."""
    kept_u, kept_v = _kept(r.u), _kept(r.v)

    def fits(j: int, i: int) -> bool:
        if (i < len(kept_u)) != (j < len(kept_v)):
            return False
        return (i == j and _window(r.u, i) == _window(r.v, j)) or (_window(r.u, i).trivial and _window(r.v, j).trivial)

    return frozenset(j for j, i in enumerate(r.match) if i is not None and not fits(j, i))


def _kept(g: tp.MatMul) -> list[int]:
    return [i for i in range(len(g.h.shape)) if i not in g.contracted]


def _window(g: tp.MatMul, axis: int) -> tp.Window:
    return g.windows[axis] if axis < len(g.windows) else tp.Window(1)


def through_weight(recursion: Any, r: Request) -> Array | None:
    """c_W · amplitudes · Σ over contracted axes and taps of E[Z^h Z^h'], with δ between independent matrices."""
    u, v = r.u, r.v
    if not shares(u.weight, v.weight):
        return None
    k = _sources(recursion, r)
    if k is None:
        return None
    k = _slide(k, r)
    k = k * (recursion.covariance(u.weight.path, r.sides) * u.weight.amplitude * v.weight.amplitude)
    return _with_independent(_new_axes(k, r), r, zip(u.independent, v.independent, strict=True))


def through_vector(recursion: Any, r: Request) -> Array | None:
    """c_b · amplitudes, with δ along every axis: the entries are independent."""
    u, v = r.u, r.v
    if not shares(u.weight, v.weight):
        return None
    covariance = recursion.covariance(u.weight.path, r.sides) * u.weight.amplitude * v.weight.amplitude
    value = jnp.asarray(covariance, recursion.dtype)
    axes = zip(range(len(u.shape)), range(len(v.shape)), strict=True)
    return _with_independent(value.reshape((1,) * len(r.shape)), r, axes)


def _sources(recursion: Any, r: Request) -> Array | None:
    """Σ over the contracted axes of K(h, h'): axes kept of u, then those of v that are not matched."""
    u, v = r.u, r.v
    match = _source_match(r)
    if isinstance(u.h, tp.Given) and isinstance(v.h, tp.Given):
        return _data_product(recursion, r, match)
    k = recursion.second(Request(u.h, v.h, r.sides, match))
    return None if k is None else k.sum(u.contracted)


def _source_match(r: Request) -> Match:
    kept_u, kept_v = _kept(r.u), _kept(r.v)
    match: list[int | None] = [None] * len(r.v.h.shape)
    for i, j in zip(r.u.contracted, r.v.contracted, strict=True):
        match[j] = i
    for j, axis in enumerate(kept_v):
        if r.match[j] is not None:
            match[axis] = kept_u[r.match[j]]
    return tuple(match)


def _data_product(recursion: Any, r: Request, match: Match) -> Array:
    """Known arrays are multiplied and summed at once, as a matrix product."""
    u, v = r.u, r.v
    a, b = (jnp.broadcast_to(recursion.known(g.h.known, s), g.h.shape) for g, s in zip((u, v), r.sides, strict=True))
    rank = len(u.h.shape)
    labels_b = [rank + i if m is None else m for i, m in enumerate(match)]
    result = [*_kept(u), *(rank + i for i in free_axes(match))]
    return jnp.einsum(a, list(range(rank)), b, labels_b, result)


def _slide(k: Array, r: Request) -> Array:
    """Σ over the taps: both sides read at the same tap."""
    kept_u, kept_v = _kept(r.u), _kept(r.v)
    free = [j for j in range(len(kept_v)) if r.match[j] is None]
    for axis in range(len(kept_u)):
        window = _window(r.u, axis)
        if window.trivial:
            continue
        if window != _window(r.v, axis):
            raise SharingError(
                f"at {r.u.where}: one filter is used with different strides, dilations or paddings; there is no rule "
                "for the covariance between them"
            )
        k = window.sum(k, axis) if r.match[axis] is not None else window.sum(k, axis, len(kept_u) + free.index(axis))
    return k


def _new_axes(k: Array, r: Request) -> Array:
    """Room for axes that only number matrices."""
    kept_u, kept_v = len(_kept(r.u)), len(_kept(r.v))
    fresh = len(r.u.shape) - kept_u
    last = len([j for j in free_axes(r.match) if j >= kept_v])
    return k.reshape(*k.shape[:kept_u], *[1] * fresh, *k.shape[kept_u:], *[1] * last)


def _with_independent(k: Array, r: Request, pairs: Any) -> Array:
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
    if a.path != b.path:
        return False
    if a.same_entries(b):
        return True
    for x, y in zip(a.block, b.block, strict=False):
        if x == y:
            continue
        if x[:-1] == y[:-1] and _disjoint(x[-1], y[-1]):
            return False
        break
    raise SharingError(
        f"the parameter {a.path!r} is used twice with blocks that overlap in part; slice it in the same way at each use"
    )


def _disjoint(a: Any, b: Any) -> bool:
    (start_a, limit_a, stride_a), (start_b, limit_b, stride_b) = a, b
    apart = all(x <= y for x, y in zip(limit_a, start_b, strict=True)) or all(
        x <= y for x, y in zip(limit_b, start_a, strict=True)
    )
    interleaved = stride_a == stride_b and all((x - y) % stride_a for x, y in zip(start_a, start_b, strict=True))
    return apart or interleaved
