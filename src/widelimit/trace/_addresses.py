"""Which positions an indexing primitive reads or writes: found by indexing the numbers of the positions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from widelimit import program as tp
from widelimit.trace._abstract import Axis, Concrete, Det, Layout, Refusal, Wide, finite_axes, finite_shape
from widelimit.trace._layout import full_view, remap, single_axis, unfold
from widelimit.trace._place import place
from widelimit.trace._structural import remap_constant
from widelimit.trace._widths import traced_widths


@dataclasses.dataclass(frozen=True, eq=False)
class Addresses:
    """Positions of an array that another array, of its entries, is made of or goes to.

    Attributes:
        touched: the dimensions of the array that are indexed; all others are taken whole.
        kept: for each dimension of the entries, the dimension of the array it is the whole of; None where it counts entries.
        sizes: of the touched dimensions, and of those that count entries.
        places: for each entry, flat, the position among the touched dimensions; −1 out of bounds. A tuple of numbers, or
            known from the example.
    """

    touched: tuple[int, ...]
    kept: tuple[int | None, ...]
    sizes: tuple[tuple[int, ...], tuple[int, ...]]
    places: tp.Known | tuple[int, ...]

    @property
    def counting(self) -> tuple[int, ...]:
        return tuple(d for d, whole in enumerate(self.kept) if whole is None)


def gathered(
    numbers: lax.GatherDimensionNumbers,
    slices: Sequence[tuple[int, ...]],
    shapes: Sequence[tuple[int, ...]],
    mode: Any,
    indices: tuple[Any, tuple[int, ...], str],
) -> Addresses:
    """The addresses of a gather from arrays of these shapes, one a width; `indices` are an operand, its shape and the place."""
    partial = {d for s, shape in zip(slices, shapes, strict=True) for d, n in enumerate(shape) if s[d] != n}
    touched = {*partial, *numbers.start_index_map, *numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    small = tuple(n if d in touched else 1 for d, n in enumerate(shapes[0]))
    taken = tuple(n if d in touched else 1 for d, n in enumerate(slices[0]))

    def index(i: Any) -> Any:
        count = jnp.arange(math.prod(small)).reshape(small)
        return lax.gather(count, jnp.asarray(i), numbers, taken, mode=mode, fill_value=-1)

    shape = jax.eval_shape(index, jax.ShapeDtypeStruct(indices[1], jnp.int32)).shape
    offsets = [d for d in range(len(small)) if d not in (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)]
    at = dict(zip(numbers.offset_dims, offsets, strict=True))
    kept = tuple(None if at.get(d) is None or at[d] in touched else at[d] for d in range(len(shape)))
    ordered = tuple(sorted(touched))
    sizes = tuple(small[d] for d in ordered), tuple(n for n, whole in zip(shape, kept, strict=True) if whole is None)
    return Addresses(ordered, kept, sizes, places(index, math.prod(shape), [indices]))


def places(
    index: Callable[..., Any], count: int, operands: Sequence[tuple[Any, tuple[int, ...], str]]
) -> tp.Known | tuple[int, ...]:
    """The positions that indexing numbers with these indices finds: numbers, or known from the example."""
    if all(isinstance(x, Concrete) for x, _, _ in operands):
        values = [x.values for x, _, _ in operands]
        if any(not np.array_equal(row[0], v) for row in values for v in row):
            raise Refusal(
                f"at {operands[0][2]}: the places that are indexed depend on the width: iid coordinates have no places. "
                "Index fixed positions, or slice whole blocks of the width."
            )
        with jax.ensure_compile_time_eval():
            return tuple(np.asarray(index(*(row[0] for row in values))).ravel().tolist())
    known = [_indices(*operand) for operand in operands]
    return tp.apply(lambda *i: index(*i).reshape(-1), (count,), *known, name="index")


def _indices(x: Any, shape: tuple[int, ...], where: str) -> tp.Known:
    x = place(x, None, where)
    if isinstance(x, Wide):
        raise Refusal(
            f"at {where}: entries are picked at random places: indices that depend on random values (an argmax, a routing) "
            "have no rule"
        )
    view = full_view(x, shape)
    return tp.apply(lambda a: jnp.asarray(view(a)).astype(int), shape, x.known, name="index")


# --- dimensions -------------------------------------------------------------------------------------------------------


def countable(x: Det | Wide, dims: Sequence[int], where: str) -> Det | Wide:
    """The dimensions as one finite axis each (none, where the size is one); replicas are numbered."""
    for d in dims:
        if any(a.wide for a in x.layout[d]):
            raise Refusal(
                f"at {where}: single coordinates of the width are picked out or permuted; iid coordinates have no places. "
                "Index positions, or slice whole blocks of the width."
            )
        for i, axis in enumerate(x.layout[d]):
            if axis.copies:
                x = unfold(x, d, i, where) if isinstance(x, Wide) else remap_constant(x, d)
        x = single_axis(x, d, where)
    return x


def axis_of(n: int) -> tuple[Axis, ...]:
    return () if n == 1 else (Axis((n,) * len(traced_widths()), False),)


def read(x: Det | Wide, at: Addresses, gap: float | None, where: str) -> Det | Wide:
    """The entries at the addresses; `gap` is what stands where they are out of bounds (None: they never are)."""
    x = countable(x, at.touched, where)
    counted = iter(at.sizes[1])
    layout = tuple(axis_of(next(counted)) if whole is None else x.layout[whole] for whole in at.kept)
    targets = {whole: finite_axes(layout, d) for d, whole in enumerate(at.kept) if whole is not None}
    rest = [tp.keep(i, o) for d, outs in targets.items() for i, o in zip(finite_axes(x.layout, d), outs, strict=True)]
    ends = _axes(x.layout, at.touched), _axes(layout, at.counting)
    return remap(x, _ordered([*rest, tp.read(*ends, _sizes(x.layout, layout, ends), at.places, gap)]), layout)


def moved(
    updates: Det | Wide, at: Addresses, layout: Layout, make: Callable[..., tp.AxisMap], where: str
) -> Det | Wide:
    """Entries brought to the positions they are written to, in an array whose other dimensions are theirs.

    `make(inputs, outputs, sizes)` is the map on positions; `layout` that of the array written to.
    """
    updates = countable(updates, at.counting, where)
    own = {whole: d for d, whole in enumerate(at.kept) if whole is not None}
    sized = dict(zip(at.touched, at.sizes[0], strict=True))
    layout = tuple(axis_of(sized[d]) if d in sized else updates.layout[own[d]] for d in range(len(layout)))
    rest = [
        tp.keep(i, o)
        for d, source in own.items()
        for i, o in zip(finite_axes(updates.layout, source), finite_axes(layout, d), strict=True)
    ]
    ends = _axes(updates.layout, at.counting), _axes(layout, at.touched)
    return remap(updates, _ordered([*rest, make(*ends, _sizes(updates.layout, layout, ends))]), layout)


def _axes(layout: Layout, dims: Sequence[int]) -> tuple[int, ...]:
    return tuple(i for d in dims for i in finite_axes(layout, d))


def _sizes(before: Layout, after: Layout, ends: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shapes = finite_shape(before), finite_shape(after)
    return tuple(tuple(shape[i] for i in axes) for shape, axes in zip(shapes, ends, strict=True))


def _ordered(maps: Sequence[tp.AxisMap]) -> list[tp.AxisMap]:
    return sorted(maps, key=lambda m: m.inputs)
