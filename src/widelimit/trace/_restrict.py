"""Some of a vector's iid coordinates: the slice is pushed down to the draws it is made of."""

from __future__ import annotations

import dataclasses
from typing import Any

from widelimit import program as tp
from widelimit.trace._abstract import Refusal
from widelimit.trace._exponents import note_part


def restricted(value: tp.Value, span: Any, where: str) -> tp.Value:
    """The coordinates of `span` = (sizes of the copies axes, which of them, (start, limit, stride))."""
    return tp.once(value, ("restricted", span), lambda: _restrict(value, span, where))


def _restrict(value: tp.Value, span: Any, where: str) -> tp.Value:
    def inner(v: tp.Value) -> tp.Value:
        return restricted(v, span, where)

    match value:
        case tp.Given():
            return value
        case tp.Profile():
            return _of_profile(value, span)
        case tp.MatMul() | tp.Vector():
            weight = dataclasses.replace(value.weight, block=(*value.weight.block, ("coordinates", *span)))
            return dataclasses.replace(value, weight=note_part(value.weight, weight))
        case tp.Depthwise():
            return dataclasses.replace(value, filter=inner(value.filter), h=inner(value.h))
        case tp.Image() | tp.Scaled() | tp.Fluctuation():
            return dataclasses.replace(value, h=inner(value.h))
        case tp.Sum():
            return dataclasses.replace(value, terms=tuple(map(inner, value.terms)))
        case tp.Product():
            return dataclasses.replace(value, factors=tuple(map(inner, value.factors)))
        case tp.Pointwise():
            operands = tuple(inner(o) if isinstance(o, tp.Value) else o for o in value.operands)
            return dataclasses.replace(value, operands=operands)
    raise Refusal(f"at {where}: a slice of {type(value).__name__} along iid coordinates")


def _of_profile(value: tp.Profile, span: Any) -> tp.Profile:
    """Its coordinates are the last copies axis; along the others it repeats."""
    view, number, (start, limit, stride) = span
    if number < len(view) - 1:
        return value
    arrays = tuple(a[..., i:j:stride] for a, i, j in zip(value.arrays, start, limit, strict=True))
    return dataclasses.replace(value, arrays=arrays)
