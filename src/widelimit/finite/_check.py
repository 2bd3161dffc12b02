"""Errors of what a user hands to the functions of this folder."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree


def batch(call: str, name: str, x: PyTree) -> tuple[PyTree, int]:
    """`x` with array leaves, and the length of their shared first axis."""
    leaves = jax.tree.leaves(x)
    if not leaves:
        raise ValueError(f"{call}: `{name}` holds no array")
    x = jax.tree.map(lambda leaf: leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf), x)
    return x, _length(call, name, [np.shape(leaf) for leaf in leaves])


def _length(call: str, name: str, shapes: list[tuple[int, ...]]) -> int:
    lengths = {shape[:1] for shape in shapes}
    if len(lengths) > 1 or () in lengths:
        raise ValueError(
            f"{call}: `{name}` needs one example axis, first and equally long in all arrays, got shapes {shapes}"
        )
    (length,) = lengths.pop()
    if length == 0:
        raise ValueError(f"{call}: `{name}` is an empty batch, of shape {shapes[0]}")
    return length


def example(x: PyTree) -> PyTree:
    """Shape of one example of a batch."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), x)


def output(call: str, name: str, apply: Any, *, params: PyTree, x: PyTree) -> PyTree:
    """Shape of what `apply` returns for one example of `x`; an error that names `x` if it does not take one."""
    one = example(x)
    try:
        y = jax.eval_shape(apply, params, one)
    except Exception as error:
        shapes = [leaf.shape for leaf in jax.tree.leaves(one)]
        raise ValueError(
            f"{call}: `apply(params, x)` failed on one example of `{name}`, of shape {shapes}. `{name}` needs a first axis of"
            f" examples and `apply` takes one example without it. The network said: {error}"
        ) from error
    return _real(call, y)


def _real(call: str, y: PyTree) -> PyTree:
    kinds = [leaf.dtype for leaf in jax.tree.leaves(y)]
    if not kinds or not all(jnp.issubdtype(kind, jnp.floating) for kind in kinds):
        raise TypeError(f"{call}: `apply` must return real numbers, got dtypes {[str(kind) for kind in kinds]}")
    return y
