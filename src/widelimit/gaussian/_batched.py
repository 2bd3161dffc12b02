"""Elementwise functions of arrays that look at a whole batch: a branch inside them stays a branch under `vmap`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_batching import custom_vmap


def after_vmap(fn: Callable) -> Callable:
    """`fn` as `vmap` calls it: once, on the whole batch. Its arguments are trees of arrays with equally many axes."""
    call = custom_vmap(fn)

    @call.def_vmap
    def rule(axis_size, in_batched, *args):
        args = jax.tree.map(lambda x, batched: x if batched else x[None], args, tuple(in_batched))
        out = call(*args)
        out = jax.tree.map(lambda x: jnp.broadcast_to(x, (axis_size, *x.shape[1:])), out)
        return out, jax.tree.map(lambda _: True, out)

    return call


def aligned(*trees):
    """Every array with the same number of axes, so that a new leading axis stays a broadcast."""
    trees = jax.tree.map(jnp.asarray, trees)
    ndim = max(leaf.ndim for leaf in jax.tree.leaves(trees))

    def raised(x: Array) -> Array:
        return x.reshape((1,) * (ndim - x.ndim) + x.shape)

    return jax.tree.map(raised, trees)
