"""Rules for reading entries at indices that are known."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from widelimit import program as tp
from widelimit.trace._abstract import Axis, Concrete, Det, Leaf, Refusal, finite_axes
from widelimit.trace._contraction import Dims, matmul
from widelimit.trace._jaxpr import Step
from widelimit.trace._layout import on_axis, remap, single_axis
from widelimit.trace._place import place
from widelimit.trace._structural import add_dim, drop_dim, sliced
from widelimit.trace._table import rule


@rule("dynamic_slice")
def dynamic_slice(step: Step, x: Any, *starts: Any) -> Any:
    """A slice whose start is a number of the program (not of the example)."""
    for dim, start in enumerate(starts):
        sizes = [s[dim] for s in step.each("slice_sizes")]
        extents = [e.invars[0].aval.shape[dim] for e in step.eqns]
        if sizes == extents:
            continue
        if not isinstance(start, Concrete):
            raise Refusal(
                f"at {step.where}: random values are sliced at a place that depends on the example; no rule yet"
            )
        begin = tuple(int(np.clip(v, 0, n - s)) for v, n, s in zip(start.values, extents, sizes, strict=True))
        x = sliced(x, dim, begin, tuple(b + s for b, s in zip(begin, sizes, strict=True)), where=step.where)
    return x


@rule("gather")
def gather(step: Step, x: Any, indices: Any) -> Any:
    """Rows picked at constant indices along one dimension (x[idx], jnp.take)."""
    numbers = step.params["dimension_numbers"]
    if isinstance(x, Leaf):
        return _embedding(step, x, indices)
    simple = len(numbers.start_index_map) == 1 and not numbers.operand_batching_dims
    if not isinstance(indices, Concrete) or not simple or numbers.collapsed_slice_dims != numbers.start_index_map:
        raise Refusal(
            f"at {step.where}: random values are gathered at places that depend on the example, or along several axes; no rule yet"
        )
    dim, index = numbers.start_index_map[0], indices.values[0][..., 0]
    kept = [s for d, s in enumerate(step.params["slice_sizes"]) if d != dim]
    if kept != [s for d, s in enumerate(step.eqns[0].invars[0].aval.shape) if d != dim]:
        raise Refusal(f"at {step.where}: a gather of partial slices has no rule")
    if index.ndim == 0:
        count = len(step.eqns)
        return drop_dim(sliced(x, dim, (int(index),) * count, (int(index) + 1,) * count, where=step.where), dim)
    return _picked(step, x, dim, index)


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


def _picked(step: Step, x: Any, dim: int, index: np.ndarray) -> Any:
    at_dims = [d for d in range(len(step.shapes()[0])) if d not in step.params["dimension_numbers"].offset_dims]
    if index.ndim != 1 or at_dims != [dim] or isinstance(x, Leaf):
        raise Refusal(
            f"at {step.where}: a gather with indices of shape {index.shape} here has no rule yet; index along one axis with a vector"
        )
    x = single_axis(place(x, None, step.where), dim, step.where)
    if any(a.copies for a in x.layout[dim]):
        raise Refusal(f"at {step.where}: iid coordinates are permuted against others; gather along positions only")
    where = tuple(int(i) for i in index)
    layout = (*x.layout[:dim], (Axis((len(where),) * len(step.eqns), False),), *x.layout[dim + 1 :])
    return remap(x, on_axis(x, finite_axes(x.layout, dim)[0], lambda i, o: tp.picked(i, o, where)), layout)
