"""Rules for sums: over the width (a Moment) and over positions (a finite-linear image)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from widelimit import program as tp
from widelimit.trace._abstract import Axis, Det, Refusal, Wide, finite_axes, finite_shape
from widelimit.trace._coupled import couples, reduced
from widelimit.trace._exponents import note_read
from widelimit.trace._jaxpr import Step
from widelimit.trace._layout import check_whole_sum, on_axis, remap, single_axis, unfold
from widelimit.trace._place import place
from widelimit.trace._pointwise import nonlinearity, settled
from widelimit.trace._structural import remap_constant
from widelimit.trace._table import rule
from widelimit.trace._widths import fan_in


@rule("reduce_sum")
def reduce_sum(step: Step, x: Any) -> Any:
    return summed(place(x, None, step.where), tuple(step.params["axes"]), step.where)


@rule("psum")
def psum(step: Step, x: Any) -> Any:
    """A sum over an axis that `vmap` names (batch normalisation in Equinox) is a sum over positions."""
    if not all(isinstance(axis, int) for axis in step.params["axes"]) or step.params["axis_index_groups"] is not None:
        raise Refusal(f"at {step.where}: `psum` over devices; `apply` must be the network of one example on one device")
    return reduce_sum(step, x)


def summed(x: Det | Wide, dims: tuple[int, ...], where: str) -> Det | Wide:
    """Σ over dimensions: copies first, then positions."""
    x = _replicas_numbered(x, dims, where)
    copies = [a for d in dims for a in x.layout[d] if a.copies]
    check_whole_sum(x, dims if copies else (), where)
    x = _sum_copies(x, dims, copies, where) if copies else x
    maps, gone, kept = [], [], 0
    for d in range(len(x.layout)):
        for i in finite_axes(x.layout, d):
            if d in dims:
                gone.append(tp.summed(i))
            else:
                maps.append(tp.keep(i, kept))
                kept += 1
    return remap(x, [*maps, *gone], tuple(dim for d, dim in enumerate(x.layout) if d not in dims))


def _replicas_numbered(x: Det | Wide, dims: tuple[int, ...], where: str) -> Det | Wide:
    """A sum over a fixed number of independent coordinates (a group of channels, heads) is one over positions."""
    if isinstance(x, Det) or any(a.wide for d in dims for a in x.layout[d]):
        return x
    for d in dims:
        for i, axis in enumerate(x.layout[d]):
            x = unfold(x, d, i, where) if axis.copies else x
    return x


def _sum_copies(x: Det | Wide, dims: tuple[int, ...], copies: list[Axis], where: str) -> Det:
    """Σ_α over a wide axis: n times the mean, to leading order (a law of large numbers: Moment)."""
    note_read(x)
    layout = tuple(tuple(a for a in dim if not a.copies) if d in dims else dim for d, dim in enumerate(x.layout))
    fan = fan_in(copies)
    known = x.known if isinstance(x, Det) else _mean(x.value, where)
    if fan.coefficient != 1:
        known = tp.apply(lambda a: jnp.asarray(a) * fan.coefficient, known.shape, known, name=f"{fan.coefficient:.4g}·")
    return Det(known, layout, x.exponent + fan.exponent)


def _mean(value: tp.Value, where: str) -> tp.Known:
    """E Z: coordinates are iid along all wide axes, so that a mean over one of two is the same along the other."""
    if value.is_centred:
        return tp.constant(np.zeros(value.shape))
    if isinstance(value, tp.Product) and len(value.factors) == 2:
        a, b = value.factors
        return tp.Moment(value.shape, a, b, tuple(range(len(b.shape))), where)
    return tp.Moment(value.shape, value, where=where)


@rule(
    "reduce_max",
    "reduce_min",
    "reduce_prod",
    "reduce_and",
    "reduce_or",
    "reduce_xor",
    "argmax",
    "argmin",
    "sort",
    "top_k",
)
def reduce_nonlinear(step: Step, *operands: Any) -> Any:
    x = _settled(place(operands[0], None, step.where), step)
    if not isinstance(x, Wide):
        return known_reduction(step, x)
    if couples(step.name):
        return reduced(step, x)
    raise Refusal(
        f"at {step.where}: `{step.name}` of random values has no rule. Over the width it is no coordinatewise function (no Tensor "
        "Program has it); over positions `max`, `min`, `prod`, pooling and softmax are read."
    )


def _settled(x: Det | Wide, step: Step) -> Det | Wide:
    return settled(x, step.where) if isinstance(x, Wide) else x


def known_reduction(step: Step, x: Det) -> Det:
    """A reduction of what the example determines; a maximum over an axis in which it is constant drops the axis."""
    dims = tuple(step.params["axes"])
    if len(step.eqns[0].outvars) != 1 or step.name.startswith("arg"):
        raise Refusal(f"at {step.where}: `{step.name}` along a wide axis has no rule")
    if step.name == "reduce_prod" and any(a.copies for d in dims for a in x.layout[d]):
        raise Refusal(f"at {step.where}: a product along a constant or wide axis has no rule")
    at = tuple(i for d in dims for i in finite_axes(x.layout, d))
    op = {
        "reduce_max": jnp.max,
        "reduce_min": jnp.min,
        "reduce_prod": jnp.prod,
        "reduce_and": jnp.all,
        "reduce_or": jnp.any,
    }[step.name]
    layout = tuple(dim for d, dim in enumerate(x.layout) if d not in dims)
    out = nonlinearity(lambda a: op(jnp.asarray(a), axis=at), step.name, [x], layout, step.where)
    return dataclasses.replace(out, exponent=x.exponent)


@rule("cumsum")
def cumsum(step: Step, x: Any) -> Any:
    x = place(x, None, step.where)
    dim, reverse = int(step.params["axis"]), step.params["reverse"]
    if isinstance(x, Det) and any(a.copies and not a.wide for a in x.layout[dim]):
        x = remap_constant(x, dim)
    if any(a.copies for a in x.layout[dim]):
        raise Refusal(f"at {step.where}: a cumulative sum over iid coordinates is no coordinatewise function")
    x = single_axis(x, dim, step.where)
    make = _cumulative(reverse)
    return remap(x, on_axis(x, finite_axes(x.layout, dim)[0], make), x.layout) if x.layout[dim] else x


def _cumulative(reverse: bool) -> Callable[[int, int], tp.AxisMap]:
    def fn(a: Any) -> Any:
        return jnp.flip(jnp.cumsum(jnp.flip(a, 0), 0), 0) if reverse else jnp.cumsum(a, 0)

    return lambda i, o: tp.AxisMap((i,), (o,), ("cumsum", reverse), fn, selection=False)


@rule("reduce_window_sum")
def reduce_window_sum(step: Step, x: Any) -> Any:
    x = place(x, None, step.where)
    p = step.params
    rows = zip(
        p["window_dimensions"], p["window_strides"], p["padding"], p["base_dilation"], p["window_dilation"], strict=True
    )
    for dim, (size, stride, (low, high), base, dilation) in enumerate(rows):
        window = tp.Window(*map(int, (size, stride, low, high, dilation, base)))
        if not window.trivial:
            x = pooled_dim(x, dim, window, step.where)
    return x


def pooled_dim(x: Det | Wide, dim: int, window: tp.Window, where: str) -> Det | Wide:
    if isinstance(x, Det) and any(a.copies and not a.wide for a in x.layout[dim]):
        x = remap_constant(x, dim)
    if not x.layout[dim] or any(a.copies for a in x.layout[dim]):
        raise Refusal(f"at {where}: a window that slides over iid coordinates (or over a single position) has no rule")
    x = single_axis(x, dim, where)
    sizes = tuple(window.length(s) for s in x.layout[dim][0].sizes)
    layout = (*x.layout[:dim], (Axis(sizes, False),), *x.layout[dim + 1 :])
    x = remap(x, on_axis(x, finite_axes(x.layout, dim)[0], lambda i, o: tp.pooled(i, o, window)), layout)
    return without_unit_axes(x)


def without_unit_axes(x: Det | Wide) -> Det | Wide:
    """Drop finite axes of a single position."""
    shape = finite_shape(x.layout)
    if 1 not in shape:
        return x
    kept = [i for i, n in enumerate(shape) if n != 1]
    maps = [tp.keep(i, kept.index(i)) for i in kept] + [tp.taken(i, None, 0, 1) for i, n in enumerate(shape) if n == 1]
    layout = tuple(tuple(a for a in dim if a.copies or a.size != 1) for dim in x.layout)
    return remap(x, maps, layout)
