"""Turning numbers and parameters into deterministic and wide values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from widelimit import program as tp
from widelimit.trace._abstract import (
    Axis,
    Concrete,
    Det,
    Layout,
    Leaf,
    Refusal,
    Segmented,
    Wide,
    axes,
    dims,
    finite_shape,
)
from widelimit.trace._exponents import noted
from widelimit.trace._scale import Scale, fit
from widelimit.trace._widths import traced_widths


def zeros(layout_like: Layout) -> Det:
    """The deterministic zero: constant along everything."""
    layout = tuple(tuple(Axis(a.sizes, True) for a in dim) for dim in layout_like)
    return Det(tp.constant(np.zeros(())), layout)


def as_det(x: Concrete, where: str) -> Det:
    """Numbers as a deterministic value: constant along wide axes, c · n^a elsewhere."""
    values, layout = [np.asarray(v) for v in x.values], []
    kept = 0
    for sizes in dims(x.shapes):
        if set(sizes) == {1}:
            values = [np.squeeze(v, kept) for v in values]
            layout.append(())
            continue
        repeats = all(
            np.array_equal(v, np.broadcast_to(v.take([0], kept), v.shape), equal_nan=_inexact(v)) for v in values
        )
        axis = Axis(sizes, repeats)
        if axis.wide and not repeats:
            raise Refusal(
                f"at {where}: a constant array of shape {values[0].shape} varies along an axis that grows with the width; "
                "its coordinates are not iid, so it has no place in the limit. Make it a parameter drawn in `init`."
            )
        if repeats:
            values = [np.asarray(v.take(0, kept)) for v in values]
        kept += not repeats
        layout.append((axis,))
    coefficient, exponent = _power(values, where)
    return Det(tp.constant(coefficient), tuple(layout), exponent)


def profile(x: Concrete, where: str) -> Wide | None:
    """Numbers that vary along the width, the last axis, in step with it: positional codes, rotary angles."""
    sizes = dims(x.shapes)
    if not sizes or len(set(sizes[-1])) == 1 or any(len(set(s)) > 1 for s in sizes[:-1]) or not _inexact(x.values[0]):
        return None
    arrays = [np.asarray(v, np.float64).reshape(*(n for n in v.shape[:-1] if n != 1), v.shape[-1]) for v in x.values]
    if not all(np.isfinite(a).all() for a in arrays) or all(np.all(a == a[..., :1]) for a in arrays):
        return None
    value = tp.Profile(arrays[0].shape[:-1], where, tuple(arrays))
    if not _settles([np.mean(a * a, -1, keepdims=True) for a in arrays], value):
        return None
    layout = tuple(() if set(s) == {1} else (Axis(s, False),) for s in sizes[:-1])
    return Wide(value, (*layout, (Axis(sizes[-1], True),)))


def _settles(squares: Sequence[np.ndarray], value: tp.Profile) -> bool:
    """Whether means over the coordinates tend to a limit in step with 1/n, and are no draws that fluctuate by n^{-1/2}."""
    x = [1 / a.shape[-1] for a in value.arrays]
    line = squares[0] + (squares[1] - squares[0]) * (x[-1] - x[0]) / (x[1] - x[0])
    scale = max(np.max(np.abs(squares[-1])), 1e-30)
    return bool(
        np.max(np.abs(line - squares[-1])) < 1e-3 * scale and np.max(np.abs(squares[0] - squares[-1])) < 0.1 * scale
    )


def _inexact(v: np.ndarray) -> bool:
    return np.issubdtype(v.dtype, np.inexact)


def _power(values: Sequence[np.ndarray], where: str) -> tuple[np.ndarray, Fraction]:
    """The array and the exponent a with values = array · n^a."""
    if all(np.array_equal(v, values[0], equal_nan=_inexact(v)) for v in values):
        return values[0], Fraction(0)
    at = np.unravel_index(np.argmax(np.abs(values[0])), values[0].shape)
    try:
        scale = fit([float(v[at]) for v in values], traced_widths())
    except ValueError as error:
        raise Refusal(f"at {where}: a number depends on the width in a way that is no power of it: {error}") from error
    top = float(values[0][at])
    return np.asarray(values[0] / top * scale.coefficient), scale.exponent


def scalar(x: Any) -> Scale | None:
    """A number c · n^a, where the operand is one everywhere."""
    if isinstance(x, Concrete):
        try:
            x = as_det(x, "")
        except Refusal:
            return None
    if isinstance(x, Det) and isinstance(x.known, tp.Constant) and x.known.value.ndim == 0:
        return Scale(float(x.known.value), x.exponent)
    return None


def place(x: Any, like: Layout | None, where: str) -> Det | Wide:
    """Any operand as a deterministic or wide value; a parameter takes the axes of `like` where it has one."""
    if isinstance(x, Concrete):
        return profile(x, where) or as_det(x, where)
    if isinstance(x, Leaf):
        return place_leaf(x, like, where)
    if isinstance(x, Det | Wide):
        return x
    raise Refusal(f"at {where}: {_named(x)} cannot be combined here")


def _named(x: Any) -> str:
    return "a concatenation of parts of different kinds" if isinstance(x, Segmented) else type(x).__name__


def place_leaf(leaf: Leaf, like: Layout | None, where: str) -> Wide:
    """A parameter as an initial vector: copies along width and replicas, independent along finite axes."""
    parameter = leaf.parameter
    layout = tuple(_leaf_dim(leaf, d, like, where) for d in range(len(leaf.sizes)))
    free = [a.copies or bool(leaf.labels[d]) for d, dim in enumerate(layout) for a in dim]
    finite = [(a, own) for (a, own) in zip(axes(layout), free, strict=True) if not a.copies]
    own_shape = tuple(a.size for a, own in finite if own)
    weight = tp.Weight(parameter.path, frozenset(), leaf.block, leaf.scale.coefficient)
    vector = tp.Vector(own_shape, where, weight)
    maps, source = [], 0
    for target, (axis, own) in enumerate(finite):
        maps.append(tp.keep(source, target) if own else tp.spread(target, axis.size))
        source += own
    value = tp.image(vector, tuple(maps), finite_shape(layout))
    exponent = parameter.exponent / 2 + leaf.scale.exponent
    if (exponents := noted()) is not None:
        exponents.note_product(weight, exponent, Fraction(0))
        exponents.note_read(vector, exponent)
    return _with_mean(Wide(value, layout, exponent), parameter.mean, leaf.scale, where)


def _with_mean(x: Wide, mean: Scale, scale: Scale, where: str) -> Wide:
    level = mean.exponent + scale.exponent
    exponents = noted()
    if mean.coefficient == 0 or (level < x.exponent and exponents is None):
        return x
    shape = finite_shape(x.layout)
    given = tp.Given(shape, where, tp.constant(np.full(shape, mean.coefficient * scale.coefficient)))
    if level > x.exponent and exponents is None:
        return Wide(given, x.layout, level)
    value, top = tp.Sum(shape, where, (x.value, given)), max(level, x.exponent)
    if exponents is not None:
        exponents.note_terms(value, [x.exponent - top, level - top])
    return Wide(value, x.layout, top)


def _leaf_dim(leaf: Leaf, d: int, like: Layout | None, where: str) -> tuple[Axis, ...]:
    sizes = leaf.sizes[d]
    if set(sizes) == {1}:
        return ()
    wanted = like[d] if like is not None else ()
    if wanted and leaf.labels[d]:
        return tuple(Axis(a.sizes, a.copies) for a in wanted)
    if leaf.labels[d]:
        return (Axis(sizes, len(set(sizes)) > 1),)
    if len(set(sizes)) > 1:
        raise Refusal(f"at {where}: the parameter {leaf.parameter.path!r} is repeated along a wide axis")
    return (Axis(sizes, False),)


def given(x: Det, where: str) -> tp.Given:
    shape = finite_shape(x.layout)
    return tp.Given(shape, where, x.known)


def rescaled(leaf: Leaf, factor: Scale) -> Leaf:
    return dataclasses.replace(leaf, scale=leaf.scale * factor)
