"""Eigenvalues that rounding cannot tell from zero."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# times ε λ_max: eigenvalues of matrices with null modes, 100 to 1200 rows, came out within 2.3 of zero, whatever the rows
_ROUNDINGS = 16.0
_NEGATIVE = 1e-2  # of λ_max: an eigenvalue below minus this is no rounding


class JitterWarning(UserWarning):
    """A kernel matrix is singular to working precision: eigenvalues up to the jitter count as zero."""


def resolution(eigenvalues: Float[np.ndarray, " n"], eps: float, name: str) -> float:
    """The largest eigenvalue that the rounding of a matrix and of its eigendecomposition can fake: 16 ε λ_max.

    Where an eigenvalue is negative, and larger than that, the entries were not exact to ε: then twice its size.

    Raises:
        ValueError: Where an eigenvalue is so negative that the matrix is no covariance.
    """
    largest, smallest = float(eigenvalues.max()), float(eigenvalues.min())
    if smallest < -_NEGATIVE * max(largest, 0.0):
        raise ValueError(
            f"`wl.train(kernel, x, y)`: the {name} of the training points has the eigenvalues {smallest:.3g} and {largest:.3g}; "
            "expected a positive semi-definite matrix. Compute it in float64, or more accurately (`wl.limit(..., accuracy=)`)"
        )
    return max(rounding(largest, eps), -2 * smallest, 0.0)


def rounding(largest: float, eps: float) -> float:
    """16 ε λ_max."""
    return _ROUNDINGS * eps * largest


def warn(call: str, count: int, total: int, jitter: float, dtype: Any) -> None:
    """Say that modes were left out."""
    double = "" if np.dtype(dtype) == np.float64 else " Or switch on float64."
    warnings.warn(
        f"{call}: {count} of the {total} eigenvalues of the kernel on the training points are zero to working precision (at or below "
        f"{jitter:.2g}, `fit.jitter`): points coincide, or the kernel cannot tell them apart. These modes are not trained: "
        "the labels' component along them is left as noise (labels of coinciding points are averaged). Pass `ridge=` above "
        f"the jitter for a smooth cut.{double}",
        JitterWarning,
        stacklevel=4,
    )


def root(matrix: Float[Array, "m m"], eps: float) -> tuple[Float[Array, "m m"], Float[Array, "m m"]]:
    """S and P with S Sᵀ the covariance matrix and Pᵀ S = 1 on its range: S = V√s, P = V/√s, null modes zero."""
    values, vectors = (np.asarray(part) for part in jnp.linalg.eigh(matrix))
    kept = values > resolution(values, eps, "NNGP")
    roots = np.sqrt(np.where(kept, values, 1))
    return jnp.asarray(vectors * np.where(kept, roots, 0)), jnp.asarray(vectors * np.where(kept, 1 / roots, 0))


@jax.jit
def clipped_root(matrix: Float[Array, "... m m"]) -> Float[Array, "... m m"]:
    """S with S Sᵀ the covariance matrix, whose eigenvalues below zero are rounding."""
    values, vectors = jnp.linalg.eigh(matrix)
    return vectors * jnp.sqrt(jnp.maximum(values, 0))[..., None, :]
