"""Moving axes about: reshapes, alignment and broadcasting of deterministic and wide values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from widelimit import program as tp
from widelimit.trace._abstract import Axis, Det, Layout, Refusal, Sizes, Wide, axes, finite_axes, finite_shape, sizes_of

Placed = Det | Wide


def remap(x: Placed, maps: Sequence[tp.AxisMap], layout: Layout) -> Placed:
    """Apply a map to the positions."""
    maps = tuple(maps)
    shape = finite_shape(layout)
    if tp.is_identity(maps):
        return dataclasses.replace(x, layout=layout)
    if isinstance(x, Wide):
        return Wide(tp.image(x.value, maps, shape), layout, x.exponent)
    return Det(tp.map_known(x.known, maps, shape), layout, x.exponent)


def identity_maps(count: int) -> list[tp.AxisMap]:
    return [tp.keep(i, i) for i in range(count)]


def on_axis(x: Placed, axis: int, make: Any) -> list[tp.AxisMap]:
    """The identity on every axis but one, where `make(axis, axis)` acts."""
    maps = identity_maps(len(finite_shape(x.layout)))
    maps[axis] = make(axis, axis)
    return maps


def single_axis(x: Placed, dim: int, where: str) -> Placed:
    """The same value with the finite axes of a dimension merged into one."""
    inside = finite_axes(x.layout, dim)
    if len(inside) != len(x.layout[dim]):
        raise Refusal(
            f"at {where}: an operation along an axis that holds both positions and width; act before they are merged"
        )
    if len(inside) <= 1:
        return x
    shape = finite_shape(x.layout)
    before = tuple(shape[i] for i in inside)
    first, gone, total = inside[0], len(inside) - 1, len(shape)
    merged = tp.reshaped(tuple(inside), (first,), before, (math.prod(before),))
    maps = (
        [tp.keep(i, i) for i in range(first)] + [merged] + [tp.keep(i, i - gone) for i in range(inside[-1] + 1, total)]
    )
    size = sizes_of(x.layout[dim], len(x.layout[dim][0].sizes))
    layout = (*x.layout[:dim], (Axis(size, False),), *x.layout[dim + 1 :])
    return remap(x, maps, layout)


def split_axis(x: Placed, dim: int, position: int, parts: Sequence[Sizes]) -> Placed:
    """Split one axis (number `position` of dimension `dim`) into several, slowest first."""
    if len(parts) == 1:
        return x
    old = x.layout[dim][position]
    new = tuple(Axis(p, old.copies, old.shared) for p in parts)
    layout = (*x.layout[:dim], (*x.layout[dim][:position], *new, *x.layout[dim][position + 1 :]), *x.layout[dim + 1 :])
    if old.copies:
        _check_not_in_step(x, old)
        return dataclasses.replace(x, layout=layout)
    at = finite_axes(x.layout, dim)[sum(not a.copies for a in x.layout[dim][:position])]
    total, extra = len(finite_shape(x.layout)), len(parts) - 1
    split = tp.reshaped((at,), tuple(range(at, at + len(parts))), (old.size,), tuple(p[0] for p in parts))
    maps = [tp.keep(i, i) for i in range(at)] + [split] + [tp.keep(i, i + extra) for i in range(at + 1, total)]
    return remap(x, maps, layout)


def _check_not_in_step(x: Placed, axis: Axis) -> None:
    """What varies along the width in step with it (a positional code) is another function of each part of it."""
    if axis.wide and isinstance(x, Wide) and tp.has_profile(x.value):
        raise Refusal(
            f"at {x.value.where}: a known array that varies along the width is cut into heads; its coordinates are not iid. "
            "Put a weight in between, or draw the array in `init`."
        )


def regroup(x: Placed, targets: Sequence[Sizes], where: str) -> Placed:
    """Reshape to dimensions of the given sizes (row-major, as arrays are)."""
    flat = dataclasses.replace(x, layout=(tuple(axes(x.layout)),))
    groups: list[int] = []
    position = 0
    for target in targets:
        flat, count = _fill(flat, position, target, where)
        groups.append(count)
        position += count
    order, layout = list(flat.layout[0]), []
    for count in groups:
        layout.append(tuple(order[:count]))
        order = order[count:]
    return dataclasses.replace(flat, layout=tuple(layout))


def _fill(flat: Placed, position: int, target: Sizes, where: str) -> tuple[Placed, int]:
    """Take axes from `position` on, splitting the last, until they multiply to `target`; how many they are."""
    have, count = tuple(1 for _ in target), 0
    while have != target:
        axis = flat.layout[0][position + count]
        missing = tuple(t // h for t, h in zip(target, have, strict=True))
        if any(m % s for m, s in zip(missing, axis.sizes, strict=True)):
            rest = tuple(s // m for s, m in zip(axis.sizes, missing, strict=True))
            if any(s % m for s, m in zip(axis.sizes, missing, strict=True)):
                raise Refusal(
                    f"at {where}: a reshape that cuts an axis of size {axis.sizes} into pieces of {target} across its neighbours"
                )
            flat = split_axis(flat, 0, position + count, [missing, rest])
            axis = flat.layout[0][position + count]
        have = tuple(h * s for h, s in zip(have, axis.sizes, strict=True))
        count += 1
    return flat, count


def permuted(x: Placed, permutation: Sequence[int], where: str) -> Placed:
    """Transpose dimensions."""
    numbered, number = [], 0
    for dim in x.layout:
        row = []
        for axis in dim:
            row.append((axis, None if axis.copies else number))
            number += not axis.copies
        numbered.append(row)
    moved = [numbered[p] for p in permutation]
    wide_before = [id(a) for dim in x.layout for a in dim if a.copies]
    wide_after = [id(a) for dim in moved for a, _ in dim if a.copies]
    if isinstance(x, Wide) and [*wide_before] != [*wide_after]:
        raise Refusal(
            f"at {where}: a transpose that exchanges two axes of iid coordinates (heads and head width, say); keep their order"
        )
    sources = [i for dim in moved for _, i in dim if i is not None]
    maps = [tp.keep(source, target) for target, source in enumerate(sources)]
    return remap(x, maps, tuple(tuple(a for a, _ in dim) for dim in moved))


def full_view(x: Det, shape: tuple[int, ...]) -> Callable[[Any], Any]:
    """From the array that is kept to the array of the program: constant axes repeated, single ones put back."""
    kept = tuple(1 if a.copies else a.size for a in axes(x.layout))
    spread = tuple(a.size for a in axes(x.layout))
    return lambda a: jnp.broadcast_to(jnp.reshape(jnp.asarray(a), kept), spread).reshape(shape)


def common_split(rows: Sequence[Sequence[Sizes]], where: str) -> list[Sizes]:
    """The coarsest factors into which every row of factors can be split."""
    rows = [list(r) for r in rows]
    out: list[Sizes] = []
    while any(rows):
        if not all(rows):
            raise Refusal(f"at {where}: axes of different sizes are combined")
        head = min((r[0] for r in rows), key=lambda s: s[0])
        for row in rows:
            first = row.pop(0)
            if first != head:
                if any(f % h for f, h in zip(first, head, strict=True)):
                    raise Refusal(
                        f"at {where}: axes that were reshaped in different ways are combined ({first} and {head})"
                    )
                row.insert(0, tuple(f // h for f, h in zip(first, head, strict=True)))
        out.append(head)
    return out


def align(operands: Sequence[Placed], where: str) -> tuple[list[Placed], Layout]:
    """Bring operands of an elementwise operation to one layout."""
    operands = [split_dims(x, _targets(operands, where)) for x in operands]
    layout = tuple(_joint_dim([x.layout[d] for x in operands], operands, where) for d in range(len(operands[0].layout)))
    return [spread_to(x, layout, where) for x in operands], layout


def _targets(operands: Sequence[Placed], where: str) -> list[list[Sizes]]:
    return [
        common_split([[a.sizes for a in x.layout[d]] for x in operands if x.layout[d]], where)
        for d in range(len(operands[0].layout))
    ]


def split_dims(x: Placed, targets: Sequence[Sequence[Sizes]]) -> Placed:
    for d, target in enumerate(targets):
        if not x.layout[d]:
            continue
        rest = list(target)
        position = 0
        while position < len(x.layout[d]):
            sizes, parts = x.layout[d][position].sizes, []
            while not parts or tuple(map(math.prod, zip(*parts, strict=True))) != sizes:
                parts.append(rest.pop(0))
            x = split_axis(x, d, position, parts)
            position += len(parts)
    return x


def _joint_dim(dim_axes: Sequence[tuple[Axis, ...]], operands: Sequence[Placed], where: str) -> tuple[Axis, ...]:
    count = max(map(len, dim_axes))
    return tuple(_joint_axis([d[i] if d else None for d in dim_axes], operands, where) for i in range(count))


def _joint_axis(kinds: Sequence[Axis | None], operands: Sequence[Placed], where: str) -> Axis:
    """Copies where every random operand has copies and no other is finite there; finite otherwise."""
    sizes = next(k for k in kinds if k is not None).sizes
    random = [k for k, x in zip(kinds, operands, strict=True) if isinstance(x, Wide)]
    if Axis(sizes, True).wide:
        repeated = [x for k, x in zip(kinds, operands, strict=True) if k is None and isinstance(x, Wide)]
        others = [x for k, x in zip(kinds, operands, strict=True) if k is not None and isinstance(x, Wide)]
        if not all(_inside(x, y) for x in repeated for y in others) or (repeated and not others):
            raise Refusal(_repeated_message(repeated, where))
        return Axis(sizes, True, shared=bool(repeated) or any(k.shared for k in random if k is not None))
    is_copies = all(k is not None and k.copies for k in random) and all(k is None or k.copies for k in kinds)
    return Axis(sizes, is_copies)


def _inside(x: Wide, y: Wide) -> bool:
    """Whether y has every wide axis that x has, and x has one: x is then a vector over the outer coordinates of y."""
    mine, theirs = (
        {(d, i) for d, dim in enumerate(v.layout) for i, a in enumerate(dim) if a.copies and a.wide} for v in (x, y)
    )
    return bool(mine) and mine <= theirs


def _repeated_message(repeated: Sequence[Wide], where: str) -> str:
    shared = [x for x in repeated if not any(a.copies for a in axes(x.layout))]
    if shared:
        return random_numbers(shared[0], where)
    return f"at {where}: a random vector is repeated along another wide axis; widelimit has no rule for an outer product of widths"


def random_numbers(x: Wide, where: str) -> str:
    """Why numbers that are random and of no width must not multiply what has one."""
    drawn = drawn_from(x.value)
    if drawn:
        return (
            f"at {where}: the parameter {drawn.path!r} holds random or trained numbers (a trainable scalar, a temperature, a "
            "residual gate) that multiply or shift whole random vectors: the output, or its tangent kernel, stays random through them in "
            "the limit; not a Gaussian process. Start it at a constant and freeze it "
            f"(`learning_rates={{{drawn.path!r}: 0}}`), or give it the width's axis."
        )
    sources = ", ".join(sorted({repr(path) for path in _drawn_inside(x.value)}))
    return (
        f"at {where}: random numbers made at {x.value.where} (a gate, mixing or attention weights, one coordinate) from the "
        f"parameters {sources} are shared by every coordinate of a wide vector: the output stays random through them in the limit, "
        "and so does its tangent kernel; not a Gaussian process. Compute them from the example alone or from a mean over the width "
        "(products scaled by 1/n), freeze parameters of no width at constants, or give the numbers the width's axis."
    )


def _drawn_inside(value: tp.Value) -> set[str]:
    """The parameters drawn or multiplied last in the nonlinear chain that a value ends."""
    if isinstance(value, tp.Vector | tp.MatMul):
        return {value.weight.path}
    return set().union(*map(_drawn_inside, value.parts))


def drawn_from(value: tp.Value) -> tp.Weight | None:
    """The parameter that a value is, up to known numbers and positions."""
    while isinstance(value, tp.Image | tp.Scaled):
        value = value.h
    if isinstance(value, tp.Sum):
        found = [drawn_from(t) for t in value.terms if not isinstance(t, tp.Given)]
        return found[0] if len(found) == 1 else None
    return value.weight if isinstance(value, tp.Vector) else None


def spread_to(x: Placed, layout: Layout, where: str) -> Placed:
    """Repeat along new finite axes, and number replicas where they have become positions."""
    x = _unfold_where_finite(x, layout, where)
    maps, source, target = [], 0, 0
    for mine, wanted in zip(x.layout, layout, strict=True):
        for i, axis in enumerate(wanted):
            if axis.copies:
                continue
            if mine and not mine[i].copies:
                maps.append(tp.keep(source, target))
                source += 1
            else:
                maps.append(tp.spread(target, axis.size))
            target += 1
    return remap(x, maps, layout)


def _unfold_where_finite(x: Placed, layout: Layout, where: str) -> Placed:
    if not isinstance(x, Wide):
        return x
    for d, wanted in enumerate(layout):
        for i, axis in enumerate(wanted):
            if x.layout[d] and x.layout[d][i].copies and not axis.copies:
                x = unfold(x, d, i, where)
    return x


def check_whole_sum(x: Placed, dims: Sequence[int], where: str) -> None:
    """A sum over shared coordinates has a law of large numbers only together with all the others."""
    if any(a.copies for d, dim in enumerate(x.layout) if d not in dims for a in dim):
        check_not_shared(x, dims, where)


def check_not_shared(x: Placed, dims: Sequence[int], where: str) -> None:
    """Refuse to act on coordinates inside a head alone that share its attention weights."""
    if any(a.shared for d in dims for a in x.layout[d]):
        raise Refusal(
            f"at {where}: the coordinates inside a head share what repeats along them (its attention weights); only sums over "
            "them and over all heads together are read, as in a dense layer of all heads"
        )


def unfold(x: Wide, dim: int, position: int, where: str) -> Wide:
    """Number the replicas of a copies axis: it becomes a finite axis with independent positions."""
    axis = x.layout[dim][position]
    check_not_shared(x, [dim], where)
    before = sum(not a.copies for d in x.layout[:dim] for a in d) + sum(not a.copies for a in x.layout[dim][:position])
    row = (*x.layout[dim][:position], Axis(axis.sizes, False), *x.layout[dim][position + 1 :])
    layout = (*x.layout[:dim], row, *x.layout[dim + 1 :])
    total = len(finite_shape(x.layout))
    value = _numbered(x.value, axis.size, where)
    maps = [tp.keep(i, i if i < before else i + 1) for i in range(total)] + [tp.keep(total, before)]
    maps.sort(key=lambda m: m.outputs)
    return Wide(tp.image(value, tuple(maps), finite_shape(layout)), layout, x.exponent)


def _numbered(value: tp.Value, count: int, where: str) -> tp.Value:
    """`count` independent copies of a value along a new last axis."""
    return tp.once(value, ("numbered", count), lambda: _number(value, count, where))


def _number(value: tp.Value, count: int, where: str) -> tp.Value:
    shape, last = (*value.shape, count), len(value.shape)
    rest = [tp.keep(i, i) for i in range(last)]
    match value:
        case tp.MatMul():
            independent = (*value.independent, last)
            return dataclasses.replace(value, shape=shape, independent=independent)
        case tp.Depthwise():
            return _number_filters(value, count, where)
        case tp.Vector():
            return dataclasses.replace(value, shape=shape)
        case tp.Fluctuation():
            return dataclasses.replace(value, shape=shape, h=_numbered(value.h, count, where))
        case tp.Given() | tp.Profile():
            return tp.image(value, (*rest, tp.spread(last, count)), shape)
        case tp.Sum():
            return dataclasses.replace(value, shape=shape, terms=tuple(_numbered(t, count, where) for t in value.terms))
        case tp.Image():
            inner = _numbered(value.h, count, where)
            return tp.Image(shape, value.where, inner, (*value.maps, tp.keep(len(value.h.shape), last)))
        case tp.Scaled():
            known = tp.apply(lambda a: jnp.asarray(a)[..., None], (*value.known.shape, 1), value.known)
            return tp.Scaled(shape, value.where, known, _numbered(value.h, count, where))
        case tp.Product():
            return dataclasses.replace(
                value, shape=shape, factors=tuple(_numbered(f, count, where) for f in value.factors)
            )
        case tp.Pointwise():
            operands = tuple(_numbered_operand(o, count, where) for o in value.operands)
            return dataclasses.replace(value, shape=shape, operands=operands)
    raise Refusal(f"at {where}: replicas of {type(value).__name__} cannot be numbered")


def _number_filters(value: tp.Depthwise, count: int, where: str) -> tp.Value:
    """Every copy has its own filter and its own argument; the new axis comes last of those kept of h, then goes to the end."""
    h, vector = (_numbered(part, count, where) for part in (value.h, value.filter))
    at, rank = len(value.h.shape) - len(value.contracted), len(value.shape)
    windows = (*value.windows, *[tp.Window(1)] * (at - len(value.windows)), tp.Window(1))
    independent = (*(i + (i >= at) for i in value.independent), at)
    shape = (*value.shape[:at], count, *value.shape[at:])
    inner = tp.Depthwise(shape, value.where, vector, h, value.contracted, windows, independent)
    targets = [*range(at), rank, *range(at, rank)]
    return tp.image(inner, tuple(tp.keep(i, o) for i, o in enumerate(targets)), (*value.shape, count))


def _numbered_operand(operand: tp.Value | tp.Known, count: int, where: str) -> tp.Value | tp.Known:
    if isinstance(operand, tp.Value):
        return _numbered(operand, count, where)
    return tp.apply(lambda a: jnp.asarray(a)[..., None], (*operand.shape, 1), operand)
