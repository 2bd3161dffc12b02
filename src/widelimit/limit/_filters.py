"""Depthwise convolutions, g = Σ_κ w_κ ⊙ h_{·+κ}: sums of products of independent vectors.

Where neither argument contains the filter, E[Z^g Z^g'] = c_w Σ_κ E[Z^h_{p+κ} Z^h'_{p'+κ}], as for a MatMul, and E[Z^g Z^v] = 0
for every v without it. All else follows from the sum of products written out.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from jax import Array

from widelimit import program as tp
from widelimit.limit._labels import into, right_into
from widelimit.limit._request import Request
from widelimit.limit._weights import kept, split_for_weights, through_weight


def has_filter(value: tp.Value) -> bool:
    """Whether a depthwise convolution stands in a value, coordinate by coordinate."""
    made = vars(value)
    if "_has_filter" not in made:
        inside = () if isinstance(value, tp.MatMul) else value.parts
        made["_has_filter"] = isinstance(value, tp.Depthwise) or any(map(has_filter, inside))
    return made["_has_filter"]


def linear_in_filters(value: tp.Value) -> bool:
    """Whether its moments follow from those of what it is a linear image of."""
    return has_filter(value) and not isinstance(value, tp.Pointwise | tp.Product)


def split_for_filters(r: Request) -> frozenset[int]:
    return split_for_weights(r) if separate(r) else frozenset()


def separate(r: Request) -> bool:
    """Whether both are filters of arguments that contain neither of them."""
    if not (isinstance(r.u, tp.Depthwise) and isinstance(r.v, tp.Depthwise)):
        return False
    return all(g.is_apart_from(h) for g in (r.u, r.v) for h in (r.u.h, r.v.h))


def through_filter(recursion: Any, r: Request) -> Array | None:
    if separate(r):
        return through_weight(recursion, r)
    for g, other in ((r.u, r.v), (r.v, r.u)):
        if isinstance(g, tp.Depthwise) and g.is_centred and g.is_apart_from(other):
            return None
    if isinstance(r.u, tp.Depthwise) and isinstance(r.v, tp.Depthwise):
        return recursion.second(r.replace(u=written_out(r.u), v=written_out(r.v)))
    return recursion.product((r.u,), (r.v,), r)


def moment_of(recursion: Any, left: list[tp.Value], right: list[tp.Value], r: Request) -> Array | None:
    """E[u v], E[u] or E[v] of a group of factors that are linear in filters."""
    if left and right:
        return recursion.second(r.replace(u=left[0], v=right[0], centred=False))
    if left:
        return into(recursion.mean(left[0], r.sides[0]), r)
    return right_into(recursion.mean(right[0], r.sides[1]), r)


def written_out(g: tp.Depthwise) -> tp.Value:
    """The sum of products, tap by tap."""
    made = vars(g)
    if "_written_out" not in made:
        made["_written_out"] = _sum(g)
    return made["_written_out"]


def _sum(g: tp.Depthwise) -> tp.Value:
    axes = kept(g)
    windows = [*g.windows, *[tp.Window(1)] * (len(axes) - len(g.windows))]
    taps = [w.reads(g.h.shape[i]) for w, i in zip(windows, axes, strict=True)]
    summed = [range(g.h.shape[i]) for i in g.contracted]
    vectors = itertools.product(itertools.product(*taps), itertools.product(*summed))
    terms = tuple(
        tp.Product(g.shape, g.where, (_vector(g, number), _shifted(g, axes, rows, at)))
        for number, (rows, at) in enumerate(vectors)
    )
    return terms[0] if len(terms) == 1 else tp.Sum(g.shape, g.where, terms)


def _vector(g: tp.Depthwise, number: int) -> tp.Value:
    """The filter at one tap: one vector for all positions that share it."""
    block = (*g.weight.block, ("taps", ((number,), (number + 1,), 1)))  # lies apart from those of the other taps
    vector = tp.Vector(tuple(g.shape[i] for i in g.independent), g.where, dataclasses.replace(g.weight, block=block))
    own = (tp.keep(n, i) for n, i in enumerate(g.independent))
    return tp.image(
        vector, (*own, *(tp.spread(i, n) for i, n in enumerate(g.shape) if i not in g.independent)), g.shape
    )


def _shifted(g: tp.Depthwise, axes: list[int], rows: tuple[tuple[int, ...], ...], at: tuple[int, ...]) -> tp.Value:
    """What one tap reads of the argument."""
    size = g.h.shape
    maps = [tp.taken(i, None, k, k + 1) for i, k in zip(g.contracted, at, strict=True)]
    for target, (axis, row) in enumerate(zip(axes, rows, strict=True)):
        whole = row == tuple(range(size[axis]))
        maps.append(tp.keep(axis, target) if whole else tp.read((axis,), (target,), ((size[axis],), (len(row),)), row))
    fresh = [tp.spread(i, g.shape[i]) for i in range(len(axes), len(g.shape))]
    return tp.image(g.h, (*sorted(maps, key=lambda m: m.inputs), *fresh), g.shape)
