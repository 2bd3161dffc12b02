"""The rule for convolutions: a MatMul for every tap, with independent weights."""

from __future__ import annotations

from typing import Any

from widelimit import program as tp
from widelimit.trace._abstract import Axis, Det, Layout, Leaf, Refusal, Wide, finite_axes
from widelimit.trace._contraction import Dims, check_contraction, used_weight
from widelimit.trace._jaxpr import Step
from widelimit.trace._layout import permuted
from widelimit.trace._place import given, place, zeros
from widelimit.trace._reduction import without_unit_axes
from widelimit.trace._structural import as_positions
from widelimit.trace._table import rule
from widelimit.trace._transposed import with_transposed


@rule("conv_general_dilated")
def convolution(step: Step, x: Any, kernel: Any) -> Any:
    """Σ(p, p') = σ_W² Σ_κ E[Z^h_{p+κ} Z^h'_{p'+κ}]: taps carry independent weights."""
    where = step.where
    if not isinstance(kernel, Leaf):
        raise Refusal(
            f"at {where}: a convolution whose filter is not a parameter has no rule; write it as a sum of shifted slices or a pooling"
        )
    groups = [g for name in ("feature_group_count", "batch_group_count") for g in step.each(name)]
    if set(groups) != {1}:
        raise Refusal(
            f"at {where}: grouped and depthwise convolutions (feature_group_count={groups[0]}) have no rule yet"
        )
    return _convolve(step, place(x, None, where), kernel)


def _convolve(step: Step, x: Det | Wide, kernel: Leaf) -> Det | Wide:
    numbers, where = step.params["dimension_numbers"], step.where
    batch, feature, *spatial = numbers.lhs_spec
    x = _positions(x, spatial, where)
    x = _positions(x, [batch], where) if x.layout[batch] else x
    windows = dict(zip(spatial, _windows(step, kernel), strict=True))
    dims = Dims(((numbers.rhs_spec[1],), (feature,)), ((), ()))
    layout = _result_layout(step, x, kernel, windows)
    if isinstance(x, Det) and tp.is_zero(x.known):
        return zeros(layout)
    check_contraction(kernel, x, dims, where)
    weight, exponent = used_weight(kernel, x, dims, where)
    h = given(x, where) if isinstance(x, Det) else x.value
    value = _matmul(x, h, weight, windows, (feature, where))
    return _ordered(Wide(with_transposed(value), layout, exponent), step)


def _positions(x: Det | Wide, dims: list[int], where: str) -> Det | Wide:
    for dim in dims:
        x = as_positions(x, dim, where)
    return x


def _windows(step: Step, kernel: Leaf) -> list[tp.Window]:
    p = step.params
    taps = [kernel.sizes[d][0] for d in p["dimension_numbers"].rhs_spec[2:]]
    rows = zip(taps, p["window_strides"], p["padding"], p["rhs_dilation"], p["lhs_dilation"], strict=True)
    return [
        tp.Window(*map(int, (size, stride, low, high, dilation, base)))
        for size, stride, (low, high), dilation, base in rows
    ]


def _matmul(
    x: Det | Wide, h: tp.Value, weight: tp.Weight, windows: dict[int, tp.Window], at: tuple[int, str]
) -> tp.MatMul:
    feature, where = at
    contracted = tuple(finite_axes(x.layout, feature))
    kept = [(i, d) for d in range(len(x.layout)) if d != feature for i in finite_axes(x.layout, d)]
    slides = tuple(windows.get(d, tp.Window(1)) for _, d in kept)
    shape = tuple(w.length(h.shape[i]) for (i, _), w in zip(kept, slides, strict=True))
    return tp.MatMul(shape, where, weight, h, contracted, slides, ())


def _result_layout(step: Step, x: Det | Wide, kernel: Leaf, windows: dict[int, tp.Window]) -> Layout:
    """Dimensions in the order of the input: batch and spatial ones finite, the feature dimension copies."""
    feature = step.params["dimension_numbers"].lhs_spec[1]
    out = kernel.sizes[step.params["dimension_numbers"].rhs_spec[0]]
    layout = []
    for d, dim in enumerate(x.layout):
        if d == feature:
            layout.append(() if set(out) == {1} else (Axis(out, True),))
        else:
            layout.append(
                tuple(Axis(tuple(windows.get(d, tp.Window(1)).length(s) for s in a.sizes), False) for a in dim)
            )
    return tuple(layout)


def _ordered(x: Wide, step: Step) -> Wide:
    """From the input's order of dimensions to the output's."""
    numbers = step.params["dimension_numbers"]
    order = [0] * len(numbers.out_spec)
    for source, target in zip(numbers.lhs_spec, numbers.out_spec, strict=True):
        order[target] = source
    return without_unit_axes(permuted(x, order, step.where))
