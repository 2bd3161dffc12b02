"""Rules for writing entries: sums over the edges of a graph, segments, and single positions that are set."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from widelimit import program as tp
from widelimit.trace._abstract import Det, Wide
from widelimit.trace._addresses import Addresses, countable, gathered, moved, places
from widelimit.trace._coupled import check_count, masked, reduction
from widelimit.trace._jaxpr import Step
from widelimit.trace._layout import align
from widelimit.trace._place import given, place
from widelimit.trace._pointwise import multiply, settled, times, total
from widelimit.trace._table import rule


def _written(step: Step, indices: Any) -> Addresses:
    """Where the updates go: the addresses of the gather that a scatter is the transpose of."""
    d = step.params["dimension_numbers"]
    gone = (*d.inserted_window_dims, *d.operand_batching_dims)
    shapes, updates = ([e.invars[i].aval.shape for e in step.eqns] for i in (0, 2))
    windows = [i for i in range(len(shapes[0])) if i not in gone]
    slices = []
    for u in updates:
        size = dict(zip(windows, (u[w] for w in d.update_window_dims), strict=True))
        slices.append(tuple(size.get(i, 1) for i in range(len(shapes[0]))))
    numbers = lax.GatherDimensionNumbers(
        tuple(d.update_window_dims),
        tuple(d.inserted_window_dims),
        tuple(d.scatter_dims_to_operand_dims),
        tuple(d.operand_batching_dims),
        tuple(d.scatter_indices_batching_dims),
    )
    return gathered(
        numbers, slices, shapes, step.params["mode"], (indices, step.eqns[0].invars[1].aval.shape, step.where)
    )


def _placed(step: Step, *operands: Any) -> list[Det | Wide]:
    return [place(x, None, step.where) for x in operands]


@rule("scatter-add", "scatter_add", "scatter-sub", "scatter_sub")
def scatter_add(step: Step, x: Any, indices: Any, updates: Any) -> Any:
    """x + Σ_e 1[place of e] u_e: linear, a sum over edges (`segment_sum`, `x.at[i].add(u)`)."""
    at, where = _written(step, indices), step.where
    x, updates = _placed(step, x, updates)
    x = countable(x, at.touched, where)
    sums = moved(updates, at, x.layout, lambda i, o, sizes: tp.added(i, o, sizes, at.places), where)
    aligned, layout = align([x, times(sums, -1.0) if "sub" in step.name else sums], where)
    return total(aligned, layout, where)


@rule("scatter")
def scatter(step: Step, x: Any, indices: Any, updates: Any) -> Any:
    """Positions that are set take the update written last, all others keep what they are (`x.at[i].set(u)`)."""
    return _set(*_placed(step, x, updates), _written(step, indices), step.where)


@rule("dynamic_update_slice")
def dynamic_update_slice(step: Step, x: Any, updates: Any, *starts: Any) -> Any:
    shapes, sizes = ([e.invars[i].aval.shape for e in step.eqns] for i in (0, 1))
    touched = sorted({d for n, m in zip(shapes, sizes, strict=True) for d in range(len(n)) if n[d] != m[d]})
    if not touched:
        return updates
    before, after = (tuple(s[0][d] for d in touched) for s in (shapes, sizes))

    def index(*i: Any) -> Any:
        return lax.dynamic_slice(jnp.arange(math.prod(before)).reshape(before), i, after)

    found = places(index, math.prod(after), [(starts[d], (), step.where) for d in touched])
    kept = tuple(None if d in touched else d for d in range(len(shapes[0])))
    return _set(*_placed(step, x, updates), Addresses(tuple(touched), kept, (before, after), found), step.where)


def _set(x: Det | Wide, updates: Det | Wide, at: Addresses, where: str) -> Any:
    x = countable(x, at.touched, where)
    count = math.prod(at.sizes[0])

    def last(index: Any) -> Any:
        index = jnp.where(jnp.asarray(index) < 0, count, jnp.asarray(index))
        return jnp.full(count, -1).at[index].max(jnp.arange(index.shape[0]), mode="drop")

    winners = _derived(last, (count,), at.places)
    new = moved(updates, at, x.layout, lambda i, o, sizes: tp.read(i, o, sizes, winners, 0.0), where)
    old = _mask(lambda w: jnp.asarray(w) < 0, winners, at, x)
    (x, new, old), layout = align([x, new, old], where)
    return total([multiply(x, old, layout, where), new], layout, where)


def _derived(fn: Any, shape: tuple[int, ...], found: tp.Known | tuple[int, ...]) -> Any:
    """A function of places, numbers where they are."""
    if not isinstance(found, tuple):
        return tp.apply(fn, shape, found, name="index")
    with jax.ensure_compile_time_eval():
        return tuple(np.asarray(fn(np.asarray(found))).ravel().tolist())


def _mask(fn: Any, found: tp.Known | tuple[int, ...], at: Addresses, x: Det | Wide) -> Det:
    """A condition on places, over the touched dimensions of x and constant in the others."""
    known = tp.constant(np.asarray(found)) if isinstance(found, tuple) else found
    shape = tuple(n for n in at.sizes[0] if n != 1)
    ones = tp.apply(lambda p: fn(p).astype(float).reshape(shape), shape, known, name="mask")
    return Det(ones, tuple(x.layout[d] if d in at.touched else () for d in range(len(x.layout))))


# --- maxima over segments -----------------------------------------------------------------------------------------------

_FOLDS = {
    "scatter-max": ("reduce_max", -np.inf),
    "scatter-min": ("reduce_min", np.inf),
    "scatter-mul": ("reduce_prod", 1.0),
}


@rule("scatter-max", "scatter-min", "scatter-mul", "scatter_max", "scatter_min", "scatter_mul")
def scatter_fold(step: Step, x: Any, indices: Any, updates: Any) -> Any:
    """The maximum over the updates of each position (`segment_max`): one function of all that may be written there."""
    at, where = _written(step, indices), step.where
    x, updates = (settled(v, where) for v in _placed(step, x, updates))
    name, empty = _FOLDS[step.name.replace("_", "-")]
    x = countable(x, at.touched, where)
    rows, masks = _sources(at)
    check_count(len(rows), step)
    parts = [moved(updates, at, x.layout, lambda i, o, sizes, r=r: tp.read(i, o, sizes, r, 0.0), where) for r in rows]
    conditions = [None if m is None else _mask(lambda p: jnp.asarray(p) > 0, m, at, x) for m in masks]
    if not _is_constant(x, empty):
        parts, conditions = [x, *parts], [None, *conditions]
    aligned, layout = align([*parts, *(c for c in conditions if c is not None)], where)
    values = tuple(p.value if isinstance(p, Wide) else given(p, where) for p in aligned[: len(parts)])
    rest = iter(aligned[len(parts) :])
    known = [None if c is None else next(rest).known for c in conditions]
    return masked(reduction(name), empty, values, known, layout=layout, step=step)


def _sources(at: Addresses) -> tuple[list[tuple[int, ...]], list[Any]]:
    """For the k-th update of every position: which it is, and a mask of the positions that have one."""
    count, updates = math.prod(at.sizes[0]), math.prod(at.sizes[1])
    if not isinstance(at.places, tuple):
        masks = [
            _derived(lambda p, e=e: jnp.arange(count) == jnp.asarray(p)[e], (count,), at.places) for e in range(updates)
        ]
        return [(e,) * count for e in range(updates)], masks
    lists = [[e for e, place in enumerate(at.places) if place == o] for o in range(count)]
    rows = [tuple(row[k] if k < len(row) else -1 for row in lists) for k in range(max(map(len, lists)))]
    masks = [None if min(row) >= 0 else tuple(int(e >= 0) for e in row) for row in rows]
    return [tuple(max(e, 0) for e in row) for row in rows], masks


def _is_constant(x: Det | Wide, number: float) -> bool:
    return isinstance(x, Det) and isinstance(x.known, tp.Constant) and bool(np.all(x.known.value == number))
