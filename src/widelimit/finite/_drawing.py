"""Networks drawn, one for each key, and what is computed of each."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree


def drawn(draw: Callable[[PRNGKeyArray], PyTree], keys: Array) -> PyTree:
    """What `draw` makes of every key, stacked.

    On a CPU one after the other: many streams of random numbers at once take XLA twice as long to compile, and stacks of QR
    factorisations (orthogonal weights of two layers) can wait for each other for ever in JAX 0.10, on few cores.
    """
    if len(keys) == 1:
        return _stack_of_one(draw(keys[0]))
    at_once = None if jax.default_backend() == "cpu" else len(keys)
    return jax.lax.map(draw, keys, batch_size=at_once)


def of_each(fn: Callable[[PyTree], PyTree], networks: PyTree) -> PyTree:
    """`fn` of every network of a stack, stacked.

    One network is taken out of its stack: XLA on a CPU takes more than twice as long for products of stacks, even of one.
    """
    if len(jax.tree.leaves(networks)[0]) == 1:
        return _stack_of_one(fn(jax.tree.map(lambda leaf: leaf[0], networks)))
    return jax.vmap(fn)(networks)


def _stack_of_one(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], tree)
