"""Rules for reading entries at indices that are known."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from widelimit import program as tp
from widelimit.trace._abstract import Axis, Concrete, Det, Leaf, Refusal, Wide
from widelimit.trace._addresses import Addresses, gathered, places, read
from widelimit.trace._contraction import Dims, matmul
from widelimit.trace._jaxpr import Step
from widelimit.trace._place import place
from widelimit.trace._structural import add_dim, drop_dim, sliced
from widelimit.trace._table import rule


@rule("dynamic_slice")
def dynamic_slice(step: Step, x: Any, *starts: Any) -> Any:
    """A slice whose start is a number of the program, or known from the example."""
    for dim, start in enumerate(starts):
        sizes = [s[dim] for s in step.each("slice_sizes")]
        extents = [e.invars[0].aval.shape[dim] for e in step.eqns]
        if sizes == extents:
            continue
        if isinstance(start, Concrete):
            begin = tuple(int(np.clip(v, 0, n - s)) for v, n, s in zip(start.values, extents, sizes, strict=True))
            end = tuple(b + s for b, s in zip(begin, sizes, strict=True))
            x = sliced(x, dim, begin, end, where=step.where)
        else:
            x = _slid(place(x, None, step.where), dim, (start, extents[0], sizes[0]), step.where)
    return x


def _slid(x: Det | Wide, dim: int, span: tuple[Any, int, int], where: str) -> Det | Wide:
    start, extent, size = span

    def index(i: Any) -> Any:
        return jnp.clip(i, 0, extent - size) + jnp.arange(size)

    kept = tuple(None if d == dim else d for d in range(len(x.layout)))
    found = places(index, size, [(start, (), where)])
    return read(x, Addresses((dim,), kept, ((extent,), (size,)), found), None, where)


@rule("gather")
def gather(step: Step, x: Any, indices: Any) -> Any:
    """Positions picked at indices that are constant or known from the example (x[i], x[i, j], jnp.take)."""
    if isinstance(x, Leaf):
        return _embedding(step, x, indices)
    numbers, where = step.params["dimension_numbers"], step.where
    shapes, (_, index) = [e.invars[0].aval.shape for e in step.eqns], (v.aval.shape for v in step.eqns[0].invars)
    at = gathered(numbers, step.each("slice_sizes"), shapes, step.params["mode"], (indices, index, where))
    if isinstance(at.places, tuple) and len(at.touched) == 1 and at.sizes[1] == ():
        (dim,), (i,), count = at.touched, at.places, len(shapes)
        return drop_dim(sliced(x, dim, (i,) * count, (i + 1,) * count, where=where), dim)
    return read(place(x, None, where), at, _gap(step), where)


def _gap(step: Step) -> float | None:
    """What an index out of bounds reads."""
    if step.params["mode"] != lax.GatherScatterMode.FILL_OR_DROP:
        return None
    fill = step.params["fill_value"]
    if fill is not None and fill == fill and fill != 0:
        raise Refusal(f"at {step.where}: an index out of bounds reads {fill}; only zero (`fill_value=0`) has a rule")
    return float("nan") if fill is None else float(fill)


def _embedding(step: Step, table: Leaf, indices: Any) -> Any:
    """Rows of a parameter (token embeddings): the product of one-hot vectors with it."""
    numbers, index = step.params["dimension_numbers"], place(indices, None, step.where)
    rank, collapsed = len(step.shapes()[0]), numbers.collapsed_slice_dims == (0,)
    offsets = len(table.sizes) - collapsed
    whole = [1, *step.eqns[0].invars[0].aval.shape[1:]] == list(step.params["slice_sizes"])
    if (
        not whole
        or numbers.start_index_map[0] != 0
        or numbers.offset_dims != tuple(range(rank - offsets, rank))
        or numbers.operand_batching_dims
    ):
        raise Refusal(
            f"at {step.where}: entries of the parameter {table.parameter.path!r} are gathered along several axes, or "
            "in part; only whole rows `table[ids]` are read"
        )
    if not isinstance(index, Det) or len(set(table.sizes[0])) > 1:
        raise Refusal(
            f"at {step.where}: rows of {table.parameter.path!r} are picked at random places, or along the width; no rule"
        )
    count, last = len(step.eqns), rank - offsets
    index = drop_dim(sliced(index, last, (0,) * count, (1,) * count, where=step.where), last)
    hot = one_hot(index, table.sizes[0])
    rows = matmul(table, hot, Dims(((0,), (last,)), ((), ())), leaf_first=False, where=step.where)
    return rows if collapsed else add_dim(rows, last, count)


def one_hot(index: Det, rows: tuple[int, ...]) -> Det:
    """Known indices as vectors that are one at the index."""

    def fn(i: Any) -> Any:
        return (jnp.asarray(i)[..., None] == jnp.arange(rows[0])).astype(jnp.float32)

    known = tp.apply(fn, (*index.known.shape, rows[0]), index.known, name="one_hot")
    return Det(known, (*index.layout, (Axis(rows, False),)))
