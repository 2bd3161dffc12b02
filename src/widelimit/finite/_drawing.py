"""Networks drawn, one for each key."""

from collections.abc import Callable

import jax
from jaxtyping import Array, PRNGKeyArray, PyTree


def drawn(draw: Callable[[PRNGKeyArray], PyTree], keys: Array) -> PyTree:
    """What `draw` makes of every key, stacked.

    On a CPU one after the other: many streams of random numbers at once take XLA twice as long to compile, and stacks of QR
    factorisations (orthogonal weights of two layers) can wait for each other for ever in JAX 0.10, on few cores.
    """
    at_once = None if jax.default_backend() == "cpu" else len(keys)
    return jax.lax.map(draw, keys, batch_size=at_once)
