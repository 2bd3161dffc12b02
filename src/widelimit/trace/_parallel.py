"""Products of two random vectors in parallel along the width: attention, head by head, where the heads are many.

With coordinates (i, j), heads i along the width and j inside a head, a product is Σ_j a_ij b_ij for every i: random, and
iid along the heads. Over a fixed number of coordinates it is a Nonlin of them all. Over a number that grows it is, to
first order, Gaussian where its mean is zero (a `Fluctuation`, of order √m), and a Moment, the same in every head, where not.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from widelimit import program as tp
from widelimit.trace._abstract import Axis, Det, Wide, finite_axes
from widelimit.trace._layout import align, check_whole_sum, permuted, remap, unfold
from widelimit.trace._pointwise import multiply, times
from widelimit.trace._structural import add_dim
from widelimit.trace._widths import fan_in


def is_parallel(x: Wide, batch: tuple[int, ...]) -> bool:
    """Whether a product runs in parallel along the width."""
    return any(a.copies and a.wide for d in batch for a in x.layout[d])


def parallel_product(a: Wide, b: Wide, dims: Any, where: str) -> Wide | Det:
    """Σ over the contracted dimensions of the products, coordinate by coordinate along the parallel ones."""
    a, b = (_numbered(x, dims.contract[side], where) for side, x in enumerate((a, b)))
    batch, count = len(dims.batch[0]), len(dims.contract[0])
    free = [dims.free(side, len(x.layout)) for side, x in enumerate((a, b))]
    a = permuted(a, [*dims.batch[0], *dims.contract[0], *free[0]], where)
    b = permuted(b, [*dims.batch[1], *dims.contract[1], *free[1]], where)
    for _ in free[1]:
        a = add_dim(a, len(a.layout), 0)
    for _ in free[0]:
        b = add_dim(b, batch + count, 0)
    (a, b), layout = align([a, b], where)
    h = multiply(a, b, layout, where)
    inside = tuple(range(batch, batch + count))
    copies = [axis for d in inside for axis in layout[d] if axis.copies]
    check_whole_sum(h, inside, where)
    h = _over_positions(h, inside)
    return _over_copies(h, (a.value, b.value), copies) if copies else h


def _numbered(x: Wide, dims: tuple[int, ...], where: str) -> Wide:
    """The same value with the replicas along some dimensions numbered."""
    for d in dims:
        for position, axis in enumerate(x.layout[d]):
            x = unfold(x, d, position, where) if axis.copies and not axis.wide else x
    return x


def _over_positions(h: Wide, dims: tuple[int, ...]) -> Wide:
    """Σ over the positions of some dimensions, which are dropped; their copies become those of the first axis."""
    gone = [i for d in dims for i in finite_axes(h.layout, d)]
    kept = [i for d in range(len(h.layout)) for i in finite_axes(h.layout, d) if i not in gone]
    maps = [*(tp.keep(i, n) for n, i in enumerate(kept)), *map(tp.summed, gone)]
    return remap(h, maps, tuple(dim for d, dim in enumerate(h.layout) if d not in dims))


def _over_copies(h: Wide, factors: tuple[tp.Value, tp.Value], copies: list[Axis]) -> Wide | Det:
    """Σ over m coordinates inside each head: √m times a Gaussian, or m times a mean."""
    fan = fan_in(copies)
    if tp.independent(*factors) and any(f.is_centred for f in factors):
        value = tp.Fluctuation(h.value.shape, h.value.where, h.value)
        sum_ = Wide(value, h.layout, h.exponent + fan.exponent / 2)
        return times(sum_, fan.coefficient**0.5)
    shape = h.value.shape
    moment = tp.apply(
        lambda a: jnp.asarray(a) * fan.coefficient, shape, tp.Moment(shape, h.value, where=h.value.where), name="sum"
    )
    return Det(moment, h.layout, h.exponent + fan.exponent)
