"""Linear maps on positions, and when equal positions of images are images of equal positions.

diag(A K Aᵀ) needs only diag K where A is a selection (each output reads at most one input): slices, shifts,
reshapes. So a network that ends in flatten + dense asks for equal positions all the way down.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array

from widelimit import program as tp
from widelimit.limit._labels import free_axes
from widelimit.limit._request import Match, Request


def maps_of(value: tp.Value) -> tuple[tp.AxisMap, ...]:
    return value.maps if isinstance(value, tp.Image) else tuple(tp.keep(i, i) for i in range(len(value.shape)))


def source_of(value: tp.Value) -> tp.Value:
    return value.h if isinstance(value, tp.Image) else value


def _group(maps: tuple[tp.AxisMap, ...], output: int) -> tp.AxisMap:
    return next(m for m in maps if output in m.outputs)


def _joint(a: tp.AxisMap, b: tp.AxisMap, match: Match) -> bool:
    """Whether both sides apply one selection to matched axes."""
    return (
        a.selection
        and a.key == b.key
        and a.matrix is b.matrix is None
        and len(a.outputs) == len(b.outputs)
        and all(match[j] == i for i, j in zip(a.outputs, b.outputs, strict=True))
    )


def split_for_maps(r: Request) -> frozenset[int]:
    """The axes of v that must be asked for at all positions before the maps can act."""
    of_u, of_v = maps_of(r.u), maps_of(r.v)
    split: set[int] = set()
    for j, i in enumerate(r.match):
        if i is None:
            continue
        a, b = _group(of_u, i), _group(of_v, j)
        if (a.is_identity and b.is_identity) or _joint(a, b, r.match):
            continue
        split |= {k for k, m in enumerate(r.match) if m is not None and (m in a.outputs or k in b.outputs)}
    return frozenset(split)


def through_maps(recursion: Any, r: Request) -> Array | None:
    """K of images: the maps of u act on its axes, those of v on its own; what both share acts once."""
    inner = sources(r)
    k = recursion.second(inner)
    return None if k is None else through_both(recursion, k, inner.match, r)


def through_both(recursion: Any, k: Array, match: Match, r: Request) -> Array:
    """The maps of both sides on an array over the sources' positions, matched as `match` says."""
    k = tp.apply_maps(k, maps_of(r.u), lambda m: recursion.known(m, r.sides[0]))
    return _apply_right(recursion, k, maps_of(r.v), match, r)


def sources(r: Request) -> Request:
    """What the images of a request are images of."""
    return r.replace(u=source_of(r.u), v=source_of(r.v), match=_inner_match(maps_of(r.u), maps_of(r.v), r))


def _inner_match(of_u: tuple[tp.AxisMap, ...], of_v: tuple[tp.AxisMap, ...], r: Request) -> Match:
    match: list[int | None] = [None] * len(source_of(r.v).shape)
    for b in of_v:
        matched = bool(b.outputs) and all(r.match[j] is not None for j in b.outputs)
        if not matched:
            continue
        a = _group(of_u, r.match[b.outputs[0]])
        for i, j in zip(a.inputs, b.inputs, strict=True):
            match[j] = i
    return tuple(match)


def _apply_right(recursion: Any, k: Array, of_v: tuple[tp.AxisMap, ...], match: Match, r: Request) -> Array:
    """Apply to the trailing axes the maps of v that are not shared."""
    sources, targets = free_axes(match), free_axes(r.match)
    own = [m for m in of_v if all(r.match[j] is None for j in m.outputs)]
    maps = tuple(
        dataclasses.replace(
            m, inputs=tuple(sources.index(i) for i in m.inputs), outputs=tuple(targets.index(o) for o in m.outputs)
        )
        for m in own
    )
    if tp.is_identity(maps):
        return k
    lead = len(r.u.shape)
    moved = jnp.moveaxis(k, range(lead, lead + len(sources)), range(len(sources)))
    moved = tp.apply_maps(moved, maps, lambda m: recursion.known(m, r.sides[1]))
    return jnp.moveaxis(moved, range(len(targets)), range(lead, lead + len(targets)))
