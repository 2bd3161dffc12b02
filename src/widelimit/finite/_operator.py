"""The tangent kernel of a finite network as a linear map."""

from collections.abc import Callable
from functools import partial
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ._outputs import ravel
from ._parameters import trained


class TangentOperator:
    """v ↦ Θ(x, x) v = J Λ Jᵀ v.

    `operator @ v` takes v as (N, outputs), flat as (N outputs,), or as columns (N outputs, k), and returns the same
    shape. `.shape`, `.dtype` and `.matvec` are what `scipy.sparse.linalg.aslinearoperator` asks for.
    """

    def __init__(self, apply: Callable, params: PyTree, rates: tuple, x: PyTree, counts: tuple[int, int]):
        self._product = partial(_product, params, apply, rates, x)
        self.counts = counts
        self.shape = (prod(counts), prod(counts))
        self.dtype = jnp.result_type(*trained(params, dict(rates)).leaves.values())

    def __matmul__(self, v: Float[Array | np.ndarray, "..."]) -> Float[Array, "..."]:
        v = jnp.asarray(v, self.dtype)
        if v.shape in (self.counts, self.shape[:1]):
            return self._product(v.reshape(self.counts)).reshape(v.shape)
        if v.ndim == 2 and v.shape[0] == self.shape[0]:
            return jnp.stack([self @ column for column in v.T], axis=1)
        raise ValueError(
            f"`operator @ v` needs v of shape {self.counts}, {self.shape[:1]} or ({self.shape[0]}, k), got {v.shape}"
        )

    matvec = __matmul__
    rmatvec = __matmul__  # Θ is symmetric


@partial(jax.jit, static_argnums=(1, 2))
def _product(params: PyTree, apply: Callable, rates: tuple, x: PyTree, v: Array) -> Array:
    split = trained(params, dict(rates))

    def outputs(leaves: dict, x: PyTree) -> Float[Array, "n outputs"]:
        return jax.vmap(lambda one: ravel(apply(split.merge(leaves), one)))(x)

    _, back = jax.vjp(lambda leaves: outputs(leaves, x), split.leaves)
    (gradient,) = back(v.astype(jax.eval_shape(outputs, split.leaves, x).dtype))
    direction = {path: split.rates[path] * g for path, g in gradient.items()}
    return jax.jvp(lambda leaves: outputs(leaves, x), (split.leaves,), (direction,))[1]
