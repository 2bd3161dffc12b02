"""How a network's output is laid out for a kernel: (finite axes F, replicas R).

A kernel between two outputs is averaged over R and kept over F. All kernels in use are such an arrangement: the whole
kernel has R = 1, its mean over the outputs' diagonal has F = 1, and a kernel set beside a limit has the limit's own
axes.
"""

from collections.abc import Callable
from math import prod

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

Arrange = Callable[[PyTree], Float[Array, "f r"]]


def ravel(y: PyTree) -> Float[Array, " outputs"]:
    """All outputs of one example in one vector, in the order of `jax.tree.leaves`."""
    leaves = [jnp.ravel(leaf) for leaf in jax.tree.leaves(y)]
    return leaves[0] if len(leaves) == 1 else jnp.concatenate(leaves)


def whole(y: PyTree) -> Float[Array, "f 1"]:
    return ravel(y)[:, None]


def averaged(y: PyTree) -> Float[Array, "1 r"]:
    return ravel(y)[None, :]


def over(axes: tuple[int, ...]) -> Arrange:
    """Average over `axes` of the output array, keep the others in their order."""

    def arrange(y: Array) -> Float[Array, "f r"]:
        last = range(y.ndim - len(axes), y.ndim)
        return jnp.moveaxis(y, axes, last).reshape(prod(kept(y.shape, axes)), -1)

    return arrange


def kept(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes of the finite output axes: those that are not averaged over."""
    replicas = {axis % len(shape) for axis in axes} if shape else set()
    return tuple(size for axis, size in enumerate(shape) if axis not in replicas)
