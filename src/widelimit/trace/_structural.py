"""Rules for what moves entries about: shapes, slices, padding, concatenation."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from widelimit import program as tp
from widelimit.trace._abstract import Axis, Det, Leaf, Refusal, Segmented, Sizes, Wide, dims, finite_axes
from widelimit.trace._jaxpr import Step
from widelimit.trace._layout import align, check_not_shared, on_axis, permuted, regroup, remap, single_axis, unfold
from widelimit.trace._place import place
from widelimit.trace._pointwise import total
from widelimit.trace._restrict import restricted
from widelimit.trace._table import rule
from widelimit.trace._widths import traced_widths


def _target(step: Step) -> list[Sizes]:
    return dims(step.shapes())


@rule("reshape")
def reshape(step: Step, x: Any) -> Any:
    if isinstance(x, Leaf):
        return reshape_leaf(x, _target(step), step.where)
    return regroup(place(x, None, step.where), _target(step), step.where)


@rule("squeeze", "expand_dims")
def squeeze(step: Step, x: Any) -> Any:
    return reshape(step, x)


def reshape_leaf(leaf: Leaf, targets: Sequence[Sizes], where: str) -> Leaf:
    """Entries are iid, so a reshape only renames axes: merged axes keep all labels, split ones are numbered."""
    rest = [(labels, sizes) for labels, sizes in zip(leaf.labels, leaf.sizes, strict=True) if set(sizes) != {1}]
    labels, sizes = [], []
    for target in targets:
        have, mine = tuple(1 for _ in target), ()
        while have != target:
            name, size = rest.pop(0)
            missing = tuple(t // h for t, h in zip(target, have, strict=True))
            if any(m % s for m, s in zip(missing, size, strict=True)):
                rest.insert(
                    0,
                    (
                        tuple((n, "inner", missing) for n in name),
                        tuple(s // m for s, m in zip(size, missing, strict=True)),
                    ),
                )
                name, size = tuple((n, "outer", missing) for n in name), missing
            have, mine = tuple(h * s for h, s in zip(have, size, strict=True)), (*mine, *name)
        labels.append(mine)
        sizes.append(tuple(target))
    return dataclasses.replace(leaf, labels=tuple(labels), sizes=tuple(sizes))


@rule("transpose")
def transpose(step: Step, x: Any) -> Any:
    order = step.params["permutation"]
    if isinstance(x, Leaf):
        return dataclasses.replace(x, labels=tuple(x.labels[i] for i in order), sizes=tuple(x.sizes[i] for i in order))
    return permuted(place(x, None, step.where), order, step.where)


@rule("broadcast_in_dim")
def broadcast_in_dim(step: Step, x: Any, *dynamic: Any) -> Any:
    positions, target = step.params["broadcast_dimensions"], _target(step)
    if isinstance(x, Leaf):
        labels: list[tuple] = [()] * len(target)
        sizes: list[Sizes] = list(target)
        for source, dim in enumerate(positions):
            labels[dim] = x.labels[source] if x.sizes[source] == target[dim] else ()
        return dataclasses.replace(x, labels=tuple(labels), sizes=tuple(sizes))
    x = place(x, None, step.where)
    layout = [()] * len(target)
    for source, dim in enumerate(positions):
        layout[dim] = x.layout[source]
    x = dataclasses.replace(x, layout=tuple(layout))
    return repeated(x, target, step.where)


def repeated(x: Det | Wide, target: Sequence[Sizes], where: str) -> Det | Wide:
    """Repeat along dimensions of size one: deterministic values stay constant there, random ones repeat over positions."""
    maps, layout, source, place_in = [], [], 0, 0
    for dim, sizes in zip(x.layout, target, strict=True):
        if dim or set(sizes) == {1}:
            inside = sum(not a.copies for a in dim)
            maps += [tp.keep(source + i, place_in + i) for i in range(inside)]
            source, place_in = source + inside, place_in + inside
            layout.append(dim)
            continue
        axis = Axis(sizes, isinstance(x, Det))
        if axis.wide and isinstance(x, Wide):
            raise Refusal(
                f"at {where}: a random vector is repeated along another wide axis; widelimit has no rule for an outer product of widths"
            )
        if isinstance(x, Wide):
            maps.append(tp.spread(place_in, axis.size))
            place_in += 1
        layout.append((axis,))
    return remap(x, maps, tuple(layout))


@rule("slice")
def slice_(step: Step, x: Any) -> Any:
    starts, limits = dims(step.each("start_indices")), dims(step.each("limit_indices"))
    strides = [int(s) for s in step.params["strides"] or [1] * len(starts)]
    for dim, (start, limit, stride) in enumerate(zip(starts, limits, strides, strict=True)):
        x = sliced(x, dim, start, limit, stride=stride, where=step.where)
    return x


def _extent(x: Any, dim: int, count: int) -> Sizes:
    if isinstance(x, Leaf):
        return x.sizes[dim]
    return tuple(int(np.prod([a.sizes[i] for a in x.layout[dim]])) for i in range(count))


def sliced(x: Any, dim: int, start: Sizes, limit: Sizes, *, stride: int = 1, where: str) -> Any:
    """The entries start, start + stride, … of a dimension."""
    if not isinstance(x, Leaf):
        x = place(x, None, where)
    extent = _extent(x, dim, len(start))
    if set(start) == {0} and limit == extent and stride == 1:
        return x
    length = tuple(-(-(b - a) // stride) for a, b in zip(start, limit, strict=True))
    if isinstance(x, Leaf):
        return _slice_leaf(x, dim, (start, limit, stride), length)
    if _of_each_vector(x, dim, length):
        for position in range(len(x.layout[dim])):
            x = unfold(x, dim, position, where)
    if all(a.copies for a in x.layout[dim]):
        return _slice_copies(x, dim, (start, limit, stride), length, where)
    x = single_axis(x, dim, where)
    at = finite_axes(x.layout, dim)[0]
    new = () if set(length) == {1} else (Axis(length, False),)
    maps = on_axis(x, at, lambda i, o: tp.taken(i, o if new else None, start[0], limit[0], stride))
    if not new:
        maps = [
            m if m.is_identity is False or m.outputs[0] < at else tp.keep(m.inputs[0], m.outputs[0] - 1) for m in maps
        ]
    return remap(x, maps, (*x.layout[:dim], new, *x.layout[dim + 1 :]))


def _of_each_vector(x: Det | Wide, dim: int, length: Sizes) -> bool:
    """Whether several of a fixed number of vectors are kept (half the coordinates inside each head): they become positions."""
    fixed = all(a.copies and not a.wide for a in x.layout[dim])
    return isinstance(x, Wide) and fixed and length[0] > 1 and any(a.wide for row in x.layout for a in row)


def _slice_leaf(leaf: Leaf, dim: int, span: tuple, length: Sizes) -> Leaf:
    sizes = (*leaf.sizes[:dim], length, *leaf.sizes[dim + 1 :])
    if not leaf.labels[dim]:
        return dataclasses.replace(leaf, sizes=sizes)
    return dataclasses.replace(leaf, sizes=sizes, block=(*leaf.block, (leaf.labels[dim], leaf.sizes[dim], span)))


def _slice_copies(x: Det | Wide, dim: int, span: tuple, length: Sizes, where: str) -> Det | Wide:
    """Some of the iid coordinates: the same law, but independent of the coordinates left out."""
    new = () if set(length) == {1} else (Axis(length, True),)
    layout = (*x.layout[:dim], new, *x.layout[dim + 1 :])
    if isinstance(x, Det):
        return dataclasses.replace(x, layout=layout)
    check_not_shared(x, [dim], where)
    view = tuple(a.sizes for d in x.layout for a in d if a.copies)
    number = sum(a.copies for d in x.layout[:dim] for a in d)
    return Wide(restricted(x.value, (view, number, span), where), layout, x.exponent)


@rule("split")
def split(step: Step, x: Any) -> list[Any]:
    axis = int(step.params["axis"])
    ends = [list(itertools.accumulate(map(int, s))) for s in step.each("sizes")]
    bounds = list(zip(*([0, *e] for e in ends), strict=True))
    return [sliced(x, axis, bounds[i], bounds[i + 1], where=step.where) for i in range(len(bounds) - 1)]


@rule("unstack")
def unstack(step: Step, x: Any) -> list[Any]:
    axis, outputs = int(step.params["axis"]), len(step.eqns[0].outvars)
    parts = [
        sliced(x, axis, (i,) * len(step.eqns), (i + 1,) * len(step.eqns), where=step.where) for i in range(outputs)
    ]
    return [drop_dim(p, axis) for p in parts]


def drop_dim(x: Any, dim: int) -> Any:
    if isinstance(x, Leaf):
        return dataclasses.replace(
            x, labels=x.labels[:dim] + x.labels[dim + 1 :], sizes=x.sizes[:dim] + x.sizes[dim + 1 :]
        )
    return dataclasses.replace(x, layout=x.layout[:dim] + x.layout[dim + 1 :])


def add_dim(x: Any, dim: int, count: int) -> Any:
    if isinstance(x, Leaf):
        ones = tuple(1 for _ in range(count))
        return dataclasses.replace(
            x, labels=(*x.labels[:dim], (), *x.labels[dim:]), sizes=(*x.sizes[:dim], ones, *x.sizes[dim:])
        )
    return dataclasses.replace(x, layout=(*x.layout[:dim], (), *x.layout[dim:]))


@rule("rev")
def rev(step: Step, x: Any) -> Any:
    if isinstance(x, Leaf):  # iid entries in another order: another block, which must be read so at every use
        labels = tuple(x.labels[d] for d in step.params["dimensions"])
        return dataclasses.replace(x, block=(*x.block, (("reversed", labels), None)))
    x = place(x, None, step.where)
    for dim in step.params["dimensions"]:
        x = _reversed(x, dim, step.where)
    return x


def _reversed(x: Det | Wide, dim: int, where: str) -> Det | Wide:
    if all(a.copies for a in x.layout[dim]):
        if isinstance(x, Wide) and x.layout[dim]:
            raise Refusal(f"at {where}: reversing iid coordinates permutes them against others; reverse positions only")
        return x
    x = single_axis(x, dim, where)
    return remap(x, on_axis(x, finite_axes(x.layout, dim)[0], tp.reversed_), x.layout)


@rule("pad")
def pad(step: Step, x: Any, value: Any) -> Any:
    fill = place(value, None, step.where)
    if not (isinstance(fill, Det) and tp.is_zero(fill.known)):
        raise Refusal(f"at {step.where}: padding with something other than zeros")
    x = place(x, None, step.where)
    for dim, config in enumerate(tuple(map(int, c)) for c in step.params["padding_config"]):
        if tuple(config) != (0, 0, 0):
            x = padded_dim(x, dim, config, step.where)
    return x


def padded_dim(x: Det | Wide, dim: int, config: Sequence[int], where: str) -> Det | Wide:
    low, high, interior = config
    x = as_positions(x, dim, where)
    at = finite_axes(x.layout, dim)[0]
    size = x.layout[dim][0].size
    length = low + high + size + max(size - 1, 0) * interior
    layout = (*x.layout[:dim], (Axis((length,) * len(x.layout[dim][0].sizes), False),), *x.layout[dim + 1 :])
    return remap(x, on_axis(x, at, lambda i, o: tp.padded(i, o, low, high, interior)), layout)


def as_positions(x: Det | Wide, dim: int, where: str) -> Det | Wide:
    """The dimension as one finite axis (what is constant along it is repeated; a single entry becomes an axis of one)."""
    if not x.layout[dim]:
        before = sum(not a.copies for d in x.layout[:dim] for a in d)
        total = sum(not a.copies for d in x.layout for a in d)
        maps = (
            [tp.keep(i, i) for i in range(before)]
            + [tp.spread(before, 1)]
            + [tp.keep(i, i + 1) for i in range(before, total)]
        )
        return remap(x, maps, (*x.layout[:dim], (Axis((1,) * len(traced_widths()), False),), *x.layout[dim + 1 :]))
    if isinstance(x, Det) and all(a.copies and not a.wide for a in x.layout[dim]):
        return remap_constant(x, dim)
    if any(a.copies for a in x.layout[dim]):
        raise Refusal(
            f"at {where}: padding or joining along an axis of iid coordinates; the coordinates would not be iid any more"
        )
    return single_axis(x, dim, where)


def remap_constant(x: Det, dim: int) -> Det:
    """Repeat a deterministic value along a dimension in which it is constant."""
    before = sum(not a.copies for d in x.layout[:dim] for a in d)
    total = sum(not a.copies for d in x.layout for a in d)
    row = x.layout[dim]
    maps = [tp.keep(i, i) for i in range(before)]
    maps += [tp.spread(before + i, a.size) for i, a in enumerate(row)]
    maps += [tp.keep(i, i + len(row)) for i in range(before, total)]
    layout = (*x.layout[:dim], tuple(Axis(a.sizes, False) for a in row), *x.layout[dim + 1 :])
    return remap(x, maps, layout)


@rule("concatenate")
def concatenate(step: Step, *parts: Any) -> Any:
    dim = int(step.params["dimension"])
    lengths = dims([[e.invars[i].aval.shape[dim] for i in range(len(parts))] for e in step.eqns])
    return joined(list(parts), dim, lengths, _target(step)[dim], step.where)


def joined(parts: list[Any], dim: int, lengths: list[Sizes], length: Sizes, where: str) -> Any:
    """Concatenate: along finite axes a sum of padded parts, along width a segmented vector."""
    rows = [(p, n) for p, n in zip(parts, lengths, strict=True) if set(n) != {0}]
    parts, lengths = [p for p, _ in rows], [n for _, n in rows]
    if len(parts) == 1:
        return parts[0]
    if len(set(length)) > 1:
        return Segmented(tuple(parts), dim, tuple(lengths))
    placed = [place(p, None, where) for p in parts]
    if any(isinstance(p, Wide) and any(a.copies for a in p.layout[dim]) for p in placed):
        return Segmented(tuple(parts), dim, tuple(lengths))
    return _join_positions(placed, dim, lengths, where)


def _join_positions(parts: list[Any], dim: int, lengths: list[Sizes], where: str) -> Any:
    size, offset, padded = sum(n[0] for n in lengths), 0, []
    for part, n in zip(parts, lengths, strict=True):
        part = padded_dim(part, dim, (offset, size - offset - n[0], 0), where)
        offset += n[0]
        padded.append(part)
    aligned, layout = align(padded, where)
    return total(aligned, layout, where)


@rule("stack")
def stack(step: Step, *parts: Any) -> Any:
    dim, count = int(step.params["axis"]), len(step.eqns)
    parts = tuple(add_dim(p if isinstance(p, Leaf) else place(p, None, step.where), dim, count) for p in parts)
    return joined(list(parts), dim, [(1,) * count] * len(parts), _target(step)[dim], step.where)


@rule("tile")
def tile(step: Step, x: Any) -> Any:
    x = place(x, None, step.where)
    for dim, times in enumerate(dims(step.each("reps"))):
        if set(times) != {1}:
            x = _tiled(x, dim, times, _target(step)[dim], step.where)
    return x


def _tiled(x: Det | Wide, dim: int, times: Sizes, target: Sizes, where: str) -> Det | Wide:
    widened = add_dim(x, dim, len(times))
    targets = [tuple(times) if d == dim else _extent(widened, d, len(times)) for d in range(len(widened.layout))]
    widened = repeated(widened, targets, where)
    merged = [_extent(widened, d, len(times)) for d in range(len(widened.layout))]
    merged[dim : dim + 2] = [target]
    return regroup(widened, merged, where)
