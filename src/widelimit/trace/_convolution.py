"""The rule for convolutions: a product for every tap, with independent weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from widelimit import program as tp
from widelimit.trace._abstract import Axis, Det, Layout, Leaf, Refusal, Sizes, Wide, finite_axes, finite_shape, sizes_of
from widelimit.trace._contraction import Dims, check_centred, check_contraction, used_weight
from widelimit.trace._exponents import note_part, note_use
from widelimit.trace._jaxpr import Step
from widelimit.trace._layout import permuted, regroup, unfold
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
    if set(step.each("batch_group_count")) != {1}:
        raise Refusal(f"at {where}: a convolution with batch_group_count has no rule; use feature_group_count")
    return _ordered(_convolve(step, place(x, None, where), kernel), step)


@dataclasses.dataclass(frozen=True)
class _Filter:
    """A filter and what it acts on: an input whose features lie in two dimensions, groups and what is summed in each."""

    x: Det | Wide
    kernel: Leaf
    feature: int
    outputs: Sizes  # features of the result in each group
    windows: dict[int, tp.Window]  # by dimension of x
    step: Step

    @property
    def dims(self) -> Dims:
        return Dims(((self.step.params["dimension_numbers"].rhs_spec[1],), (self.feature + 1,)), ((), ()))

    @property
    def contracted(self) -> tuple[int, ...]:
        return tuple(finite_axes(self.x.layout, self.feature + 1))

    @property
    def kept(self) -> list[tuple[int, int]]:
        """The axes of x that the result has, each with its dimension."""
        others = [d for d in range(len(self.x.layout)) if d != self.feature + 1]
        return [(i, d) for d in others for i in finite_axes(self.x.layout, d)]

    @property
    def slides(self) -> tuple[tp.Window, ...]:
        return tuple(self.windows.get(d, tp.Window(1)) for _, d in self.kept)

    @property
    def apart(self) -> tuple[int, ...]:
        """Groups that are positions have independent filters."""
        return tuple(n for n, (_, d) in enumerate(self.kept) if d == self.feature)

    def block(self, weight: tp.Weight) -> tp.Weight:
        groups = tuple(self.step.each("feature_group_count"))
        if set(groups) == {1}:
            return weight
        return note_part(weight, dataclasses.replace(weight, block=(*weight.block, (groups, None))))


def _convolve(step: Step, x: Det | Wide, kernel: Leaf) -> Det | Wide:
    f = _filter(step, x, kernel)
    layout = _result_layout(f)
    if isinstance(f.x, Det) and tp.is_zero(f.x.known):
        return zeros(layout)
    if isinstance(f.x, Wide) and not any(a.wide for a in f.x.layout[f.feature + 1]) and _is_wide(f.x.layout[f.feature]):
        return _depthwise(f, layout)
    check_contraction(kernel, f.x, f.dims, step.where)
    weight, exponent = used_weight(kernel, f.x, f.dims, step.where)
    h = given(f.x, step.where) if isinstance(f.x, Det) else f.x.value
    value = tp.MatMul(_shape(f, h), step.where, f.block(weight), h, f.contracted, f.slides, f.apart)
    return Wide(with_transposed(value), layout, exponent)


def _is_wide(dim: Sequence[Axis]) -> bool:
    return any(a.wide for a in dim)


def _filter(step: Step, x: Det | Wide, kernel: Leaf) -> _Filter:
    numbers = step.params["dimension_numbers"]
    batch, feature, *spatial = numbers.lhs_spec
    for dim in (*spatial, batch) if x.layout[batch] else spatial:
        x = as_positions(x, dim, step.where)
    count, groups = len(step.eqns), tuple(step.each("feature_group_count"))
    sizes = [sizes_of(dim, count) for dim in x.layout]
    inside = tuple(n // g for n, g in zip(sizes[feature], groups, strict=True))
    x = regroup(x, [*sizes[:feature], groups, inside, *sizes[feature + 1 :]], step.where)
    outputs = tuple(n // g for n, g in zip(kernel.sizes[numbers.rhs_spec[0]], groups, strict=True))
    windows = {d + (d > feature): w for d, w in zip(spatial, _windows(step, kernel), strict=True)}
    return _Filter(x, kernel, feature, outputs, windows, step)


def _windows(step: Step, kernel: Leaf) -> list[tp.Window]:
    p = step.params
    taps = [kernel.sizes[d][0] for d in p["dimension_numbers"].rhs_spec[2:]]
    rows = zip(taps, p["window_strides"], p["padding"], p["rhs_dilation"], p["lhs_dilation"], strict=True)
    return [
        tp.Window(*map(int, (size, stride, low, high, dilation, base)))
        for size, stride, (low, high), dilation, base in rows
    ]


def _shape(f: _Filter, h: tp.Value) -> tuple[int, ...]:
    return tuple(w.length(h.shape[i]) for (i, _), w in zip(f.kept, f.slides, strict=True))


def _result_layout(f: _Filter) -> Layout:
    """Dimensions in the order of the input: batch and spatial ones finite, the features groups of copies."""
    layout = []
    for d, dim in enumerate(f.x.layout):
        window = f.windows.get(d, tp.Window(1))
        layout.append(dim if window.trivial else tuple(Axis(tuple(map(window.length, a.sizes)), False) for a in dim))
    new = () if set(f.outputs) == {1} else (Axis(f.outputs, True),)
    return (*layout[: f.feature], (*layout[f.feature], *new), *layout[f.feature + 2 :])


def _depthwise(f: _Filter, layout: Layout) -> Wide:
    """A fixed number of features a group, and as many groups as features: the filter is a vector for each tap."""
    check_centred(f.kernel, f.step.where)
    x = f.x
    for i, axis in enumerate(x.layout[f.feature + 1]):
        x = unfold(x, f.feature + 1, i, f.step.where) if axis.copies else x
    f = dataclasses.replace(f, x=x)
    multiplier = () if set(f.outputs) == {1} else (f.outputs[0],)
    weight = tp.Weight(f.kernel.parameter.path, frozenset(), f.kernel.block, f.kernel.scale.coefficient)
    shape = (*_shape(f, x.value), *multiplier)
    apart = (*f.apart, *range(len(f.kept), len(shape)))
    taps = math.prod(w.size for w in f.slides) * math.prod(x.value.shape[i] for i in f.contracted)
    vector = tp.Vector((taps, *(shape[i] for i in apart)), f.step.where, f.block(weight))
    value = tp.Depthwise(shape, f.step.where, vector, x.value, f.contracted, f.slides, apart)
    exponent = f.kernel.parameter.exponent / 2 + f.kernel.scale.exponent + x.exponent
    note_use(vector.weight, exponent, x.exponent)
    return _with_multiplier(Wide(value, layout, exponent), f) if multiplier else Wide(value, layout, exponent)


def _with_multiplier(x: Wide, f: _Filter) -> Wide:
    """The axis that numbers a group's results: last in the value, last among the features in the layout."""
    layout = [*x.layout]
    layout[f.feature] = (*layout[f.feature][:-1], Axis(f.outputs, False))
    before = sum(d <= f.feature for _, d in f.kept)
    targets = [i + (i >= before) for i in range(len(f.kept))] + [before]
    maps = tuple(tp.keep(i, o) for i, o in enumerate(targets))
    return Wide(tp.image(x.value, maps, finite_shape(tuple(layout))), tuple(layout), x.exponent)


def _ordered(x: Det | Wide, step: Step) -> Det | Wide:
    """From the input's order of dimensions to the output's."""
    numbers = step.params["dimension_numbers"]
    order = [0] * len(numbers.out_spec)
    for source, target in zip(numbers.lhs_spec, numbers.out_spec, strict=True):
        order[target] = source
    return without_unit_axes(permuted(x, order, step.where))
